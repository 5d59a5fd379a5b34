"""The pipeline: order, cache, streaming, damage, what comes out."""

import numpy as np
import pytest
import tensorflow as tf
from support.tone_source import ToneSource, build

from keras_a2i.errors import CorruptRecordError, RecordsError, UsageError
from keras_a2i.records.dataset import feature_statistics, load_records, read_examples
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    build(path, ToneSource(n_sources=5), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return path


def collect(dataset):
    batches = list(dataset.as_numpy_iterator())
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def sorted_rows(array):
    flat = array.reshape(len(array), -1)
    return flat[np.lexsort(flat.T)]


@pytest.mark.parametrize("cache", [True, False])
def test_batches_are_float_pictures_in_range_with_their_features(records, cache):
    dataset = load_records(records, batch_size=8, shuffle=False, cache=cache)
    x, y = next(iter(dataset))
    assert (x.dtype, y.dtype) == (tf.float32, tf.float32)
    assert x.shape == (8, 104) and y.shape == (8, 16, 16, 3)
    np.testing.assert_allclose(y[3], 30 / 127.5 - 1, atol=1e-6)
    assert len(collect(dataset)[0]) == 45
    assert int(dataset.cardinality()) == 6


def test_cached_and_streamed_hold_the_same_pairs(records):
    cached = collect(load_records(records, cache=True))
    streamed = collect(load_records(records, cache=False))
    for a, b in zip(cached, streamed, strict=True):
        np.testing.assert_array_equal(sorted_rows(a), sorted_rows(b))
    ordered = [collect(load_records(records, cache=cache, shuffle=False)) for cache in (True, False)]
    np.testing.assert_array_equal(ordered[0][0], ordered[1][0])


@pytest.mark.parametrize("cache", [True, False])
def test_shuffling_follows_the_seed_and_changes_every_epoch(records, cache):
    first, second = (load_records(records, seed=3, cache=cache) for _ in range(2))
    epochs = [collect(first)[0] for _ in range(3)]
    again = [collect(second)[0] for _ in range(3)]
    np.testing.assert_array_equal(epochs, again)
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()
    assert (collect(load_records(records, seed=4, cache=cache))[0] != epochs[0]).any()


def test_a_training_that_goes_on_sees_the_order_it_would_have_seen(records):
    epoch = tf.Variable(0)
    dataset = load_records(records, seed=3, epoch=epoch)
    assert int(dataset.cardinality()) == 1
    epochs = []
    for number in range(4):
        epoch.assign(number)
        epochs.append(collect(dataset)[0])
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(sorted_rows(epochs[0]), sorted_rows(epochs[1]))
    later = load_records(records, seed=3, epoch=tf.Variable(2))
    for _ in range(2):
        np.testing.assert_array_equal(collect(later)[0], epochs[2])


def test_the_cache_is_chosen_by_its_budget(records, monkeypatch):
    import keras_a2i.records.dataset

    read = []
    original = keras_a2i.records.dataset.read_records
    monkeypatch.setattr(keras_a2i.records.dataset, "read_records", lambda *a: read.append(1) or original(*a))
    pair_bytes = 16 * 16 * 3 + 104 * 4
    cached = load_records(records, cache=45 * pair_bytes)
    opened = len(read)
    assert opened > 0
    collect(cached)
    assert len(read) == opened
    streamed = load_records(records, cache=45 * pair_bytes - 1)
    assert len(read) == opened
    collect(streamed)
    assert len(read) > opened


@pytest.mark.parametrize("cache", [True, False])
def test_repeat_and_drop_remainder(records, cache):
    dataset = load_records(records, batch_size=8, repeat=True, cache=cache)
    assert [len(x) for x, _ in dataset.take(12)] == [8] * 12
    dataset = load_records(records, batch_size=8, drop_remainder=True, cache=cache)
    assert [len(x) for x, _ in dataset] == [8] * 5


@pytest.mark.parametrize("cache", [True, False])
def test_waveforms(records, cache):
    x, _ = next(iter(load_records(records, features="waveform", shuffle=False, cache=cache)))
    assert x.shape == (45, 16_000)
    pitch = 200 + 40 * 2
    expected = 0.5 * np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(x[2], expected, atol=1 / 32768)


def test_statistics_are_numpy_s(records):
    mean, std = feature_statistics(records)
    x, _ = collect(load_records(records))
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std, x.std(axis=0), rtol=1e-4, atol=1e-4)


def test_examples_tell_everything(records):
    examples = list(read_examples(records, "val", waveform=True).unbatch().as_numpy_iterator())
    assert len(examples) == 15
    assert examples[0]["id"] == b"tone0@9" and examples[0]["label"] == b"label0"
    assert examples[0]["image"].dtype == np.uint8 and examples[0]["waveform"].dtype == np.int16


@pytest.fixture
def damaged(tmp_path):
    build(tmp_path, ToneSource(n_sources=2), split=SplitSpec(kind="block", val_fraction=0))
    path = tmp_path / Manifest.read(tmp_path).shards[0].file
    data = path.read_bytes()
    # The tone's id stands in the data of a record, away from its length.
    path.write_bytes(data.replace(b"tone0@5", b"tone0@X", 1))
    return tmp_path


def test_damage_is_named_when_cached(damaged):
    with pytest.raises(CorruptRecordError, match=r"Received: record 5 of train-00000-of-00002.tfrecord"):
        load_records(damaged)


def test_damage_is_named_when_streamed(damaged):
    with pytest.raises(tf.errors.OpError, match=r"record 5 of train-00000-of-00002.tfrecord"):
        collect(load_records(damaged, cache=False))


@pytest.mark.parametrize("cache", [True, False])
def test_damage_is_counted_and_passed_over(damaged, cache):
    dataset = load_records(damaged, cache=cache, ignore_errors=True)
    assert len(collect(dataset)[0]) == 23
    assert len(dataset.damaged_records) == 1 and "train-00000" in dataset.damaged_records[0]


def test_errors(records, tmp_path):
    with pytest.raises(UsageError, match=r"batch_size must be 1 or more. Received: 0"):
        load_records(records, batch_size=0)
    with pytest.raises(UsageError, match=r"features must be 'features' or 'waveform'. Received: 'mfcc'"):
        load_records(records, features="mfcc")
    with pytest.raises(UsageError, match="cache must be 'auto', True, False or a number"):
        load_records(records, cache="disk")
    with pytest.raises(RecordsError, match=r"must be one of .'train', 'val'.. Received: 'test'"):
        load_records(records, "test")
    with pytest.raises(RecordsError, match=r"holds a records.json"):
        load_records(tmp_path)
    build(tmp_path, waveform=False)
    with pytest.raises(RecordsError, match="hold no waveform"):
        load_records(tmp_path, features="waveform")
    (tmp_path / Manifest.read(tmp_path).shards[0].file).unlink()
    with pytest.raises(RecordsError, match="is missing in"):
        load_records(tmp_path)
