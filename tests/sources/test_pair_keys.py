"""Keys in columns behave as a tuple of keys."""

import pickle

import numpy as np
import pytest

from keras_a2i.sources.pair import PairKey, Unit
from keras_a2i.sources.pair_keys import PairKeys

KEYS = tuple(PairKey(f"clip@{i}", f"source{i * 7 % 3}", i / 2, ["", "dog"][i % 2], "val" * (i > 8)) for i in range(10))


def test_keys_in_columns_equal_the_same_keys_in_a_tuple():
    keys = PairKeys.of(KEYS)
    assert list(keys) == list(KEYS) and keys == KEYS and hash(keys) == hash(KEYS)
    assert Unit("unit", KEYS) == Unit("unit", keys)
    assert keys != KEYS[:-1] and keys != (*KEYS[:-1], PairKey("other", "source")) and keys != list(KEYS)
    assert [keys[i] for i in (0, 9, -1)] == [KEYS[0], KEYS[9], KEYS[9]]
    assert keys[2:9:3] == KEYS[2:9:3] and keys[::-1] == KEYS[::-1] and keys[4:4] == ()
    assert KEYS[3] in keys and keys.index(KEYS[3]) == 3
    with pytest.raises(IndexError):
        keys[10]


def test_more_keys_than_a_chunk_come_back():
    keys = [PairKey(str(i), str(i // 3), float(i)) for i in range(20_000)]
    assert list(PairKeys.of(iter(keys))) == keys


def test_a_slice_is_pickled_as_its_own_keys_alone():
    keys = PairKeys.of(PairKey(str(i), "source") for i in range(5_000))
    data = pickle.dumps(keys[10:12])
    assert len(data) < 300 and pickle.loads(data) == (PairKey("10", "source"), PairKey("11", "source"))


def test_values_are_numbered_as_they_appear():
    keys = PairKeys.of(KEYS)
    for part, reference in ((keys, KEYS), (keys[::-1], KEYS[::-1]), (keys[4:8], KEYS[4:8])):
        sources = list(dict.fromkeys(key.source_id for key in reference))
        numbers, firsts = part.number("source_id")
        assert numbers.tolist() == [sources.index(key.source_id) for key in reference]
        assert list(part.select(firsts).texts("source_id")) == sources


def test_keys_of_several_sources_are_joined_in_order():
    other = PairKeys.of(PairKey(f"b{i}", "b", 1.0 + i) for i in range(6))
    mine = PairKeys.of(KEYS)
    parts = [KEYS[:2], KEYS[2:3], mine[3:5], other[4:], (), mine[:2], other[:1]]
    joined = PairKeys.concatenate(parts)
    expected = [key for part in parts for key in part]
    assert list(joined) == expected
    np.testing.assert_array_equal(joined.times, [key.time for key in expected])
    assert list(joined.texts("id")) == [key.id for key in expected]
    assert PairKeys.concatenate([]) == ()
