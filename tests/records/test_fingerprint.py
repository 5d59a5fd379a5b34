"""The fingerprint is the sha256 of a JSON object, although that is never made as a whole."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

import keras_a2i.records.fingerprint
from keras_a2i.records.fingerprint import plan_fingerprint
from keras_a2i.sources.pair import PairKey, Unit
from keras_a2i.sources.pair_keys import PairKeys


@pytest.mark.parametrize("n_pairs", [0, 1, 57])
def test_fingerprint_is_the_sha256_of_the_json_text(monkeypatch, n_pairs):
    monkeypatch.setattr(keras_a2i.records.fingerprint, "_RUN", 10)
    monkeypatch.setattr(keras_a2i.records.fingerprint, "_BATCH", 4)
    keys = PairKeys.of(PairKey(f'{i * 23 % 60} ä"', f"source {i % 7}", i / 3, f"label {i % 5}") for i in range(n_pairs))
    units = [Unit(f"unit {start}", keys[start : start + 20], stamp="x") for start in range(0, n_pairs, 20)]
    splits = np.arange(n_pairs, dtype=np.int8) % 4 - 1
    options = {"waveform": True, "features": {"b": 1.5, "a": [None, "é"]}, "image": {}}
    fields = ("id", "source_id", "label", "time")
    content = {
        "units": [
            [unit.name, unit.stamp, *([getattr(key, field) for key in unit.keys] for field in fields)] for unit in units
        ],
        "splits": {
            key.id: ["train", "val", "test"][place] for key, place in zip(keys, splits, strict=True) if place >= 0
        },
        **options,
    }
    text = json.dumps(content, sort_keys=True)
    assert plan_fingerprint(units, keys, splits, options) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("change", [{"label": "b"}, {"time": 1.0}, {"source_id": "t"}])
def test_fingerprint_changes_with_all_that_a_record_holds_of_a_key(change):
    found = []
    for key in (PairKey("id", "s", 0.0, "a"), dataclasses.replace(PairKey("id", "s", 0.0, "a"), **change)):
        keys = PairKeys.of([key])
        found.append(plan_fingerprint([Unit("unit", keys)], keys, np.zeros(1, np.int8), {}))
    assert found[0] != found[1]
