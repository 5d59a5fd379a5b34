"""Worker processes: what they run of the user's script, and when they end."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_a2i.records.manifest import Manifest

SCRIPT = """
import sys

import keras_a2i

{source}
image = keras_a2i.ImageConfig(size=16)
keras_a2i.build_records({sources}, sys.argv[2], image=image, workers=2)
print("BUILT")
"""
OWN = """
from keras_a2i.sources.pairs_csv import PairsCsvSource


class Own(PairsCsvSource):
    pass


features = keras_a2i.FeatureConfig(sample_rate=8000)
sources = [Own(sys.argv[1], features=features, image=keras_a2i.ImageConfig(size=16))]
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A csv of enough rows for two tasks."""
    folder = tmp_path_factory.mktemp("pairs")
    soundfile.write(folder / "a.wav", np.zeros(8000, np.float32), 8000)
    Image.new("RGB", (16, 16)).save(folder / "a.png")
    rows = [f"a.wav,a.png,s{i}" for i in range(2)]
    for i in range(300):
        (folder / f"{i}.png").write_bytes((folder / "a.png").read_bytes())
        rows.append(f"a.wav,{i}.png,s{i}")
    (folder / "pairs.csv").write_text("\n".join(["audio,image,source", *rows]))
    return folder / "pairs.csv"


def run_script(script, pairs, out, tmp_path):
    (tmp_path / "script.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(tmp_path / "script.py"), str(pairs), str(out)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


@pytest.mark.training
def test_script_without_a_main_guard_builds_once(pairs, tmp_path):
    done = run_script(SCRIPT.format(source="", sources="sys.argv[1]"), pairs, tmp_path / "records", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "BUILT\n" and sum(Manifest.read(tmp_path / "records").counts.values()) > 200


@pytest.mark.training
def test_script_with_an_own_source_needs_a_main_guard(pairs, tmp_path):
    script = SCRIPT.format(source=OWN, sources="sources")
    done = run_script(script, pairs, tmp_path / "records", tmp_path)
    assert done.returncode == 1 and "build records under if __name__ == '__main__': alone" in done.stderr
    assert "BUILT" not in done.stdout
    head, _, rest = script.partition("features =")
    body = ("features =" + rest).replace("\n", "\n    ")
    guarded = f"{head}\nif __name__ == '__main__':\n    {body}"
    done = run_script(guarded, pairs, tmp_path / "records", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "BUILT" in done.stdout


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.training
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_their_parent(tmp_path):
    code = (
        "import sys, keras_a2i as a2i; image = a2i.ImageConfig(size=128); "
        "a2i.build_records('synthetic:surf:4000', sys.argv[1], image=image, workers=2)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "records")], env=environment)
    try:
        deadline = time.monotonic() + 60
        while len(workers := children(parent.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        workers = children(parent.pid)
        assert len(workers) >= 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))
