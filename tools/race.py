"""Starts two commands on one folder at nearly the same moment, many times, and checks what they leave.

    python tools/race.py --count 50
    python tools/race.py --only fit --count 10

One of the two must win whole, or both in turn with --overwrite; the other must say why it stopped. Nothing may be
mixed, half-written or left running.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import tempfile
import time

from kill import run, start, still_running

from keras_a2i.records.manifest import Manifest

_REASONS = ("Only one process at a time", "must not hold other records", "holds a run already")
"""What the command that lost may say."""


def build(out: pathlib.Path, _: pathlib.Path, number: int) -> list[str]:
    """Builds records whose number of pairs tells the two commands apart."""
    options = ("--image-size", "16", "--out", str(out), "--workers", "1")
    return ["build-records", f"synthetic:surf:{(60, 72)[number]}", *options]


def fit(out: pathlib.Path, records: pathlib.Path, number: int) -> list[str]:
    """Fits with a seed that tells the two commands apart."""
    options = ("--recipe", "features", "--size", "tiny", "--epochs", "3", "--seed", str(number))
    return ["fit", str(records), "--out", str(out), *options]


def check_build(out: pathlib.Path) -> tuple[str, list[str]]:
    """Returns which build won, and what is wrong with its folder."""
    manifest = Manifest.read(out)
    known = {shard.file for shard in manifest.shards} | {"records.json"}
    foreign = sorted(file.name for file in out.iterdir() if file.name not in known)
    return f"{sum(manifest.counts.values())} pairs", [*map(str, manifest.verify(out)), *foreign]


def check_fit(out: pathlib.Path) -> tuple[str, list[str]]:
    """Returns which training won, and what is wrong with its folder."""
    config = json.loads((out / "config.json").read_text())
    wrong = [] if config["finished"] and (out / "model.keras").is_file() else ["not finished"]
    return f"seed {config['seed']}", [*wrong, *(file.name for file in out.glob(".*"))]


COMMANDS = {"build-records": (build, check_build), "fit": (fit, check_fit)}


def try_once(name: str, work: pathlib.Path, overwrite: bool, rng: random.Random) -> tuple[str, list[str]]:
    """Lets two commands race; returns the outcome in words, and the problems."""
    arguments, check = COMMANDS[name]
    out, processes, problems = work / "out", [], []
    shutil.rmtree(out, ignore_errors=True)
    logs = [work / f"{number}.log" for number in range(2)]
    for number, log in enumerate(logs):
        extra = ["--overwrite"] if overwrite else []
        processes.append(start([*arguments(out, work / "records", number), *extra], log))
        time.sleep(rng.uniform(0, 0.4))
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    for code, log in zip(codes, logs, strict=True):
        text = log.read_text()
        if "Traceback" in text or (code and not any(reason in text for reason in _REASONS)):
            problems.append(text[-300:])
    problems += ["processes are left" for process in processes if still_running(process)]
    winner, wrong = check(out)
    if 0 not in codes:
        problems.append("neither won")
    both = "both end in turn" if codes == [0, 0] else "one wins"
    return f"{both}, {winner}", problems + wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="races of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(COMMANDS), action="append", help="a command; repeatable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, rng = pathlib.Path(folder), random.Random(options.seed)
        records = ["build-records", "synthetic:surf:64", "--image-size", "16", "--out", str(work / "records")]
        run([*records, "--workers", "1"], work / "setup.log")
        for name in options.only or COMMANDS:
            outcomes, problems = collections.Counter[str](), []
            for number in range(options.count):
                outcome, wrong = try_once(name, work, overwrite=bool(number % 2), rng=rng)
                outcomes[outcome] += 1
                problems += [f"{number}: {text}" for text in wrong]
            print(f"{name}, {options.count} races, every second with --overwrite: {dict(outcomes)}", flush=True)
            print(f"    problems: {'; '.join(problems) or 'none'}", flush=True)


if __name__ == "__main__":
    main()
