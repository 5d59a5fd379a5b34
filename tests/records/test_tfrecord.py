"""The TFRecord container and the examples in it, compared with TensorFlow's own."""

import hashlib
import os

import numpy as np
import pytest
import tensorflow as tf
from support.tone_source import IMAGE

from keras_a2i.errors import CorruptRecordError
from keras_a2i.media.image import encode_image
from keras_a2i.records.example import decode_factors, decode_images, encode_example, parse_examples
from keras_a2i.records.tfrecord import RecordWriter, read_records
from keras_a2i.sources.pair import PairKey


def test_container_round_trips_with_tensorflow(tmp_path):
    data = [b"", b"a", os.urandom(70_000), "é".encode()]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    writer = RecordWriter(ours)
    for item in data:
        writer.write(item)
    writer.close()
    with tf.io.TFRecordWriter(str(theirs)) as reference:
        for item in data:
            reference.write(item)
    assert ours.read_bytes() == theirs.read_bytes()
    assert [item.numpy() for item in tf.data.TFRecordDataset(str(ours))] == data
    assert list(read_records(theirs)) == data
    assert writer.sha256 == hashlib.sha256(ours.read_bytes()).hexdigest()
    assert (writer.count, writer.size) == (4, ours.stat().st_size)


def write_three(path):
    writer = RecordWriter(path)
    for letter in (b"a", b"b", b"c"):
        writer.write(letter * 100)
    writer.close()
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(
    ("damage", "kept", "message"),
    [
        (lambda data: data.__setitem__(116 + 50, 0), [b"a" * 100, b"c" * 100], "checksum of its data"),
        (lambda data: data.__setitem__(116 + 1, 7), [b"a" * 100], "checksum of its length"),
        (lambda data: data.__delitem__(slice(300, None)), [b"a" * 100, b"b" * 100], "ends inside the record"),
        (lambda data: data.__delitem__(slice(116 + 5, None)), [b"a" * 100], "ends inside the record's header"),
    ],
)
def test_damage_names_file_and_record_and_can_be_skipped(tmp_path, damage, kept, message):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    data = write_three(path)
    damage(data)
    path.write_bytes(data)
    index = 2 if len(kept) == 2 and kept[1] == b"b" * 100 else 1
    with pytest.raises(CorruptRecordError, match=rf"record {index} of train-00000-of-00001.tfrecord.*{message}"):
        list(read_records(path))
    met = []
    assert list(read_records(path, met.append)) == kept
    assert len(met) == 1


def test_rows_are_read_without_the_data_of_the_others(tmp_path):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    data = write_three(path)
    data[50] = 0
    path.write_bytes(data)
    assert list(read_records(path, rows={1})) == [b"b" * 100]
    assert list(read_records(path, rows={1, 2})) == [b"b" * 100, b"c" * 100]
    assert list(read_records(path, rows=())) == []
    with pytest.raises(CorruptRecordError, match="record 0 of train-00000"):
        list(read_records(path, rows={0, 2}))


def test_example_equals_tensorflow_s_own():
    key = PairKey("clip é.mp4@3", "clip é.mp4", 3.0, "dog")
    image = encode_image(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3), IMAGE)
    features = np.linspace(-5, 5, 104, dtype=np.float32)
    waveform = np.arange(16_000, dtype=np.int16)
    data = encode_example(key, image, features, waveform, {"swell": 0.5})
    example = tf.train.Example.FromString(data)
    feature = example.features.feature
    assert feature["id"].bytes_list.value[0].decode() == key.id
    assert feature["time"].float_list.value[0] == 3.0
    np.testing.assert_array_equal(feature["features"].float_list.value, features)
    assert example.SerializeToString(deterministic=True) == data
    batch = parse_examples(tf.constant([data, data]), 104, 16_000)
    np.testing.assert_array_equal(
        decode_images(batch["image"], IMAGE)[1], np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    )
    np.testing.assert_array_equal(batch["waveform"][0], waveform)
    assert batch["label"][0].numpy() == b"dog"
    assert decode_factors(batch["factors"][0].numpy()) == {"swell": 0.5}
    assert decode_factors(b"") == {}
