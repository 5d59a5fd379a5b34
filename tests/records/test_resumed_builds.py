"""A resumed build takes over whole shards alone: results whose shards were lost or cut off are written anew."""

import os

import pytest
from support.tone_source import ToneSource, build

from keras_a2i.errors import RecordsError
from keras_a2i.records.build_output import BuildOutput
from keras_a2i.records.manifest import FILE_NAME
from keras_a2i.records.splits import SplitSpec


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The shards of a build that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    build(folder)
    return shard_bytes(folder)


@pytest.fixture
def read_units(monkeypatch):
    """The names of the units that are read."""
    names, read = [], ToneSource.read

    def noted(self, unit):
        names.append(unit.name)
        return read(self, unit)

    monkeypatch.setattr(ToneSource, "read", noted)
    return names


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tfrecord"))}


def interrupt_after_two_tasks(out, **options):
    """Leaves the results of the tasks 1 and 2: the longest comes first."""

    def progress(done, dropped, total):
        if done > 2 * 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(out, progress=progress, **options)
    assert sorted(path.name for path in (out / ".build").glob("0*.json")) == ["00001.json", "00002.json"]


def interrupt_naming(out, monkeypatch, after):
    """Interrupts a build when that many of its shards have their names."""
    name, calls = BuildOutput._name, []

    def failing(self, shard, new):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(new)
        name(self, shard, new)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(BuildOutput, "_name", failing)
        build(out)
    return calls


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [os.unlink, empty, cut])
def test_task_whose_shard_was_lost_is_run_again(tmp_path, whole, read_units, damage):
    interrupt_after_two_tasks(tmp_path)
    damage(tmp_path / ".build" / "00001-train.tfrecord")
    read_units.clear()
    assert build(tmp_path).verify(tmp_path) == []
    assert sorted(read_units) == ["tone0", "tone1"] and shard_bytes(tmp_path) == whole


def test_shards_that_have_their_names_already_are_taken_over(tmp_path, whole, read_units, monkeypatch):
    interrupt_naming(tmp_path, monkeypatch, after=2)
    read_units.clear()
    assert build(tmp_path).verify(tmp_path) == []
    assert read_units == [] and shard_bytes(tmp_path) == whole


@pytest.mark.parametrize("damage", [os.unlink, cut])
def test_task_whose_named_shard_was_lost_is_run_again(tmp_path, whole, read_units, monkeypatch, damage):
    named = interrupt_naming(tmp_path, monkeypatch, after=2)
    assert named == ["train-00000-of-00003.tfrecord", "train-00001-of-00003.tfrecord"]
    damage(tmp_path / named[1])
    read_units.clear()
    assert build(tmp_path).verify(tmp_path) == []
    assert read_units == ["tone1"] and shard_bytes(tmp_path) == whole


def test_shards_of_the_records_that_are_replaced_are_not_taken_for_lost_ones(tmp_path, whole):
    other = build(tmp_path, split=SplitSpec(kind="random"))
    interrupt_after_two_tasks(tmp_path, overwrite=True)
    lost = tmp_path / ".build" / "00002-train.tfrecord"
    (tmp_path / other.shards[2].file).write_bytes(bytes(lost.stat().st_size))
    assert other.shards[2].file == "train-00002-of-00003.tfrecord"
    lost.unlink()
    assert build(tmp_path, overwrite=True).verify(tmp_path) == []
    assert shard_bytes(tmp_path) == whole


@pytest.mark.parametrize(("damage", "problem"), [(os.unlink, "is missing"), (empty, r"has 0 bytes, not [\d,]+")])
def test_no_manifest_is_written_for_shards_that_are_not_there(tmp_path, whole, monkeypatch, damage, problem):
    name = BuildOutput._name

    def losing(self, shard, new):
        name(self, shard, new)
        if new == "val-00001-of-00003.tfrecord":
            damage(tmp_path / new)

    message = rf"Every shard must be whole when a build ends\. Received: val-00001-of-00003\.tfrecord {problem}, in .*"
    with monkeypatch.context() as patch, pytest.raises(RecordsError, match=message + r"\. Run the same build again"):
        patch.setattr(BuildOutput, "_name", losing)
        build(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    assert build(tmp_path).verify(tmp_path) == [] and shard_bytes(tmp_path) == whole


def test_shards_reach_the_disk_before_their_result(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def noted(number):
        flushed.append(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    manifest = build(tmp_path, ToneSource(n_sources=1))
    # The first two are the fingerprint and its folder; the result of the task comes after its two shards.
    assert set(flushed[2:4]) == {(tmp_path / shard.file).stat().st_ino for shard in manifest.shards}
