"""Mutates small files of every kind that the library reads, and counts what reading them does.

    python tools/fuzz.py --all --count 30000            # shared among the readers; a table at the end
    python tools/fuzz.py --reader video --count 500 --seed 1 --keep failures/

Right is: the file is read, or one of the library's own errors names what is wrong, within 10 seconds and 2 GB. Anything
else (a foreign exception, a hang, more memory, a crash of the process) is a failure; its file is kept with --keep. The
same seed makes the same files.
"""

import argparse
import collections
import contextlib
import io
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings

from fuzz_readers import READERS, Reader

SECONDS = 10.0
MEGABYTES = 2_000
_SECONDS_TO_START = 180.0


def outcome(reader: Reader, path: pathlib.Path) -> tuple[str, str]:
    """Reads a file; returns "read", "refused" or "foreign", and what an exception said."""
    from keras_a2i.errors import KerasA2IError

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            reader.read(path)
    except KerasA2IError as error:
        return "refused", str(error)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "keras_a2i" in f.filename]
        where = f" ({pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        return "foreign", f"{type(error).__module__}.{type(error).__name__}: {str(error)[:160]}{where}"
    return "read", ""


def _work(name: str, seed: int, numbers: range, folder: str, connection) -> None:
    """Reads the mutated files of those numbers and reports each: (number, outcome, sentence, peak in MB)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    reader, path = READERS[name], pathlib.Path(folder) / "whole"
    path.mkdir(exist_ok=True)
    file = reader.make(path)
    data = file.read_bytes()
    # The whole file first: what is imported for it counts neither as time nor as memory.
    outcome(reader, file)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    connection.send((-1, "ready", "", 0.0))
    for number in numbers:
        changed = reader.change(data, random.Random(f"{seed} {name} {number}"))
        file.write_bytes(changed)
        (pathlib.Path(folder) / "last").write_bytes(changed)
        connection.send((number, "started", "", 0.0))
        result, said = outcome(reader, file)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - base
        connection.send((number, result, said, peak))
        if peak > MEGABYTES:
            return


def fuzz(name: str, count: int, seed: int, keep: pathlib.Path | None = None) -> collections.Counter:
    """Reads that many mutated files of a kind; prints failures and returns the number of each outcome."""
    counts: collections.Counter = collections.Counter()
    context, done, slowest = multiprocessing.get_context("spawn"), 0, 0.0
    while done < count:
        folder = tempfile.mkdtemp()
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(name, seed, range(done, count), folder, theirs), daemon=True)
        worker.start()
        theirs.close()
        failure, started = "", None
        while done < count:
            if not ours.poll(SECONDS if started else _SECONDS_TO_START):
                failure = "hang"
                break
            try:
                number, result, said, peak = ours.recv()
            except EOFError:
                failure = "crash"
                break
            if result == "ready":
                continue
            if result == "started":
                started = time.monotonic()
                continue
            slowest, started = max(slowest, time.monotonic() - (started or 0)), None
            done = number + 1
            if peak > MEGABYTES:
                result, said = "memory", f"{peak:,.0f} MB"
            counts[result] += 1
            if result not in ("read", "refused"):
                _report(name, number, result, said, folder, keep)
            if result == "memory":
                break
        if failure:
            counts[failure] += 1
            _report(name, done, failure, f"exit status {worker.exitcode}", folder, keep)
            done += 1
        worker.kill()
        worker.join()
        shutil.rmtree(folder, ignore_errors=True)
    counts["slowest"] = round(slowest, 1)
    return counts


def _report(name: str, number: int, result: str, said: str, folder: str, keep: pathlib.Path | None) -> None:
    print(f"{result}: {name}, file {number}: {said}", flush=True)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(pathlib.Path(folder) / "last", keep / f"{name.replace(' ', '.')}.{number}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--all", action="store_true", help="all readers")
    chosen.add_argument("--reader", action="append", choices=list(READERS), help="one reader; repeatable")
    parser.add_argument("--count", type=int, default=1_000, help="files, shared among the readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the files that failed")
    options = parser.parse_args()
    names = list(READERS) if options.all else options.reader
    total = sum(READERS[name].weight for name in names)
    columns = ("read", "refused", "foreign", "hang", "memory", "crash", "slowest")
    rows, failed = [], 0
    for name in names:
        count = max(1, round(options.count * READERS[name].weight / total))
        counts = fuzz(name, count, options.seed, options.keep)
        failed += sum(counts[column] for column in columns[2:6])
        rows.append((name, count, *(counts[column] for column in columns)))
        print(f"{name}: {dict(counts)}", file=sys.stderr, flush=True)
    print(f"\n{'reader':15}{'files':>8}" + "".join(f"{column:>9}" for column in columns))
    for name, *values in rows:
        print(f"{name:15}{values[0]:8}" + "".join(f"{value:9}" for value in values[1:]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
