"""`Records`: attributes from the manifest, batches, sharing, streaming, samples, damage."""

import json
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from support.tone_source import ToneSource, build

import keras_a2i.records.records as records_module
from keras_a2i import Records
from keras_a2i.config import ImageConfig
from keras_a2i.errors import CorruptRecordError, RecordsError, UsageError
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.orders import InOrder, Neighbours, Shuffled, WithinLabel
from keras_a2i.records.records import as_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit

PAIR_BYTES = 16 * 16 * 3 + 104 * 4


def collect(dataset):
    batches = list(dataset.as_numpy_iterator())
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def sorted_rows(array):
    flat = array.reshape(len(array), -1)
    return flat[np.lexsort(flat.T)]


def test_records_attributes_come_from_the_manifest_without_reading_a_shard(records, opened_shards):
    assert records.counts == {"train": 45, "val": 15}
    assert records.labels == ("label0", "label1")
    assert records.labels_per_source["tone3"] == {"label1": 12} and len(records.labels_per_source) == 5
    assert records.features.n_features == 104 and records.image.shape == (16, 16, 3)
    assert records.has_waveform and records.fingerprint == records.manifest.fingerprint
    assert "45 train, 15 val" in repr(records)
    assert repr(records.manifest) == (
        "Manifest(45 train, 15 val; split 'block'; 104 MFCC of audio; images (16, 16, 3))"
    )
    assert opened_shards == []


def test_as_records_accepts_a_path_or_records(records, records_folder):
    assert as_records(records) is records
    assert as_records(str(records_folder)).manifest == as_records(records_folder).manifest == records.manifest


class UnlabelledSource:
    """Four pairs without a label."""

    def plan(self):
        return Plan((Unit("clip", tuple(PairKey(f"clip@{k}", "clip", float(k)) for k in range(4))),))

    def read(self, unit):
        for key in unit.keys:
            yield Pair(key=key, image=np.zeros((16, 16, 3), np.uint8), waveform=np.zeros(16_000, np.float32))

    def describe(self):
        return {"kind": "unlabelled"}


@pytest.mark.training
def test_labels_of_unlabelled_records_are_empty(tmp_path):
    build(tmp_path, UnlabelledSource(), split=SplitSpec(kind="block", val_fraction=0))
    records = Records(tmp_path)
    assert records.labels == () and records.labels_per_source == {"clip": {"": 4}}
    _, (_, numbers) = next(iter(records.dataset("train", labels=True)))
    assert set(numbers.numpy()) == {0}


@pytest.mark.training
@pytest.mark.parametrize("cache", [True, False])
def test_dataset_batches_are_float_images_in_range_with_their_features(records, cache):
    dataset = records.dataset("train", 8, order=InOrder(), cache=cache)
    x, y = next(iter(dataset))
    assert (x.dtype, y.dtype) == (tf.float32, tf.float32)
    assert x.shape == (8, 104) and y.shape == (8, 16, 16, 3)
    np.testing.assert_allclose(y[3], 30 / 127.5 - 1, atol=1e-6)
    assert len(collect(dataset)[0]) == 45
    assert int(dataset.cardinality()) == 6


@pytest.mark.training
def test_dataset_cached_and_streamed_hold_the_same_pairs(records):
    cached = collect(records.dataset(cache=True))
    streamed = collect(records.dataset(cache=False))
    for a, b in zip(cached, streamed, strict=True):
        np.testing.assert_array_equal(sorted_rows(a), sorted_rows(b))
    ordered = [collect(records.dataset(order=InOrder(), cache=cache)) for cache in (True, False)]
    np.testing.assert_array_equal(ordered[0][0], ordered[1][0])


@pytest.mark.training
def test_dataset_default_order_shuffles_only_train(records):
    shuffled, explicit = (collect(records.dataset("train", order=order, seed=3))[0] for order in (None, Shuffled(3)))
    np.testing.assert_array_equal(shuffled, explicit)
    held_out, stored = (collect(records.dataset("val", order=order))[0] for order in (None, InOrder()))
    np.testing.assert_array_equal(held_out, stored)
    np.testing.assert_array_equal(held_out, records.decoded("val").features)


@pytest.mark.training
@pytest.mark.parametrize("cache", [True, False])
def test_dataset_labels_are_numbers_of_the_sorted_labels(records, cache):
    ((_, (_, numbers)),) = records.dataset("train", 45, order=InOrder(), labels=True, cache=cache)
    assert numbers.dtype == tf.int32
    decoded = records.decoded("train")
    np.testing.assert_array_equal(numbers, decoded.label_numbers)
    assert [records.labels[number] for number in decoded.label_numbers] == decoded.labels.tolist()


@pytest.mark.training
def test_dataset_cache_is_chosen_by_its_budget(records, opened_shards):
    cached = records.dataset(cache=45 * PAIR_BYTES)
    n_opened = len(opened_shards)
    assert n_opened > 0
    collect(cached)
    assert len(opened_shards) == n_opened
    streamed = records.dataset(cache=45 * PAIR_BYTES - 1)
    assert len(opened_shards) == n_opened
    collect(streamed)
    assert len(opened_shards) > n_opened


def test_dataset_auto_cache_streams_beyond_the_default_budget(records, opened_shards, monkeypatch):
    monkeypatch.setattr(records_module, "CACHE_BUDGET", 45 * PAIR_BYTES - 1)
    records.dataset(cache="auto")
    assert opened_shards == []
    monkeypatch.setattr(records_module, "CACHE_BUDGET", 45 * PAIR_BYTES)
    records.dataset(cache="auto")
    assert len(opened_shards) == 5


@pytest.mark.parametrize("cache", [True, False])
def test_dataset_is_not_autotuned_so_that_the_next_epoch_begins_at_once(records, cache):
    assert records.dataset("train", 4, cache=cache).options().autotune.enabled is False


@pytest.mark.training
@pytest.mark.parametrize("cache", [True, False])
def test_dataset_repeat_and_drop_remainder(records, cache):
    dataset = records.dataset("train", 8, repeat=True, cache=cache)
    assert [len(x) for x, _ in dataset.take(12)] == [8] * 12
    dataset = records.dataset("train", 8, drop_remainder=True, cache=cache)
    assert [len(x) for x, _ in dataset] == [8] * 5


@pytest.mark.training
@pytest.mark.parametrize("cache", [True, False])
def test_dataset_waveforms_are_the_stored_audio(records, cache):
    x, _ = next(iter(records.dataset(input="waveform", order=InOrder(), cache=cache)))
    assert x.shape == (45, 16_000)
    pitch = 200 + 40 * 2
    expected = 0.5 * np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(x[2], expected, atol=1 / 32768)


@pytest.mark.training
def test_split_is_decoded_once_for_all_consumers(records, opened_shards):
    for _ in range(2):
        collect(records.dataset("train", cache=True))
        records.dataset("train", order=WithinLabel(), labels=True, cache=True)
        records.decoded("train")
        records.feature_statistics()
        records.sample("train", 8)
        assert sum(len(batch) for batch in records.stream("train")) == 45
    assert len(opened_shards) == 5
    assert records.decoded("train").images is records.decoded("train").images


def test_decoded_waveforms_are_added_without_decoding_images_again(records, opened_shards, monkeypatch):
    import keras_a2i.records.split_reader as module

    features = records.decoded("val")
    monkeypatch.setattr(module, "decode_images", None)
    both = records.decoded("val", "waveform")
    assert both.images is features.images and both.features is features.features and features.waveforms is None
    assert both.waveforms.shape == (15, 16_000) and both.waveforms.dtype == np.int16
    np.testing.assert_allclose(both.inputs, both.waveforms / 32_768)
    assert len(opened_shards) == 10


def test_decoded_rows_hold_everything_that_is_stored(records):
    decoded = records.decoded("val", "waveform")
    assert len(decoded) == 15
    assert decoded.ids[0] == "tone0@9" and decoded.sources[0] == "tone0" and decoded.labels[0] == "label0"
    assert decoded.times.tolist() == [9.0, 10.0, 11.0] * 5
    assert decoded.images.dtype == np.uint8 and decoded.images[2, 0, 0, 0] == 110
    assert decoded.factors[1] == {"pitch": 200 + 40 * 10} and decoded.label_numbers.dtype == np.int32
    part = decoded[np.array([14, 1])]
    assert part.ids.tolist() == ["tone4@11", "tone0@10"] and part.factors[0] == {"pitch": 200 + 440 + 1200}
    np.testing.assert_array_equal(part.waveforms, decoded.waveforms[[14, 1]])
    assert decoded[:4].ids.tolist() == decoded.ids[:4].tolist() and len(decoded[decoded.times > 10]) == 5


def test_decoded_split_and_table_in_one_line(records):
    assert repr(records.table("val")) == "PairTable(15 pairs: features (15, 104))"
    assert repr(records.decoded("val")) == "DecodedSplit(15 pairs: features (15, 104), images (15, 16, 16, 3))"
    audio = records.decoded("val", "waveform")[:1]
    expected = "DecodedSplit(1 pair: features (1, 104), waveforms (1, 16000), images (1, 16, 16, 3))"
    assert repr(audio) == expected


def test_shared_arrays_are_read_only_and_rows_of_them_are_not(records):
    table, chosen, decoded = records.table("val"), records.rows("val", [0]), records.decoded("val", "waveform")
    shared = [*vars(table).values(), *vars(decoded).values(), *records.feature_statistics()]
    arrays = [value for value in shared if isinstance(value, np.ndarray)]
    assert len(arrays) == 6 + 8 + 2 and not any(array.flags.writeable for array in arrays)
    assert all(array.flags.writeable for array in (chosen.labels, decoded[np.array([0])].labels, decoded[[0]].images))
    with pytest.raises(ValueError, match="read-only"):
        decoded.labels[0] = "other"


def test_stream_yields_the_decoded_split_in_batches(records, records_folder):
    batches = list(Records(records_folder).stream("train", "waveform", 16))
    assert [len(batch) for batch in batches] == [16, 16, 13]
    decoded = records.decoded("train", "waveform")
    for name in ("ids", "sources", "times", "labels", "label_numbers", "features", "waveforms", "images", "inputs"):
        joined = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(joined, getattr(decoded, name), err_msg=name)
    assert [factors for batch in batches for factors in batch.factors] == decoded.factors
    from_memory = list(records.stream("train", "waveform", 16))
    np.testing.assert_array_equal(from_memory[1].images, batches[1].images)


class LargeSource:
    """Noise images of 128 x 128 pixels, 48 kB each as stored and as decoded."""

    def __init__(self, n_pairs):
        self.n_pairs = n_pairs

    def plan(self):
        keys = [PairKey(f"noise@{k}", "noise", float(k)) for k in range(self.n_pairs)]
        return Plan(tuple(Unit(f"noise{k}", tuple(keys[k : k + 50])) for k in range(0, self.n_pairs, 50)))

    def read(self, unit):
        for key in unit.keys:
            rng = np.random.default_rng(int(key.time))
            image = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
            yield Pair(key=key, image=image, waveform=np.zeros(16_000, np.float32))

    def describe(self):
        return {"kind": "noise"}


@pytest.mark.training
def test_stream_decodes_only_a_few_batches_ahead(tmp_path, monkeypatch):
    import keras_a2i.records.split_reader as module

    build(tmp_path, LargeSource(400), image=ImageConfig(size=128), waveform=False)
    records, read, original = Records(tmp_path), [], module.read_records

    def counted(*args, **kwargs):
        for data in original(*args, **kwargs):
            read.append(1)
            yield data

    monkeypatch.setattr(module, "read_records", counted)
    seen = 0
    for batch in records.stream("train", batch_size=8):
        seen += len(batch)
        assert len(read) - seen <= 150
    assert seen == len(read) == records.counts["train"] == 298


def test_sample_reads_only_its_rows(records_folder, records, monkeypatch):
    import keras_a2i.records.tfrecord as module

    checked, original = [], module._masked_crc
    monkeypatch.setattr(module, "_masked_crc", lambda data: (len(data) > 8 and checked.append(1)) or original(data))
    inputs, images = records.sample("train", 4, "waveform")
    assert len(checked) == 4
    assert inputs.dtype == np.float32 and images.dtype == np.uint8
    decoded = Records(records_folder).decoded("train", "waveform")
    rows = [0, 14, 29, 44]
    np.testing.assert_array_equal(inputs, decoded.inputs[rows])
    np.testing.assert_array_equal(images, decoded.images[rows])
    checked.clear()
    records.decoded("train", "waveform")
    again, _ = records.sample("train", 4, "waveform")
    np.testing.assert_array_equal(again, inputs)


def test_rows_are_read_in_any_order(records, records_folder):
    decoded = Records(records_folder).decoded("train", "waveform")
    numbers = [44, 0, 17, 0]
    for _ in range(2):
        rows = records.rows("train", numbers, "waveform")
        assert rows.ids.tolist() == decoded.ids[numbers].tolist()
        np.testing.assert_array_equal(rows.inputs, decoded.inputs[numbers])
        np.testing.assert_array_equal(rows.images, decoded.images[numbers])
        records.decoded("train", "waveform")


@pytest.mark.parametrize("in_memory", [False, True])
def test_rows_of_a_mask_are_those_where_it_is_true(records, in_memory):
    times = (records.decoded if in_memory else records.table)("train").times
    np.testing.assert_array_equal(records.rows("train", times > 7).times, times[times > 7])
    np.testing.assert_array_equal(records.rows("train", (times > 7).tolist()).times, times[times > 7])


@pytest.mark.parametrize("rows", [[45], [-1], [], [0.5, 1.5], ["0"], [True, False], np.zeros(45, bool), None])
def test_rows_that_do_not_exist_are_an_error(records, rows):
    with pytest.raises(UsageError, match=r"rows must be one or more whole numbers from 0 to 44, or a mask of 45 boole"):
        records.rows("train", rows)


def test_table_holds_everything_but_images_and_is_read_once(records, records_folder, opened_shards):
    table = records.table("train")
    assert records.table("train") is table and len(opened_shards) == 5
    records.feature_statistics()
    assert len(opened_shards) == 5
    decoded = Records(records_folder).decoded("train")
    for name in ("ids", "sources", "times", "labels", "label_numbers", "features"):
        np.testing.assert_array_equal(getattr(table, name), getattr(decoded, name), err_msg=name)
    assert table.factors == decoded.factors and not hasattr(table, "images")
    assert table[3:5].ids.tolist() == decoded.ids[3:5].tolist()
    records.decoded("train")
    assert records.table("train").features is records.decoded("train").features


@pytest.mark.training
def test_sample_of_more_pairs_than_there_are_is_the_whole_split(records):
    inputs, images = records.sample("val", 100)
    np.testing.assert_array_equal(inputs, records.decoded("val").features)
    assert len(images) == 15


def test_feature_statistics_equal_numpy(records, opened_shards):
    mean, std = records.feature_statistics()
    assert records.feature_statistics()[0] is mean and len(opened_shards) == 5
    x, _ = collect(records.dataset())
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std, x.std(axis=0), rtol=1e-4, atol=1e-4)


def test_damage_is_named_when_cached(damaged_folder):
    records = Records(damaged_folder)
    for read in (records.dataset, lambda: records.decoded("train"), lambda: list(records.stream("train"))):
        with pytest.raises(CorruptRecordError, match=r"Received: record 5 of train-00000-of-00002.tfrecord"):
            read()


def test_damage_is_named_when_streamed(damaged_folder):
    with pytest.raises(tf.errors.OpError, match=r"record 5 of train-00000-of-00002.tfrecord"):
        collect(Records(damaged_folder).dataset(cache=False))


@pytest.mark.training
@pytest.mark.parametrize("cache", [True, False])
def test_damage_is_skipped_and_listed_once(damaged_folder, cache):
    records = Records(damaged_folder)
    dataset = records.dataset(cache=cache, ignore_errors=True)
    for _ in range(2):
        assert len(collect(dataset)[0]) == 23
    assert len(records.damaged) == 1 and "train-00000" in records.damaged[0]


@pytest.fixture(scope="module")
def raw_folder(tmp_path_factory):
    """The records of `records_folder` with raw pixels."""
    path = tmp_path_factory.mktemp("raw")
    split = SplitSpec(kind="block", val_fraction=0.25, guard=0)
    build(path, ToneSource(n_sources=5), image=ImageConfig(size=16, raw=True), split=split)
    return path


@pytest.mark.parametrize("cache", [True, False])
def test_raw_pixels_are_read_as_those_of_png(records, raw_folder, cache):
    raw = Records(raw_folder)
    assert raw.image.raw and not records.image.raw and raw.fingerprint != records.fingerprint
    for order in (InOrder(), Shuffled(seed=3)):
        for expected, found in zip(
            *(collect(each.dataset("train", 8, order=order, cache=cache)) for each in (records, raw)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    rows = np.array([3, 0])
    np.testing.assert_array_equal(raw.rows("val", rows).images, records.rows("val", rows).images)


def test_raw_pixels_of_another_size_are_damage(raw_folder, tmp_path):
    shutil.copytree(raw_folder, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / "records.json").read_text())
    manifest["image"]["size"] = 32
    (tmp_path / "records.json").write_text(json.dumps(manifest))
    with pytest.raises(
        CorruptRecordError, match="must hold a pair of the features and images that the manifest states"
    ):
        Records(tmp_path).decoded("train")


def test_damage_skipped_by_one_consumer_is_an_error_for_another(damaged_folder):
    records = Records(damaged_folder)
    assert len(records.decoded("train", ignore_errors=True)) == 23
    with pytest.raises(CorruptRecordError, match="record 5 of train-00000"):
        records.decoded("train")
    with pytest.raises(CorruptRecordError, match="record 5 of train-00000"):
        list(records.stream("train"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size must be 1 or more. Received: 0"),
        ({"batch_size": "8"}, r"batch_size must be 1 or more. Received: '8'"),
        ({"order": "shuffled"}, r"order must be an order of keras_a2i.records.orders, .* Received: 'shuffled'"),
        ({"input": "mfcc"}, r"input must be 'features' or 'waveform'. Received: 'mfcc'"),
        ({"cache": "disk"}, r"cache must be 'auto', True, False or a number of bytes. Received: 'disk'"),
        ({"order": Neighbours(), "batch_size": 7}, r"batch_size must be even with the order Neighbours. Received"),
        (
            {"order": Neighbours(), "cache": False},
            r"The order Neighbours needs the split in memory.*cache=False with 45",
        ),
        ({"order": WithinLabel(), "cache": 10}, r"The order WithinLabel needs the split in memory.*cache=10 with 45"),
    ],
)
def test_dataset_rejects_options(records, options, message):
    with pytest.raises(UsageError, match=message):
        records.dataset("train", **options)


def test_records_errors_say_what_to_do(records, tmp_path):
    with pytest.raises(RecordsError, match=r"split must be one of .'train', 'val'. in these records. Received: 'test'"):
        records.dataset("test")
    with pytest.raises(UsageError, match="batch_size must be 1 or more"):
        records.stream("train", batch_size=0)
    with pytest.raises(RecordsError, match=r"must hold a records.json. Received: .*Build records with build_records"):
        Records(tmp_path)
    build(tmp_path, waveform=False)
    records = Records(tmp_path)
    with pytest.raises(RecordsError, match=r"hold no waveform: .*Build them from audio, with waveform=True"):
        records.dataset(input="waveform")
    (tmp_path / Manifest.read(tmp_path).shards[0].file).unlink()
    with pytest.raises(RecordsError, match="is missing in"):
        records.dataset()


def test_streamed_order_depends_on_the_seed_and_the_epoch_alone(records):
    def read(seed, number):
        epoch = types.SimpleNamespace(value=number)
        return collect(records.dataset(cache=False, order=Shuffled(seed, epoch)))[0]

    epoch = types.SimpleNamespace(value=0)
    dataset = records.dataset(cache=False, order=Shuffled(3, epoch))
    found = []
    for epoch.value in (0, 1, 2):
        found.append(collect(dataset)[0])
    np.testing.assert_array_equal(sorted_rows(found[0]), sorted_rows(found[2]))
    assert (found[0] != found[1]).any() and (found[1] != found[2]).any()
    for number in (2, 1):
        np.testing.assert_array_equal(read(3, number), found[number])
    assert (read(4, 1) != found[1]).any()
