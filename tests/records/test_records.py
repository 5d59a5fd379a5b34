"""Records: container, examples, manifest, building, resuming."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import python_speech_features
import tensorflow as tf
from support.tone_source import IMAGE, ToneSource, build

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ConfigError, CorruptRecordError, RecordsError, UsageError
from keras_a2i.media.image import encode_image
from keras_a2i.records.build import build_records
from keras_a2i.records.example import decode_factors, decode_image, encode_example, parse_examples
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec
from keras_a2i.records.tfrecord import RecordWriter, read_records
from keras_a2i.sources.pair import PairKey


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tfrecord"))}


def test_container_is_read_by_tensorflow_and_reads_what_tensorflow_wrote(tmp_path):
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
def test_damage_names_file_and_record_and_can_be_passed_over(tmp_path, damage, kept, message):
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


def test_example_equals_what_tensorflow_serialises_and_parses():
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
        decode_image(batch["image"][1], IMAGE.shape), np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    )
    np.testing.assert_array_equal(batch["waveform"][0], waveform)
    assert batch["label"][0].numpy() == b"dog"
    assert decode_factors(batch["factors"][0].numpy()) == {"swell": 0.5}
    assert decode_factors(b"") == {}


def test_build_stores_every_pair_with_features_of_the_stored_sound(tmp_path):
    manifest = build(tmp_path)
    assert manifest.counts == {"train": 3 * 7, "val": 3 * 3}
    assert manifest.left_out == 6
    assert manifest == Manifest.read(tmp_path)
    assert manifest.verify(tmp_path) == []
    assert manifest.source_counts["tone1"] == {"train": 7, "val": 3}
    assert manifest.label_counts["label0"] == {"train": 14, "val": 6}
    for shard in manifest.shards:
        for data in read_records(tmp_path / shard.file):
            batch = parse_examples(tf.constant([data]), 104, 16_000)
            example = {name: value[0] for name, value in batch.items()}
            k = float(example["time"])
            assert (k >= 9) == (shard.split == "val") and k not in (7.0, 8.0)
            assert int(decode_image(example["image"], IMAGE.shape)[0, 0, 0]) == int(10 * k)
            padded = np.pad(example["waveform"].numpy(), (0, 2000))
            expected = python_speech_features.mfcc(padded, 16_000, 0.25, 0.125, nfft=4096).ravel()
            np.testing.assert_allclose(example["features"], expected, atol=1e-3)


def test_workers_don_t_change_a_byte(tmp_path):
    source = ToneSource(n_sources=5)
    one = build(tmp_path / "one", source, workers=1)
    two = build(tmp_path / "two", source, workers=2)
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "two")
    assert one == two


def test_shards_are_spread_and_named_in_order(tmp_path):
    manifest = build(tmp_path, ToneSource(n_sources=5))
    assert [s.file for s in manifest.shards if s.split == "val"] == [f"val-{i:05d}-of-00005.tfrecord" for i in range(5)]
    assert not list(tmp_path.glob("**/*.tmp")) and not (tmp_path / ".build").exists()


def test_the_same_build_again_changes_nothing_and_another_needs_overwrite(tmp_path):
    build(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    build(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    other = SplitSpec(kind="random")
    with pytest.raises(UsageError, match="holds records of other input or options"):
        build(tmp_path, split=other)
    assert build(tmp_path, split=other, overwrite=True).counts == {"train": 27, "val": 9}
    assert sorted(p.name for p in tmp_path.glob("*.tfrecord")) == sorted(s.file for s in Manifest.read(tmp_path).shards)


SCRIPT = """
import sys
sys.path[:0] = [{tests!r}]
from support.tone_source import ToneSource, build
import pathlib
if __name__ == "__main__":
    build(pathlib.Path({out!r}), ToneSource(n_sources=10, pause=0.02), workers={workers})
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_with_the_same_bytes(tmp_path, workers):
    out = tmp_path / "records"
    script = tmp_path / "script.py"
    tests = str(pathlib.Path(__file__).parents[1])
    script.write_text(textwrap.dedent(SCRIPT).format(tests=tests, out=str(out), workers=workers))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob(".build/0*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in out.glob(".build/0*.tfrecord")}
    assert finished and not (out / "records.json").exists()
    with pytest.raises(RecordsError, match="isn't finished: give the same build-records command again"):
        Manifest.read(out)
    reports = []
    manifest = build(out, ToneSource(n_sources=10), progress=lambda *state: reports.append(state))
    assert reports[0][0] > 0 and reports[-1] == (sum(manifest.counts.values()), 0, sum(manifest.counts.values()))
    moved = {path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    assert set(finished.values()) <= moved
    build(tmp_path / "whole", ToneSource(n_sources=10))
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")


def test_records_don_t_go_among_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="must go into a new or empty folder"):
            build(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_manifest_is_replaced_when_asked(tmp_path):
    build(tmp_path)
    (tmp_path / "records.json").write_text("{")
    with pytest.raises(UsageError, match=r"Build the records again, with --overwrite"):
        build(tmp_path)
    assert build(tmp_path, overwrite=True).verify(tmp_path) == []


def test_an_unfinished_build_of_other_options_isn_t_mixed_in(tmp_path):
    (tmp_path / ".build").mkdir()
    (tmp_path / ".build" / "fingerprint.json").write_text(json.dumps("other"))
    with pytest.raises(UsageError, match="unfinished build of other input"):
        build(tmp_path)
    assert build(tmp_path, overwrite=True).counts["train"] == 21


def test_broken_inputs_are_named_and_strict_stops(tmp_path):
    source = ToneSource(broken=("tone1@2", "tone2@0"))
    manifest = build(tmp_path / "records", source)
    assert sorted(manifest.dropped) == [["tone1@2", "broken on purpose"], ["tone2@0", "broken on purpose"]]
    assert sum(manifest.counts.values()) == 28
    with pytest.raises(RecordsError, match=r"tone2@0: broken on purpose. The build stops here because it is strict"):
        build(tmp_path / "strict", source, strict=True)
    assert not list((tmp_path / "strict").glob("**/*.tmp"))


def test_nothing_to_build(tmp_path):
    source = ToneSource(n_sources=1, seconds=2, broken=("tone0@0", "tone0@1"))
    with pytest.raises(RecordsError, match=r"At least one pair is needed.*tone0@0: broken on purpose"):
        build(tmp_path, source, split=SplitSpec(kind="block", val_fraction=0))
    with pytest.raises(UsageError, match=r"own id. Received: 36 ids twice, such as 'tone0@0'"):
        build_records([ToneSource(), ToneSource()], tmp_path, image=IMAGE)


def test_without_waveform(tmp_path):
    manifest = build(tmp_path, waveform=False)
    assert not manifest.waveform
    example = tf.train.Example.FromString(next(read_records(tmp_path / manifest.shards[0].file)))
    assert "waveform" not in example.features.feature and "features" in example.features.feature


def test_an_executor_of_the_caller_s(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as executor:
        build(tmp_path / "threads", executor=executor)
    build(tmp_path / "plain")
    assert shard_bytes(tmp_path / "threads") == shard_bytes(tmp_path / "plain")


def test_a_manifest_that_isn_t_one(tmp_path):
    with pytest.raises(RecordsError, match=r"A records folder holds a records.json"):
        Manifest.read(tmp_path)
    (tmp_path / "records.json").write_text("{}")
    with pytest.raises(RecordsError, match="isn't a manifest of this version"):
        Manifest.read(tmp_path)
    (tmp_path / "records.json").write_text('{"schema_version": 99}')
    with pytest.raises(RecordsError, match=r"schema version 1. Received: 99"):
        Manifest.read(tmp_path)


def test_verify_names_what_differs(tmp_path):
    manifest = build(tmp_path)
    first, second, third = (tmp_path / shard.file for shard in manifest.shards[:3])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    third.write_bytes(b"x" + third.read_bytes()[1:])
    problems = manifest.verify(tmp_path)
    assert [p.split(" ", 1)[1].split(" ")[0] for p in problems] == ["is", "has", "has"]
    assert "sha256" in problems[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureConfig(hop=0.5), "hop must be positive, at most window"),
        (lambda: FeatureConfig(n_mfcc=40), "n_mfcc must lie between 1 and n_mels"),
        (lambda: FeatureConfig(sample_rate=10), "sample_rate must be a whole number of Hz"),
        (lambda: FeatureConfig(duration=100.0), "duration must lie between"),
        (lambda: ImageConfig(size=100), "power of two from 16 to 512. Received: size=100"),
        (lambda: ImageConfig(channels=4), "channels must be 1"),
        (lambda: ImageConfig(jpeg_quality=0), "jpeg_quality must be None"),
        (lambda: ImageConfig.from_dict({"size": 64, "colour": 3}), "unknown fields: .'colour'."),
    ],
)
def test_configs_check_themselves(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_configs_round_trip_and_derive_the_paper_s_layout():
    config = FeatureConfig()
    assert (config.n_samples, config.n_frames, config.n_features, config.n_fft) == (16_000, 8, 104, 4096)
    assert FeatureConfig.from_dict(config.to_dict()) == config
