"""Errors of the operating system end in one sentence, without internal names and without half-written files."""

import errno
import os
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.tone_source import ToneSource, build

from keras_a2i.cli.system_errors import describe_system_error
from keras_a2i.media.durable import naming_output, written_whole
from keras_a2i.media.image import save_png
from keras_a2i.media.json_file import write_json
from keras_a2i.media.sound_file import save_wav
from keras_a2i.records.splits import SplitSpec
from keras_a2i.records.tfrecord import RecordWriter
from keras_a2i.serving.staged_film import StagedFilm
from keras_a2i.serving.staged_folder import StagedFolder
from keras_a2i.training.run_folder import RunFolder


def _error(number, *names):
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "arguments", "sentence"),
    [
        (
            _error(errno.EROFS, "ro/run"),
            ["fit", "rec", "--out", "ro/run"],
            "The output must be on a disk that can be written to. Received: ro/run (Read-only file system). Choose "
            "another folder",
        ),
        (
            _error(errno.EACCES, "mine/run"),
            ["fit", "rec", "--out", "mine/run"],
            "Your account must be allowed to read the input and to write the output. Received: mine/run (Permission "
            "denied). Change the permissions, or choose another folder",
        ),
        (
            _error(errno.ENOENT, "/proc/foo"),
            ["generate", "--out", "/proc/foo"],
            "The input must exist, and the output must be a path that can be created. Received: /proc/foo (No such "
            "file or directory). Choose another",
        ),
        (
            _error(errno.EIO, "file:a.mp4"),
            ["generate"],
            "The input must be readable, and the output writable. Received: a.mp4 (Input/output error). Check the path "
            "and its disk",
        ),
        (
            _error(errno.ENOSPC),
            ["build-records", "videos", "--out=rec"],
            "There must be room on the disk for the output. Received: rec (No space left on device). Make room, then "
            "run the same command again to continue: what is finished is kept",
        ),
        (
            _error(errno.ENOSPC, "a.png"),
            ["generate", "run", "--out", "a"],
            "Make room, then run the same command again",
        ),
        (
            _error(errno.ENOSPC),
            ["fit", "rec", "--seeds", "2", "--out", "r", "--overwrite"],
            "again without --overwrite",
        ),
        (OSError("The host doesn't answer"), ["build-records", "--out", "rec"], "The host doesn't answer"),
        (_error(errno.EPIPE), ["recipes"], f"[Errno {errno.EPIPE}] {os.strerror(errno.EPIPE)}"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="has other texts")
def test_error_of_the_system_is_one_sentence(error, arguments, sentence):
    assert sentence in describe_system_error(error, arguments)


def test_full_disk_tells_how_a_begun_training_is_resumed(tmp_path):
    arguments = ["fit", "rec", "--out", str(tmp_path)]
    assert describe_system_error(_error(errno.ENOSPC), arguments).endswith("run the same command again")
    (tmp_path / "config.json").touch()
    resumed = describe_system_error(_error(errno.ENOSPC), arguments)
    assert resumed.endswith(f"last saved epoch: keras-a2i fit RECORDS --out {tmp_path} --resume")


def _write_film(path):
    with StagedFilm(path, overwrite=False) as film:
        film.stage().write_bytes(b"0")
        raise _ErrorOfPyAV(errno.ENOSPC, "No space left on device")


class _ErrorOfPyAV(OSError):
    @property
    def filename(self):
        """Can't be set, as in PyAV."""
        return "file:folder/.output.tmp"


def _write_image_of_a_folder(path):
    with StagedFolder(path, overwrite=False) as folder:
        save_png(Image.new("L", (2, 2)), folder.stage("0000.png"))


_WRITERS = {
    "png": lambda path: save_png(Image.new("L", (2, 2)), path),
    "json": lambda path: write_json(path, [1]),
    "wav": lambda path: save_wav(path, np.zeros(100, np.float32), 8_000),
    "film": _write_film,
    "images": _write_image_of_a_folder,
}


@pytest.mark.parametrize("kind", _WRITERS)
def test_full_disk_leaves_nothing_and_the_error_names_the_output(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(_error(errno.ENOSPC)))
    path = tmp_path / "output"
    with pytest.raises(OSError, match="No space left") as raised:
        _WRITERS[kind](path)
    assert raised.value.filename == str(path) and not list(tmp_path.iterdir())


def test_full_disk_keeps_the_state_of_a_run(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.state.mkdir()
    folder.write_state({"epoch": 1}, [np.ones(3)])

    def fail(path, *_, **__):
        path.write_bytes(b"half")
        raise _error(errno.ENOSPC)

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        folder.write_state({"epoch": 2}, [np.zeros(3)])
    assert raised.value.filename == str(tmp_path / "state" / "variables.npz")
    assert [path.name for path in folder.state.iterdir()] == ["variables.npz"]
    assert folder.read_state()[0] == {"epoch": 1}


def test_full_disk_keeps_finished_shards_of_a_build(tmp_path, monkeypatch):
    written = []

    def write(self, data, write=RecordWriter.write):
        written.append(data)
        if len(written) > 12:
            raise _error(errno.ENOSPC)
        write(self, data)

    options = {"split": SplitSpec(kind="random"), "workers": 1}
    with monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "write", write)
        with pytest.raises(OSError, match="No space left") as raised:
            build(tmp_path / "rec", ToneSource(n_sources=4, seconds=8), **options)
    assert raised.value.filename == str(tmp_path / "rec")
    assert not list((tmp_path / "rec").rglob("*.tmp")) and list((tmp_path / "rec").rglob("*.tfrecord"))
    assert build(tmp_path / "rec", ToneSource(n_sources=4, seconds=8), **options).counts


def test_error_keeps_the_path_that_it_names(tmp_path):
    with pytest.raises(OSError, match="input") as raised, written_whole(tmp_path / "a"):
        raise _error(errno.EIO, "input.wav")
    assert raised.value.filename == "input.wav"
    # The error of a process that works for this one.
    with pytest.raises(OSError, match="No space") as raised, naming_output(tmp_path / "a", tmp_path / "a.tmp"):
        raise _error(errno.ENOSPC)
    assert pickle.loads(pickle.dumps(raised.value)).filename == str(tmp_path / "a")


@pytest.fixture
def read_only(tmp_path):
    folder = tmp_path / "ro"
    folder.mkdir()
    folder.chmod(0o555)
    try:
        (folder / "probe").touch()
    except OSError:
        yield folder
    else:
        pytest.skip("this account writes everywhere")
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permissions")
@pytest.mark.parametrize("out", ["ro", "ro/rec"])
def test_read_only_folder_is_refused_in_one_sentence(read_only, out):
    _assert_refused(read_only.parent, out, f"Your account must be allowed to read .* Received: {out} \\(Permission")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux'")
def test_output_that_cannot_be_created_is_refused_in_one_sentence(tmp_path):
    _assert_refused(tmp_path, "/proc/foo", r"the output must be a path that can be created. Received: /proc/foo \(")


def _assert_refused(cwd, out, sentence):
    code = "from keras_a2i.cli.main import main; main()"
    arguments = ["build-records", "synthetic:surf:12", "--image-size", "16", "--workers", "1", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert re.search(sentence, done.stderr), done.stderr
    assert done.returncode == 1 and "Errno" not in done.stderr and "Traceback" not in done.stderr
