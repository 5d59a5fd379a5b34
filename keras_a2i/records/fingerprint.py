"""The fingerprint of a build: equal fingerprints mean equal shards, as far as the stamps of the units tell."""

import hashlib
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_a2i.records.splits import LEFT_OUT, SPLITS
from keras_a2i.sources.pair import Unit
from keras_a2i.sources.pair_keys import PairKeys

_RUN = 65_536
_BATCH = 8_192


def plan_fingerprint(units: Iterable[Unit], keys: PairKeys, splits: np.ndarray, options: dict[str, Any]) -> str:
    """Returns the sha256 of a plan as a JSON object with sorted names, which never exists as a whole.

    Args:
        units: all units.
        keys: the keys of all units.
        splits: as `assign_splits` returns them.
        options: whatever else the shards depend on: JSON values by name.
    """
    members: dict[str, Iterable[str]] = {name: [json.dumps(value, sort_keys=True)] for name, value in options.items()}
    members["units"] = _enclosed("[", _units(units, keys), "]")
    members["splits"] = _enclosed("{", _splits(keys, splits), "}")
    digest = hashlib.sha256()
    named = (itertools.chain([f"{json.dumps(name)}: "], members[name]) for name in sorted(members))
    for number, pieces in enumerate(named):
        digest.update(b", " if number else b"{")
        for piece in pieces:
            digest.update(piece.encode())
    digest.update(b"}")
    return digest.hexdigest()


def _enclosed(opening: str, items: Iterable[str], closing: str) -> Iterator[str]:
    yield opening
    for number, item in enumerate(items):
        yield f", {item}" if number else item
    yield closing


def _units(units: Iterable[Unit], keys: PairKeys) -> Iterator[str]:
    """Of every unit the name, the stamp, and what the keys say: ids, sources, labels and times."""
    texts, times = [keys.texts(field) for field in ("id", "source_id", "label")], keys.times
    start = 0
    for unit in units:
        end = start + len(unit.keys)
        columns = [list(itertools.islice(column, end - start)) for column in texts]
        yield json.dumps([unit.name, unit.stamp, *columns, times[start:end].tolist()])
        start = end


def _splits(keys: PairKeys, splits: np.ndarray) -> Iterator[str]:
    """The members of the object id -> split, sorted by id, some at a time: runs are sorted, then merged."""
    (positions,) = np.nonzero(splits != LEFT_OUT)
    runs = []
    for start in range(0, len(positions), _RUN):
        run = positions[start : start + _RUN]
        ids = list(keys.select(run).texts("id"))
        run = run[sorted(range(len(ids)), key=ids.__getitem__)]
        runs.append(zip(keys.select(run).texts("id"), splits[run].tolist(), strict=True))
    merged = heapq.merge(*runs)
    while batch := {id: SPLITS[place] for id, place in itertools.islice(merged, _BATCH)}:
        yield json.dumps(batch)[1:-1]
