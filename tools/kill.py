"""Kills commands at random moments, runs them again, and compares with what an uninterrupted run wrote.

    python tools/kill.py --count 20 --seed 0
    python tools/kill.py --only fit-best --count 5

After a kill (SIGKILL of the command alone, not of its workers) what a command had written must be whole or absent; the
command, run again as its message says, must end in the same files, bit by bit; and nothing may be left running. The
workers of build-cluster are those of a Dask scheduler, which outlive it and may still write when it runs again.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow

import keras_a2i.training  # forked commands find it imported, as TensorFlow, which halves the time of a kill
from keras_a2i.cli.main import main as keras_a2i

_SMALL = ["--recipe", "features", "--size", "tiny", "--batch-size", "8"]


def start(arguments: list[str], log: pathlib.Path) -> int:
    """Starts a command in a forked process that leads a process group of its own; returns the process's number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setsid()
        # A command that was started in the background ignores Ctrl-C; these start as in a terminal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pathlib.Path(os.devnull).open("w") as nothing, log.open("w") as file:
            os.dup2(nothing.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["keras-a2i", *arguments]
        keras_a2i()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


def run(arguments: list[str], log: pathlib.Path) -> float:
    """Runs a command to its end and returns the seconds that it took."""
    started = time.monotonic()
    _, status = os.waitpid(start(arguments, log), 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed: {log.read_text()[-500:]}")
    return time.monotonic() - started


def still_running(group: int) -> bool:
    """Whether a process of a group is alive, after a moment to notice that its parent is gone."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def digest(path: pathlib.Path) -> dict[str, str]:
    """The content of every file: of models the weights, of others the bytes; times and logs are left out."""
    found = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        # What a killed command couldn't remove is hidden or named .tmp; the next run replaces it.
        if not file.is_file() or name.startswith(".") or name.endswith(".tmp"):
            continue
        if name.startswith(("tensorboard", "state", "config.json", "history.csv", "fingerprint.pb", "variables/")):
            continue
        if file.name in ("records.json", "report.json"):
            found[name] = json.dumps(json.loads(file.read_text()) | {"command": ""})
        elif file.name == "report.html":
            # It quotes the command, whose output folder differs.
            found[name] = str(file.read_text().rstrip().endswith("</html>"))
        elif file.name == "saved_model.pb":
            # The order of its operations changes from export to export.
            found[name] = _variables(file.parent)
        else:
            found[name] = _weights(file) if file.suffix == ".keras" else hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _weights(file: pathlib.Path) -> str:
    import h5py

    sha = hashlib.sha256()
    with zipfile.ZipFile(file) as archive, h5py.File(archive.open("model.weights.h5")) as weights:
        weights.visititems(
            lambda _, item: sha.update(np.asarray(item).tobytes()) if isinstance(item, h5py.Dataset) else None
        )
    return sha.hexdigest()


def _variables(folder: pathlib.Path) -> str:
    # A reader of checkpoints starts no runtime, which a forked process couldn't use.
    reader = tensorflow.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("variables")]
    return json.dumps(sorted(hashlib.sha256(reader.get_tensor(name).tobytes()).hexdigest() for name in names))


def try_command(
    name: str, arguments: Callable[[pathlib.Path, bool], list[str]], count: int, rng: random.Random, work: pathlib.Path
) -> str:
    """Kills a command `count` times at moments spread over its duration; returns the line of the table."""
    whole, log = work / f"{name}-whole", work / f"{name}.log"
    seconds = run(arguments(whole, False), log)
    expected, absent, equal, problems = digest(whole), 0, 0, []
    for number in range(count):
        out = work / f"{name}-{number}"
        process = start(arguments(out, False), log)
        time.sleep(rng.uniform(0.05, 1.0) * seconds)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        if still_running(process):
            problems.append(f"{number}: processes are left")
            os.killpg(process, signal.SIGKILL)
        left = digest(out) if out.exists() else {}
        absent += not left
        for file, value in left.items():
            if name.startswith(("export", "generate", "evaluate")) and value != expected.get(file):
                problems.append(f"{number}: {file} is half-written")
        run(arguments(out, True), log)
        equal += digest(out) == expected
        if digest(out) != expected:
            problems.append(f"{number}: differs after the second run")
        shutil.rmtree(out, ignore_errors=True)
    if len(problems) > 5:
        problems[5:] = [f"and {len(problems) - 5} more"]
    return f"{name:22}{seconds:8.1f} s{count:6}{absent:10}{equal:8}   {'; '.join(problems) or 'none'}"


@contextlib.contextmanager
def dask_scheduler(folder: pathlib.Path) -> Iterator[str]:
    """Starts a Dask scheduler with two workers; its address, "" where Dask isn't installed."""
    if importlib.util.find_spec("distributed") is None:
        yield ""
        return
    file, local = folder / "scheduler.json", ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file")
    roles = ("scheduler", "--port", "0"), *[("worker", "--nthreads", "1", "--no-nanny")] * 2
    with (folder / "dask.log").open("w") as log, contextlib.ExitStack() as stack:
        for name, *options in roles:
            command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *options, *local, str(file)]
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
            stack.callback(process.kill)
        while not file.is_file():
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]


def commands(work: pathlib.Path, scheduler: str) -> dict[str, Callable[[pathlib.Path, bool], list[str]]]:
    """The commands by name: the output and whether it is the second run, to arguments."""
    records, model = str(work / "records"), str(work / "model")
    labelled, log = str(work / "labelled"), work / "setup.log"
    for data, out in (("synthetic:surf:160", records), (_write_words(work / "words"), labelled)):
        run(["build-records", data, "--image-size", "32", "--out", out, "--workers", "1"], log)
    run(["fit", records, "--out", model, *_SMALL, "--epochs", "2"], log)
    run(["export", model, "--out", str(work / "model.tflite")], log)
    import soundfile

    soundfile.write(work / "a.wav", 0.3 * np.sin(np.arange(16_000 * 600) / 9), 16_000)
    tflite, sound = str(work / "model.tflite"), str(work / "a.wav")

    def fit(*options: str) -> Callable[[pathlib.Path, bool], list[str]]:
        def arguments(out: pathlib.Path, again: bool) -> list[str]:
            resumable = (out / "config.json").is_file()
            new = [*_SMALL, *options]
            cache = [*options[-2:]] if "--cache" in options else []
            return ["fit", records, "--out", str(out), *(["--resume", *cache] if again and resumable else new)]

        return arguments

    def family(recipe: str, data: str, *options: str) -> Callable[[pathlib.Path, bool], list[str]]:
        def arguments(out: pathlib.Path, again: bool) -> list[str]:
            resumable = again and (out / "config.json").is_file()
            # The paper's network comes in one size.
            size = () if recipe == "paper" else ("--size", "tiny")
            new = ["--recipe", recipe, *size, "--batch-size", "32", "--set", "min_steps=0", *options]
            return ["fit", data, "--out", str(out), *(["--resume"] if resumable else new)]

        return arguments

    first_part = ("--epochs", "6", "--set", "autoencoder_epochs=3")

    def build(*options: str) -> Callable[[pathlib.Path, bool], list[str]]:
        return lambda out, _: ["build-records", "synthetic:surf:600", "--image-size", "32", "--out", str(out), *options]

    def overwriting(*arguments: str, suffix: str = "") -> Callable[[pathlib.Path, bool], list[str]]:
        return lambda out, again: [*arguments, "--out", f"{out}{suffix}", *(["--overwrite"] if again else [])]

    return {
        "build-1": build("--workers", "1"),
        "build-2": build("--workers", "2"),
        **({"build-cluster": build("--scheduler", scheduler)} if scheduler else {}),
        "fit": fit("--epochs", "20"),
        "fit-best": fit("--epochs", "20", "--restore-best-weights", "--patience", "8"),
        "fit-streamed": fit("--epochs", "10", "--cache", "never"),
        "fit-paper": family("paper", records, "--epochs", "8"),
        "fit-scenes": family("scenes", records, "--epochs", "6"),
        "fit-exemplars": family("exemplars", records, "--epochs", "6"),
        "fit-words-exemplars": family("words-exemplars", labelled, "--epochs", "6"),
        "fit-adversarial": family("words-adversarial", labelled, *first_part),
        "fit-aligned": family("words-aligned", labelled, *first_part),
        "export": overwriting("export", model, suffix="/model.tflite"),
        "export-saved": overwriting("export", model, "--format", "saved-model"),
        "evaluate": lambda out, _: ["evaluate", model, records, "--out", str(out)],
        "generate": overwriting("generate", tflite, sound),
        "generate-video": overwriting("generate", tflite, sound, "--video", "--fps", "10"),
    }


def _write_words(folder: pathlib.Path) -> str:
    """Writes a pairs.csv: tones of four heights, each beside an image of one colour; returns its path."""
    import PIL.Image
    import soundfile

    folder.mkdir()
    rng, lines = np.random.default_rng(0), ["audio,image,label,source"]
    for number in range(96):
        label, name = number % 4, f"{number:03}"
        wave = 0.3 * np.sin(2 * np.pi * (300 + 250 * label) * np.arange(16_000) / 16_000)
        soundfile.write(folder / f"{name}.wav", wave + 0.01 * rng.standard_normal(16_000), 16_000)
        image = np.uint8(rng.integers(0, 40, (32, 32, 3)) + 50 * label)
        PIL.Image.fromarray(image).save(folder / f"{name}.png")
        lines.append(f"{name}.wav,{name}.png,{label},speaker-{number % 6}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "pairs.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a command; repeatable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, dask_scheduler(pathlib.Path(folder)) as scheduler:
        work = pathlib.Path(folder)
        rng = random.Random(options.seed)
        print(f"{'command':22}{'takes':>10}{'kills':>6}{'absent':>10}{'equal':>8}   problems")
        for name, arguments in commands(work, scheduler).items():
            if not options.only or name in options.only:
                print(try_command(name, arguments, options.count, rng, work), flush=True)


if __name__ == "__main__":
    main()
