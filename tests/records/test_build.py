"""Building records: shards, resuming, one writer at a time, options and errors."""

import dataclasses
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
import soundfile
import tensorflow as tf
from PIL import Image
from support.tone_source import IMAGE, ToneSource, build

from keras_a2i import Records
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import LockedError, RecordsError, UsageError
from keras_a2i.records.build import build_records
from keras_a2i.records.example import decode_images, parse_examples
from keras_a2i.records.inspection import inspect
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec
from keras_a2i.records.tfrecord import read_records
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Dropped


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tfrecord"))}


def test_build_stores_every_pair_with_features_of_the_stored_audio(tmp_path):
    manifest = build(tmp_path)
    assert manifest.counts == {"train": 3 * 7, "val": 3 * 3}
    assert manifest.left_out == 6
    assert manifest == Manifest.read(tmp_path)
    assert manifest.verify(tmp_path) == []
    for shard in manifest.shards:
        for data in read_records(tmp_path / shard.file):
            batch = parse_examples(tf.constant([data]), 104, 16_000)
            example = {name: value[0] for name, value in batch.items()}
            k = float(example["time"])
            assert (k >= 9) == (shard.split == "val") and k not in (7.0, 8.0)
            assert int(decode_images(batch["image"], IMAGE)[0, 0, 0, 0]) == int(10 * k)
            padded = np.pad(example["waveform"].numpy(), (0, 2000))
            expected = python_speech_features.mfcc(padded, 16_000, 0.25, 0.125, nfft=4096).ravel()
            np.testing.assert_allclose(example["features"], expected, atol=1e-3)


@pytest.mark.training
def test_build_is_the_same_for_any_number_of_workers(tmp_path):
    source = ToneSource(n_sources=5)
    one = build(tmp_path / "one", source, workers=1)
    two = build(tmp_path / "two", source, workers=2)
    assert shard_bytes(tmp_path / "one") == shard_bytes(tmp_path / "two")
    assert one == two


def test_build_spreads_shards_and_names_them_in_order(tmp_path):
    manifest = build(tmp_path, ToneSource(n_sources=5))
    assert [s.file for s in manifest.shards if s.split == "val"] == [f"val-{i:05d}-of-00005.tfrecord" for i in range(5)]
    assert not list(tmp_path.glob("**/*.tmp")) and not (tmp_path / ".build").exists()


def test_build_again_changes_nothing_and_another_build_needs_overwrite(tmp_path):
    build(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    build(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    other = SplitSpec(kind="random")
    with pytest.raises(UsageError, match="holds records of other input or options"):
        build(tmp_path, split=other)
    assert build(tmp_path, split=other, overwrite=True).counts == {"train": 27, "val": 9}
    assert sorted(p.name for p in tmp_path.glob("*.tfrecord")) == sorted(s.file for s in Manifest.read(tmp_path).shards)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_damaged_shards_are_named_and_built_again_with_overwrite(tmp_path, damage):
    manifest = build(tmp_path)
    before, path = shard_bytes(tmp_path), tmp_path / manifest.shards[0].file
    if damage == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    reason = {
        "missing": "is missing",
        "cut": r"has [\d,]+ bytes, not [\d,]+",
        "changed": "has a different sha256 than .*",
    }
    message = (
        rf"must be as they were built\. Received: {tmp_path}, where {path.name} {reason[damage]}\. Build them again "
    )
    with pytest.raises(UsageError, match=message + "with overwrite=True"):
        build(tmp_path)
    assert build(tmp_path, overwrite=True) == manifest and shard_bytes(tmp_path) == before


def test_shards_of_a_build_folder_without_its_mark_are_not_taken_over(tmp_path):
    """A command that is killed while it removes the folder of another build leaves such a one."""
    (tmp_path / "records" / ".build").mkdir(parents=True)
    other = build(tmp_path / "other", ToneSource(n_sources=2), split=SplitSpec(kind="random"))
    for number, shard in enumerate(other.shards):
        (tmp_path / "other" / shard.file).rename(tmp_path / "records" / ".build" / f"{number:05d}-train.tfrecord")
    build(tmp_path / "records", ToneSource(n_sources=2))
    build(tmp_path / "whole", ToneSource(n_sources=2))
    assert shard_bytes(tmp_path / "records") == shard_bytes(tmp_path / "whole")


SCRIPT = """
import sys
sys.path[:0] = [{tests!r}]
from support.tone_source import ToneSource, build
import pathlib
if __name__ == "__main__":
    build(pathlib.Path({out!r}), ToneSource(n_sources=10, pause=0.02), workers={workers})
"""


@pytest.mark.training
@pytest.mark.parametrize("workers", [1, 2])
def test_resume_after_sigkill_gives_the_same_bytes(tmp_path, workers):
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
    with pytest.raises(RecordsError, match=r"isn't finished. Run the same build again to resume it"):
        Manifest.read(out)
    reports = []
    manifest = build(out, ToneSource(n_sources=10), progress=lambda *state: reports.append(state))
    assert reports[0][0] > 0 and reports[-1] == (sum(manifest.counts.values()), 0, sum(manifest.counts.values()))
    moved = {path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    assert set(finished.values()) <= moved
    build(tmp_path / "whole", ToneSource(n_sources=10))
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")


def test_build_rejects_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="out must be a new or empty folder"):
            build(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_build_replaces_a_damaged_manifest_with_overwrite(tmp_path):
    build(tmp_path)
    (tmp_path / "records.json").write_text("{")
    with pytest.raises(UsageError, match=r"Build the records again, with overwrite=True"):
        build(tmp_path)
    assert build(tmp_path, overwrite=True).verify(tmp_path) == []


def test_build_rejects_an_unfinished_build_of_other_options(tmp_path):
    (tmp_path / ".build").mkdir()
    (tmp_path / ".build" / "fingerprint.json").write_text(json.dumps("other"))
    with pytest.raises(UsageError, match="unfinished build of other input or options"):
        build(tmp_path)
    assert build(tmp_path, overwrite=True).counts["train"] == 21


def test_build_names_broken_inputs_and_strict_stops(tmp_path):
    source = ToneSource(broken=("tone1@2", "tone2@0"))
    manifest = build(tmp_path / "records", source)
    assert sorted(manifest.dropped) == [["tone1@2", "broken on purpose"], ["tone2@0", "broken on purpose"]]
    assert sum(manifest.counts.values()) == 28
    with pytest.raises(
        RecordsError, match=r"tone2@0: broken on purpose. The build stops at it \(strict=True, --strict\)"
    ):
        build(tmp_path / "strict", source, strict=True)
    assert not list((tmp_path / "strict").glob("**/*.tmp"))
    message = r": broken on purpose\. The records in .*records were finished in spite of it\. The build stops at it"
    with pytest.raises(RecordsError, match=message):
        build(tmp_path / "records", source, strict=True)
    assert build(tmp_path / "records", source).fingerprint == manifest.fingerprint


def test_build_without_readable_training_pair_states_the_first_reason_and_keeps_earlier_records(tmp_path):
    before = build(tmp_path, ToneSource(n_sources=1), split=SplitSpec(kind="block", guard=0))
    source = ToneSource(n_sources=1, broken=tuple(f"tone0@{k}" for k in range(10)))
    message = "^At least one training pair is needed. All 10 pairs of train were skipped, the first: tone0@0: broken"
    with pytest.raises(RecordsError, match=message):
        build(tmp_path, source, split=SplitSpec(kind="block", guard=0, val_fraction=0.2), overwrite=True)
    assert Manifest.read(tmp_path) == before and before.verify(tmp_path) == []
    assert not (tmp_path / ".build").exists()


def test_split_without_training_pairs_states_which_inputs_could_not_be_used(tmp_path, monkeypatch):
    plan = dataclasses.replace(ToneSource(n_sources=1).plan(), dropped=(Dropped("b.csv line 2", "no file"),))
    monkeypatch.setattr(ToneSource, "plan", lambda self: plan)
    with pytest.raises(RecordsError, match=r"holdout.*\. Before that, 1 input could not be used, the first: b.csv"):
        build(tmp_path, split=SplitSpec(holdout=("tone0",)))


@pytest.mark.parametrize(("seconds", "skipped"), [(4, "The only pair of val was"), (8, "All 2 pairs of val were")])
def test_build_without_readable_held_out_pair_states_the_first_reason(tmp_path, seconds, skipped):
    held_out = tuple(f"tone0@{k}" for k in range(seconds - seconds // 4, seconds))
    source = ToneSource(n_sources=1, seconds=seconds, broken=held_out)
    manifest = build(tmp_path, source, split=SplitSpec(kind="block", guard=0))
    assert manifest.counts == {"train": seconds - seconds // 4}
    sentence = f"{skipped} skipped, the first: {held_out[0]}: broken on purpose"
    assert manifest.lost_splits == [["val", sentence]] and Manifest.read(tmp_path) == manifest
    assert f"Warning: {sentence}" in inspect(tmp_path).summary()
    with pytest.raises(RecordsError, match=f"^It compares. Received: .*, which has no split val. {sentence}. Build "):
        Records(tmp_path).require_split("val", "It compares")


def test_build_without_pairs_is_an_error(tmp_path):
    source = ToneSource(n_sources=1, seconds=2, broken=("tone0@0", "tone0@1"))
    with pytest.raises(RecordsError, match=r"At least one pair is needed.*tone0@0: broken on purpose"):
        build(tmp_path, source, split=SplitSpec(kind="block", val_fraction=0))
    with pytest.raises(UsageError, match=r"an id of its own. Received: 36 repeated ids, such as 'tone0@0'"):
        build_records([ToneSource(), ToneSource()], tmp_path, image=IMAGE)
    (tmp_path / "pairs.csv").write_text("audio,image\nwav/a.wav,png/a.png\n")
    sources = open_sources([tmp_path / "pairs.csv"], image=IMAGE)
    message = r"none: wav/a\.wav doesn't exist\. The paths in a csv are relative to its own folder$"
    with pytest.raises(RecordsError, match=message):
        build_records(sources, tmp_path / "out", image=IMAGE, split=SplitSpec(kind="block", val_fraction=0), workers=1)


def test_build_without_waveform_stores_features_only(tmp_path):
    manifest = build(tmp_path, waveform=False)
    assert not manifest.waveform
    example = tf.train.Example.FromString(next(read_records(tmp_path / manifest.shards[0].file)))
    assert "waveform" not in example.features.feature and "features" in example.features.feature


def test_build_accepts_an_executor(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as executor:
        build(tmp_path / "threads", executor=executor, workers=None)
    build(tmp_path / "plain")
    assert shard_bytes(tmp_path / "threads") == shard_bytes(tmp_path / "plain")


@pytest.mark.training
def test_build_accepts_sources_and_specs_alike(tmp_path):
    image = ImageConfig(size=16)
    by_name = build_records("synthetic:surf:12", tmp_path / "name", image=image, workers=1)
    by_list = build_records(["synthetic:surf:12"], tmp_path / "list", image=image, workers=1)
    opened = open_sources(["synthetic:surf:12"], features=FeatureConfig(), image=image)
    by_object = build_records(opened[0], tmp_path / "object", workers=1)
    assert by_name == by_list == by_object and by_object.image == image
    assert shard_bytes(tmp_path / "name") == shard_bytes(tmp_path / "list") == shard_bytes(tmp_path / "object")
    both = build_records([ToneSource(), "synthetic:surf:12"], tmp_path / "both", image=image, workers=1)
    assert sorted(both.source_counts)[-1] == "tone2" and both.sources[0]["kind"] == "tone"


def test_build_rejects_a_source_made_with_another_configuration(tmp_path):
    opened = open_sources(["synthetic:surf:12"], features=FeatureConfig(n_mfcc=12), image=ImageConfig(size=16))
    with pytest.raises(
        UsageError, match=r"image must be the configuration that every source was opened with. Received: .*size=32"
    ):
        build_records(opened, tmp_path, image=ImageConfig(size=32))
    with pytest.raises(
        UsageError, match=r"features must be the configuration that every source was opened with. Received: "
    ):
        build_records(opened, tmp_path, features=FeatureConfig())
    assert build_records(opened, tmp_path, workers=1).features.n_mfcc == 12


class BuildingSource(ToneSource):
    """Starts another build into the same folder while it is read."""

    def read(self, unit):
        with pytest.raises(LockedError, match=f"Only one process at a time.*which process {os.getpid()} is writing"):
            build(self.folder, ToneSource(n_sources=2))
        yield from super().read(unit)


def test_two_builds_at_once_into_one_folder_are_rejected(tmp_path):
    source = BuildingSource(n_sources=1)
    object.__setattr__(source, "folder", tmp_path)
    manifest = build(tmp_path, source)
    assert manifest.counts == {"train": 7, "val": 3} and manifest.verify(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["records.json", *(s.file for s in manifest.shards)]
    )


def test_lock_of_a_killed_build_is_released(tmp_path):
    (tmp_path / ".lock").write_text("12345")
    assert build(tmp_path).counts["train"] == 21
    assert not (tmp_path / ".lock").exists()


def test_damaged_files_that_were_used_are_noted_and_strict_stops_at_them(tmp_path):
    soundfile.write(tmp_path / "whole.wav", np.full(8000, 0.1), 16_000)
    data = (tmp_path / "whole.wav").read_bytes()
    rows = ["audio,image,split"]
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(data[:6000] if number == 1 else data)
        Image.new("RGB", (16, 16)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.wav,{number}.png,{'val' if number == 3 else 'train'}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    options = {"image": ImageConfig(size=16), "workers": 1}
    manifest = build_records(str(tmp_path), tmp_path / "records", **options)
    expected = ["1.wav", "1.wav breaks off at 0.2 s; its header states 0.5 s"]
    assert manifest.counts == {"train": 3, "val": 1} and manifest.notes == [expected]
    assert Manifest.read(tmp_path / "records").notes == [expected]
    with pytest.raises(RecordsError, match=r"1\.wav breaks off at 0\.2 s.*stops at it \(strict=True, --strict\)"):
        build_records(str(tmp_path), tmp_path / "strict", strict=True, **options)
    with pytest.raises(RecordsError, match=r"1\.wav breaks off at 0\.2 s.*were finished in spite of it"):
        build_records(str(tmp_path), tmp_path / "records", strict=True, **options)


class SelectingSource(ToneSource):
    """A source that records which units each of its parts was selected for."""

    def select(self, units):
        self.selected.append([unit.name for unit in units])
        return ToneSource(self.n_sources)


def test_tasks_hold_sources_reduced_to_their_units(tmp_path):
    source = SelectingSource(n_sources=10)
    object.__setattr__(source, "selected", [])
    manifest = build(tmp_path / "selected", source)
    assert len(source.selected) == 8
    assert sorted(name for names in source.selected for name in names) == [f"tone{i}" for i in range(10)]
    assert manifest == build(tmp_path / "whole", ToneSource(n_sources=10))
