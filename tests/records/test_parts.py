"""Parts of a split: whole shards, balanced, and data sets of one part."""

import itertools

import numpy as np
import pytest
from support.tone_source import ToneSource, build

from keras_a2i.errors import UsageError
from keras_a2i.records.manifest import Shard
from keras_a2i.records.parts import Part
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec


def shards(*counts):
    return [
        Shard(file=f"train-{i}", split="train", count=count, size=1, sha256="0" * 64) for i, count in enumerate(counts)
    ]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "records"
    build(folder, ToneSource(n_sources=6), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return Records(folder)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_hold_every_shard_once_and_about_as_many_pairs(count):
    all_shards = shards(17, 11, 59, 16, 21, 25, 22, 20)
    parts = [Part(i, count).select(all_shards) for i in range(count)]
    assert sorted(shard.file for part in parts for shard in part) == [shard.file for shard in all_shards]
    sums = [sum(shard.count for shard in part) for part in parts]
    # No assignment of whole shards can be nearer than the largest of them allows.
    assert max(sums) - min(sums) <= 25
    assert all(part == sorted(part, key=lambda shard: shard.file) for part in parts)


def test_what_is_no_part_is_refused():
    with pytest.raises(UsageError, match="Received: index=2, count=2"):
        Part(2, 2)
    with pytest.raises(UsageError, match=r"Received: 3 parts of the split 'train', which has 2 shards. Divide it into"):
        Part(0, 3).select(shards(4, 4))


@pytest.mark.parametrize("cache", [True, False])
def test_data_sets_of_the_parts_hold_every_pair_once(records, cache):
    whole = np.sort(records.decoded("train").features[:, 0])
    found = [
        inputs[:, 0]
        for i in range(2)
        for inputs, _ in records.dataset("train", 4, part=Part(i, 2), cache=cache).as_numpy_iterator()
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), whole)


def test_a_part_repeats_its_own_pairs(records):
    own = {tuple(row) for row, _ in records.dataset("train", 1, part=Part(1, 3)).unbatch().as_numpy_iterator()}
    batches = records.dataset("train", 8, part=Part(1, 3), repeat=True, drop_remainder=True).as_numpy_iterator()
    seen = np.concatenate([inputs for inputs, _ in itertools.islice(batches, 20)])
    assert len(seen) == 160 and {tuple(row) for row in seen} == own
