"""The command: every step on files, help without TensorFlow, one sentence for every mistake."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from PIL import Image
from support.processes import LESS_GARBAGE_COLLECTION
from support.tone_source import ToneSource, build

from keras_a2i.cli import main
from keras_a2i.cli.fit import parse_settings
from keras_a2i.durations import format_seconds
from keras_a2i.errors import UsageError
from keras_a2i.recipes import recipe_names
from keras_a2i.records.splits import SplitSpec


def keras_a2i(*args, cwd=None):
    """Runs the command as a user does, in a process of its own."""
    code = LESS_GARBAGE_COLLECTION + "from keras_a2i.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def within(monkeypatch, capsys):
    """Runs the command as `keras_a2i` does, in this process, which has TensorFlow imported."""
    # What it does to a process's stderr is seen by the tests that start one.
    monkeypatch.setattr(main, "_silence_native_logs", lambda: None)

    def run(*args, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr("sys.argv", ["keras-a2i", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            main.main()
        return subprocess.CompletedProcess(args, left.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 24 clips and images with a pairs.csv, two of them unusable."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        tone = 0.3 * np.sin(2 * np.pi * (300 + 200 * (i % 4)) * np.arange(8_000) / 8_000)
        soundfile.write(path / f"{i}.wav", tone, 8_000)
        shade = np.full((28, 28), 60 * (i % 4) + 20, np.uint8) + rng.integers(0, 9, (28, 28), dtype=np.uint8)
        Image.fromarray(shade).save(path / f"{i}.png")
        rows.append((f"{i}.wav", f"{i}.png", str(i % 4), f"speaker{i % 3}"))
    (path / "3.wav").write_bytes(b"not sound")
    (path / "5.png").unlink()
    with (path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("audio", "image", "label", "source"), *rows])
    return path


@pytest.fixture(scope="module")
def run(folder):
    """build-records and fit, as typed."""
    built = keras_a2i(
        "build-records", "pairs.csv", "--out", "rec", "--image-size", 16, "--split", "source",
        "--holdout", "speaker1", "--workers", 1, cwd=folder,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    options = ("--size", "tiny", "--epochs", 2, "--set", "learning_rate=0.002")
    fitted = keras_a2i("fit", "rec", "--out", "run", "--recipe", "features", *options, cwd=folder)
    assert fitted.returncode == 0, fitted.stderr
    return built, fitted


@pytest.mark.training
def test_build_records_counts_and_names_skipped_inputs(run, folder):
    built, _ = run
    assert "rec: 22 pairs (14 train, 8 val) from 3 sources" in built.stdout
    assert "skipped: 2" in built.stdout
    assert "3.wav can't be read as audio" in built.stdout and "5.png doesn't exist" in built.stdout
    assert "24 pairs" not in built.stdout and "/s" in built.stderr
    assert "The images are grey and stored with one channel" in built.stdout
    manifest = json.loads((folder / "rec" / "records.json").read_text())
    assert manifest["command"].startswith("keras-a2i build-records pairs.csv --out rec")
    assert len(manifest["dropped"]) == 2 and str(folder) not in json.dumps(manifest)
    assert manifest["image"]["channels"] == 1


def test_raw_images_of_build_records_are_named_by_inspect(folder, within):
    built = within("build-records", "pairs.csv", "--out", "raw", "--image-size", 16, "--raw-images", cwd=folder)
    assert built.returncode == 0, built.stderr
    assert "16 x 16, 1 channel, raw pixels" in within("inspect", "raw", cwd=folder).stdout
    refused = within("build-records", "pairs.csv", "--out", "no", "--raw-images", "--jpeg-quality", 90, cwd=folder)
    assert refused.returncode == 2 and "only one of raw and jpeg_quality may be set" in refused.stderr


@pytest.mark.training
def test_inspect_prints_figures_and_writes_a_sheet(run, folder, within):
    result = within("inspect", "rec", "--sheet", "sheet.png", cwd=folder)
    assert result.returncode == 0, result.stderr
    for text in ("14 train, 8 val", "near-duplicates", "silent clips      0", "in two splits     0", "labels: 4"):
        assert text in result.stdout
    assert Image.open(folder / "sheet.png").size[0] > 500


@pytest.mark.training
def test_inspect_finds_damage(run, folder, tmp_path, within):
    shutil.copytree(folder / "rec", tmp_path / "rec")
    shard = next((tmp_path / "rec").glob("*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    result = within("inspect", "rec", cwd=tmp_path)
    assert result.returncode == 1 and f"damaged: {shard.name} has a different sha256" in result.stdout


@pytest.mark.training
def test_fit_reports_epochs_and_writes_a_run(run, folder):
    _, fitted = run
    assert "epoch 2/2" in fitted.stderr and "val_ssim" in fitted.stderr and "parameters, batch size 64" in fitted.stderr
    assert "run/model.keras: trained in" in fitted.stdout
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["recipe"]["learning_rate"] == 0.002 and config["epochs"] == 2
    assert (folder / "run" / "samples" / "epoch_0002.png").is_file()


@pytest.mark.training
def test_fit_resume_with_more_epochs(run, folder, tmp_path, within):
    shutil.copytree(folder / "run", tmp_path / "run")
    arguments = ("fit", folder / "rec", "--out", tmp_path / "run", "--resume")
    result = within(*arguments, "--epochs", 3, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 epochs, resumed at epoch 3" in result.stderr and "epoch 3/3" in result.stderr
    again = within(*arguments, cwd=tmp_path)
    assert again.returncode == 0 and "nothing was trained" in again.stderr and "trained in" not in again.stdout


def test_recipes_are_listed_and_shown(within, tmp_path):
    listed = within("recipes", cwd=tmp_path)
    assert listed.returncode == 0 and all(name in listed.stdout for name in recipe_names())
    assert "sharp images of what happens around a microphone" in listed.stdout
    assert "Result:" not in listed.stdout and "recipes NAME shows" in listed.stdout
    shown = within("recipes", "words-aligned", cwd=tmp_path)
    assert "Result: 2,000 spoken digits" in shown.stdout and "--set NAME=VALUE:" in shown.stdout
    assert re.search(r"^encoder.channels +24,48,96,96,128$", shown.stdout, re.M)
    assert re.search(r"^shuffle_within_label +true$", shown.stdout, re.M)
    assert re.search(r"^labels +6.0$", shown.stdout, re.M)
    refused = within("recipes", "words-align", cwd=tmp_path)
    assert refused.returncode == 2 and "Did you mean 'words-aligned'?" in refused.stderr


@pytest.mark.training
def test_export_and_generate_with_the_exported_file(run, folder, within):
    result = within("export", "run", "--out", "model.tflite", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "operators, all built in:" in result.stdout and "differences of at most" in result.stdout
    assert "pairs of rec: " in result.stdout and "ms per image on one core" in result.stdout
    rng = np.random.default_rng(1)
    soundfile.write(folder / "long.flac", rng.uniform(-0.1, 0.1, (100_000, 2)), 44_100)
    pictures = {}
    for model in ("run", "model.tflite"):
        result = within("generate", model, "long.flac", "0.wav", "3.wav", "--out", f"by-{model}", cwd=folder)
        assert result.returncode == 0, result.stderr
        assert "long: 3 images" in result.stdout and "skipped: 3.wav can't be read as audio" in result.stderr
        names = sorted(p.name for p in (folder / f"by-{model}" / "long").glob("*.png"))
        assert names == ["0000.png", "0001.png", "0002.png"]
        assert Image.open(folder / f"by-{model}" / "long.png").size[0] > 128
        pictures[model] = [np.asarray(Image.open(folder / f"by-{model}" / "long" / name)) for name in names]
    difference = np.abs(np.array(pictures["run"], int) - np.array(pictures["model.tflite"], int))
    assert difference.max() <= 1


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (["fitt"], 2, "No such command 'fitt'. Did you mean 'fit'?"),
        (["build-records", "--out", "x"], 2, "Missing argument 'SOURCE...'"),
        (["build-records", "pair.csv", "--out", "x"], 1, "'pair.csv' doesn't exist. Did you mean 'pairs.csv'?"),
        (["build-records", "synthetic:surff", "--out", "x"], 1, "Did you mean 'synthetic:surf'?"),
        (["build-records", "pairs.csv", "--out", "x", "--image-size", "100"], 2, "must be a power of two"),
        (
            ["build-records", "pairs.csv", "--out", "x", "--split", "source", "--holdout", "speaker9"],
            2,
            "must name existing",
        ),
        (["build-records", "pairs.csv", "--out", "x", "--class", "BEACH"], 2, "can only be used with the Kaggle"),
        (["build-records", "pairs.csv", "--out", "x", "--strict"], 1, "stops at it (strict=True, --strict)"),
        (["build-records", "0.png", "--out", "x"], 1, "An image needs its audio"),
        (["inspect", "nowhere"], 1, "A records folder must hold a records.json"),
        (["fit", "rec", "--out", "y", "--recipe", "papper"], 2, "Did you mean 'paper'?"),
        (["fit", "rec", "--out", "y", "--set", "epohcs=3"], 2, "Did you mean 'epochs'?"),
        (["fit", "rec", "--out", "y", "--set", "epochs"], 2, "--set must be given NAME=VALUE"),
        (
            ["fit", "rec", "--out", "y", "--recipe", "scenes", "--input", "features"],
            2,
            "--input must be left out for a recipe whose only input is the waveform. Received: --input features "
            "with the recipe 'scenes'. It can be used with the recipes features and paper",
        ),
        (["fit", "rec", "--out", "run"], 2, "holds a run already. Resume it"),
        (["generate", "nowhere", "0.wav", "--out", "z"], 1, "A model must be a run folder"),
        (["generate", "run", "3.wav", "--out", "z"], 1, "No audio file could be read (1 given)"),
        (["generate", "run", "0.wav", "sub/0.wav", "--out", "pairs.csv"], 2, "--out must be a folder"),
        (["generate", "run", "0.wav", "sub/0.wav", "--out", "z"], 2, "must have different names"),
        (
            ["export", "run", "--out", "pairs.csv", "--format", "tflite"],
            2,
            "path must end in .tflite with format='tflite'",
        ),
        (
            ["export", "run", "--out", "pairs.csv", "--format", "saved-model"],
            2,
            "path must not exist. Received: pairs.csv",
        ),
        (["export", "run", "--out", "m.pb", "--format", "coreml"], 2, "'coreml' is not one of"),
        (["export", "run", "--out", "m.pb"], 2, "path must end in the suffix of a format"),
        (
            ["export", "run", "--out", "run", "--format", "saved-model", "--overwrite"],
            2,
            "an earlier export, which overwrite=True replaces",
        ),
        (["build-records", "pairs.csv", "--out", "run"], 2, "out must be a new or empty folder"),
        (["fit", "rec", "--out", "rec"], 2, "must be written to a new or empty folder"),
        (["fit", "rec", "--out", "none", "--resume"], 1, "which doesn't exist"),
        (["quickstart", "--out", "rec"], 2, "which holds other files"),
    ],
)
@pytest.mark.training
def test_mistake_ends_in_one_sentence(run, folder, args, status, sentence, within):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "x"}
    result = within(*args, cwd=folder)
    assert (result.returncode, result.stdout) == (status, "")
    assert sentence in result.stderr and "Traceback" not in result.stderr
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "x"}
    assert after == before


WITHOUT_TENSORFLOW = 'import sys\nsys.modules["tensorflow"] = sys.modules["keras"] = None\n'

ONE_AFTER_ANOTHER = """
import json
import sys
from keras_a2i.cli import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["keras-a2i", *arguments]
    try:
        main.main()
    except SystemExit as end:
        print(f"exit status {end.code};", file=sys.stderr, flush=True)
    # It would close the stderr of the next command.
    main._silence_native_logs = lambda: None
"""


def test_mistakes_of_trainings_are_refused_before_tensorflow_loads(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    build(tmp_path / "rec", ToneSource(n_sources=1, seconds=8), split=SplitSpec(kind="random"))
    fit = ("fit", tmp_path / "rec", "--out", tmp_path / "run")
    several = ("--coordinator", "127.0.0.1:1", "--num-processes", 2, "--process-id", 1)
    optuna = ("sweep", *fit[1:], "--searcher", "optuna")
    cases = [
        ((*fit, "--recipe", "papper"), 2, "Did you mean 'paper'?"),
        (("fit", tmp_path / "rec", "--out", tmp_path / "other"), 2, "which holds other files"),
        (("fit", tmp_path / "nowhere", "--out", tmp_path / "run"), 1, "A records folder must hold a records.json"),
        ((*fit, "--set", "epochs"), 2, "--set must be given NAME=VALUE"),
        ((*fit, "--set", "epohcs=3"), 2, "Did you mean 'epochs'?"),
        ((*fit, "--recipe", "words-aligned", "--set", "epochs=many"), 2, "epochs must be a whole number from 1"),
        ((*fit, "--recipe", "features", "--set", "units=a,b"), 2, "units must be whole numbers from 1"),
        # Without waiting for the other process, which would refuse them, too.
        ((*fit, "--recipe", "words-aligned", "--set", "epohcs=3", *several), 2, "Did you mean 'epochs'?"),
        ((*fit, "--set", "ssim=abc"), 2, "The weight of ssim must be a number in [0, 1e+06]"),
        ((*fit, "--set", "gain_db=-5"), 2, "gain_db of an Augmentation must lie between 0 and 60"),
        (("sweep", *fit[1:], "--set", "batch_size=8,0"), 2, "batch_size must be a whole number from 1"),
        ((*optuna, "--set", "batch_size=0..8"), 2, "batch_size must be a whole number from 1"),
        ((*optuna, "--set", "learning_rate=1..20"), 2, "learning_rate must be a number in (0, 10]"),
        ((*fit, "--step-timeout", 5), 2, "--step-timeout needs the options of several processes"),
        ((*fit, "--process-id", 1), 2, "must be given together"),
        (
            ("fit", tmp_path / "rec", "--seeds", 3, "--out", "s3://bucket/runs"),
            2,
            "The folder of several runs (--out with --seeds) must be a path on the disk. Received: s3://bucket/runs",
        ),
        (("fit", tmp_path / "rec", "--seeds", 3, "--out", tmp_path / "other"), 2, "which holds other files"),
        (
            ("evaluate", "run", tmp_path / "rec", "--folds", 3, "--out", "s3://bucket/folds"),
            2,
            "The folder of the folds (--out) must be a path on the disk. Received: s3://bucket/folds",
        ),
        (("evaluate", "run", "rec", "--folds", 3, "--samples", 2), 2, "Leave out --samples, or --folds"),
        (("evaluate", "run", "rec", "--by", "source"), 2, "--by can only be used with --folds"),
    ]
    commands = json.dumps([[str(each) for each in arguments] for arguments, _, _ in cases])
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW + ONE_AFTER_ANOTHER, commands]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stderr.split("exit status ")
    for text, following, (_, status, sentence) in zip(printed[:-1], printed[1:], cases, strict=True):
        assert sentence in " ".join(text.split()) and following.startswith(f"{status};"), text


@pytest.mark.training
def test_generate_does_not_mix_images_of_two_calls(run, folder, within):
    args = ("generate", "run", "0.wav", "--out", "mixed")
    assert within(*args, cwd=folder).returncode == 0
    (folder / "mixed" / "0" / "0007.png").write_bytes(b"mine")
    result = within(*args, cwd=folder)
    assert result.returncode == 2 and "must not hold files of an earlier call" in result.stderr
    assert within(*args, "--overwrite", cwd=folder).returncode == 0
    assert sorted(path.name for path in (folder / "mixed" / "0").glob("*.png")) == ["0000.png", "0007.png"]


@pytest.mark.training
def test_build_records_of_a_complete_build(run, folder, within):
    args = ("pairs.csv", "--out", "rec", "--image-size", 16, "--split", "source", "--holdout", "speaker1")
    result = within("build-records", *args, cwd=folder)
    assert result.returncode == 0 and "complete already" in result.stdout


def test_debug_shows_the_traceback(folder):
    result = keras_a2i("--debug", "inspect", "nowhere", cwd=folder)
    assert result.returncode == 1 and "Traceback" in result.stderr and "Error: A records folder" in result.stderr


@pytest.mark.training
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_signals_end_a_training_that_can_be_resumed(run, folder, tmp_path):
    """SIGTERM ends the training, SIGINT the resumed one: both in one process, as TensorFlow is slow to import."""
    # A process that is started by a shell in the background ignores Ctrl-C, and so would its children.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    fit = ["fit", str(folder / "rec"), "--out", str(tmp_path / "run")]
    first = [*fit, "--recipe", "features", "--size", "tiny", "--epochs", "100000"]
    last = f"sys.argv = {['keras-a2i', *fit, '--resume']}\nmain.main()\n"
    command = [sys.executable, "-c", LESS_GARBAGE_COLLECTION + heeded + ONE_AFTER_ANOTHER + last, json.dumps([first])]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    trained = 0
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            lines = []
            while not (lines and lines[-1].startswith(f"epoch {trained + 2}/")):
                assert process.poll() is None
                lines.append(process.stderr.readline())
            assert any(f", resumed at epoch {trained + 1}" in line for line in lines) == (trained > 0)
            process.send_signal(number)
            while not lines[-1].startswith("exit status") and (line := process.stderr.readline()):
                lines.append(line)
            text = "".join(lines)
            assert "--resume" in text
            config = json.loads((tmp_path / "run" / "config.json").read_text())
            assert not config["finished"] and (tmp_path / "run" / "model.keras").is_file()
            trained = int(re.search(r"Training stopped after epoch (\d+)", text)[1])
            if number == signal.SIGTERM:
                assert lines[-1] == "exit status 143;\n"
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()


@pytest.mark.training
def test_help_of_every_command_is_fast():
    commands = list(main._COMMANDS)
    overview = keras_a2i("--help").stdout
    assert all(command in overview for command in commands)
    code = LESS_GARBAGE_COLLECTION + WITHOUT_TENSORFLOW + ONE_AFTER_ANOTHER
    started = time.monotonic()
    command = [sys.executable, "-c", code, json.dumps([[command, "--help"] for command in commands])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    # Each takes less, as all of them import what any one does.
    assert time.monotonic() - started < 5
    assert result.stderr == "exit status 0;\n" * len(commands)
    for command in commands:
        assert f"Usage: keras-a2i {command} " in result.stdout


def test_parse_settings_types():
    settings = parse_settings(("a=1", "b=0.5", "c=true", "d=cosine", "e=8,4"))
    assert settings == {"a": 1, "b": 0.5, "c": True, "d": "cosine", "e": (8, 4)}
    with pytest.raises(UsageError, match=r"--set must be given NAME=VALUE. Received: 'a'"):
        parse_settings(("a",))


def test_progress_line_shows_rate_and_remaining_time(capsys, monkeypatch):
    from keras_a2i.cli import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = progress.ProgressLine("pair")
    now[0] = 1.0
    line(10, 0, 100)
    assert capsys.readouterr().err == ""
    now[0] = 10.0
    line(48, 2, 100)
    assert "48/100 pairs, 5/s, 2 skipped, 10 s left" in capsys.readouterr().err
    now[0] = 20.0
    line(1, 0, 1)
    assert "1/1 pair, 0/s" in capsys.readouterr().err
    line.close()
    assert capsys.readouterr().err == ""
    assert [format_seconds(s) for s in (41, 185, 7_800)] == ["41 s", "3 min 05 s", "2 h 10 min"]
