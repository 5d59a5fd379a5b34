"""Records that are built from files in an object store and into one are those of a local build."""

import dataclasses
import pathlib
import unicodedata

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.tone_source import ToneSource, build
from support.video_clips import tone, write_clip

from keras_a2i.cli.build_records import command
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import LockedError, RecordsError, RemoteError, SourceError, UsageError
from keras_a2i.media.sound_file import save_wav
from keras_a2i.records.build import build_records
from keras_a2i.records.inspection import inspect
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.remote import store
from keras_a2i.remote.address import as_location
from keras_a2i.remote.lock import store_lock
from keras_a2i.sources.files import open_table
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.video import VideoSource
from keras_a2i.training.run_folder import RunFolder

IMAGE = ImageConfig(size=16)
SPLIT = SplitSpec(kind="source", val_fraction=0.5)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two clips of four seconds, one of them below, one that is no video, and a hidden one."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "below").mkdir()
    for name in ("a.mp4", "below/b.mkv"):
        write_clip(folder / name, [k / 5 for k in range(21)], tone(4.2))
    (folder / "bad.mp4").write_bytes(b"no video")
    (folder / ".hidden.mp4").write_bytes(b"hidden")
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A pairs.csv with three usable rows and one whose image doesn't exist."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = ["audio,image,label"]
    for number, name in enumerate(("one", "two", "three")):
        save_wav(folder / f"{name}.wav", tone(1.0)[:, 0] * (number + 1), 16_000)
        Image.new("RGB", (20, 16), (40 * number, 0, 0)).save(folder / f"{name}.png")
        rows.append(f"{name}.wav,{name}.png,{name}")
    rows.append("one.wav,nothing.png,one")
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """An archive whose images are files beside it, and a csv of the same vectors."""
    folder = tmp_path_factory.mktemp("embeddings")
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    names = [f"{number}.png" for number in range(3)]
    for number, name in enumerate(names):
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(folder / name)
    np.savez(folder / "vectors.npz", embeddings=vectors, images=np.array(names))
    np.save(folder / "many.npy", vectors)
    rows = [f"many.npy:{number},{name}" for number, name in enumerate(names)]
    (folder / "rows.csv").write_text("\n".join(["embedding,image", *rows]))
    return folder


def put(folder, address):
    for path in folder.rglob("*"):
        if path.is_file():
            store.write_bytes(as_location(address) / path.relative_to(folder).as_posix(), path.read_bytes())


def shards(manifest):
    return [(shard.file, shard.sha256) for shard in manifest.shards]


def is_empty(folder):
    return not any(path.is_file() for path in folder.rglob("*"))


@pytest.mark.training
def test_build_from_and_into_a_server_of_s3_equals_a_local_one(bucket, videos, tmp_path, cache):
    bucket.put(videos, "videos")
    options = {"image": IMAGE, "split": SPLIT}
    local = build_records(videos, tmp_path / "records", workers=1, **options)
    stored = build_records(f"{bucket.address}/videos", f"{bucket.address}/records", workers=2, **options)
    # The videos have other stamps there, and the records another fingerprint.
    assert dataclasses.replace(stored, fingerprint=local.fingerprint) == local
    assert stored.dropped[0][0] == "bad.mp4" and stored.counts == {"train": 4, "val": 4}
    for shard in local.shards:
        assert bucket.read(f"records/{shard.file}") == (tmp_path / "records" / shard.file).read_bytes()
    text = (tmp_path / "records" / "records.json").read_text().replace(local.fingerprint, stored.fingerprint)
    assert bucket.read("records/records.json").decode() == text
    assert bucket.keys("records/") == sorted(f"records/{name}" for name in ("records.json", *dict(shards(local))))
    # Videos are deleted after use.
    assert is_empty(cache / "temporary") and not (cache / "copies").exists()


def test_records_in_a_store_read_as_those_of_the_disk(memory, tmp_path):
    build(tmp_path), build(f"{memory}/records")
    local, stored = Records(tmp_path), Records(f"{memory}/records")
    assert repr(stored).startswith(f"Records('{memory}/records': ") and stored.manifest == local.manifest
    for split in ("train", "val"):
        np.testing.assert_array_equal(stored.decoded(split).images, local.decoded(split).images)
        np.testing.assert_array_equal(stored.decoded(split).features, local.decoded(split).features)
    assert inspect(f"{memory}/records").summary() == inspect(tmp_path).summary()
    # A path that has lost a slash is the same address.
    assert Records(pathlib.Path(f"{memory}/records")).path == stored.path


def test_shards_are_fetched_by_the_split_and_stay(memory, cache):
    build(f"{memory}/records")

    def fetched():
        return {path.name.partition("-")[0] for path in (cache / "copies").rglob("*.tfrecord")}

    Records(f"{memory}/records").decoded("val")
    assert fetched() == {"val"}
    Records(f"{memory}/records").decoded("train")
    assert fetched() == {"train", "val"}


def test_pairs_and_the_files_beside_them(memory, pairs, tmp_path, cache):
    put(pairs, f"{memory}/pairs")
    local = build_records(pairs, tmp_path / "records", image=IMAGE, split=SPLIT, workers=1)
    for spec in (f"{memory}/pairs", f"{memory}/pairs/pairs.csv"):
        stored = build_records(spec, tmp_path / "again", image=IMAGE, split=SPLIT, workers=1, overwrite=True)
        assert shards(stored) == shards(local) and stored.counts == local.counts
        assert stored.dropped == local.dropped == [["one.wav|nothing.png", "nothing.png doesn't exist"]]
        assert stored.sources == local.sources and stored.label_counts == local.label_counts
    assert [path.name for path in cache.rglob("*.csv")] == ["pairs.csv"] and not list(cache.rglob("*.png"))


@pytest.mark.parametrize("name", ["vectors.npz", "rows.csv"])
def test_embeddings_and_the_images_beside_them(memory, embeddings, tmp_path, name):
    put(embeddings, f"{memory}/vectors")
    options = {"image": IMAGE, "split": SPLIT, "workers": 1}
    local = build_records(embeddings / name, tmp_path / "records", **options)
    assert shards(build_records(f"{memory}/vectors/{name}", f"{memory}/records", **options)) == shards(local)
    assert Records(f"{memory}/records").features.embedding == 8


def test_changed_file_of_a_table_is_another_build(memory, pairs):
    put(pairs, f"{memory}/pairs")
    options = {"image": IMAGE, "split": SPLIT, "workers": 1}
    first = build_records(f"{memory}/pairs", f"{memory}/records", **options)
    assert build_records(f"{memory}/pairs", f"{memory}/records", **options) == first
    store.write_bytes(as_location(f"{memory}/pairs/two.png"), (pairs / "three.png").read_bytes())
    with pytest.raises(UsageError, match=rf"out must not hold other records\. Received: {memory}/records, which holds"):
        build_records(f"{memory}/pairs", f"{memory}/records", **options)
    replaced = build_records(f"{memory}/pairs", f"{memory}/records", overwrite=True, **options)
    assert Manifest.read(f"{memory}/records") == replaced != first


def test_changed_video_has_another_stamp(memory, videos):
    address, stamps = as_location(f"{memory}/clips/c.mp4"), []
    source = VideoSource([address], address.parent, features=FeatureConfig(), image=IMAGE)
    for name in ("a.mp4", "below/b.mkv"):
        store.write_bytes(address, (videos / name).read_bytes())
        stamps += [source.plan().units[0].stamp for _ in range(2)]
    assert stamps[0] == stamps[1] != stamps[2] == stamps[3]


def test_stamp_of_a_table_finds_objects_in_the_other_form_of_their_names(memory):
    composed, decomposed = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    table, stamps = as_location(f"{memory}/pairs.csv"), []
    store.write_bytes(table, b"audio,image\n")
    for data in (b"1", b"22"):
        store.write_bytes(table.parent / decomposed, data)
        stamps += [open_table(table).stamp([name]) for name in (composed, decomposed)]
    assert stamps[0] == stamps[1] != stamps[2] == stamps[3]


def test_videos_of_the_disk_and_of_a_store_together(memory, videos, tmp_path):
    store.write_bytes(as_location(f"{memory}/clips/c.mp4"), (videos / "a.mp4").read_bytes())
    manifest = build_records([videos / "a.mp4", f"{memory}/clips"], tmp_path, image=IMAGE, split=SPLIT, workers=1)
    assert set(manifest.source_counts) == {"a.mp4", "c.mp4"} and len(manifest.sources) == 2


def test_store_that_fails_while_a_header_is_read_isn_t_a_bad_video(memory, videos, tmp_path, monkeypatch):
    from fsspec.implementations.memory import MemoryFile

    def fail(*_):
        raise ConnectionResetError("reset by peer")

    store.write_bytes(as_location(f"{memory}/clips/c.mp4"), (videos / "a.mp4").read_bytes())
    monkeypatch.setattr(MemoryFile, "read", fail)
    with pytest.raises(RemoteError, match=rf"an error of {memory}/clips/c\.mp4 \(reset by peer\)"):
        build_records(f"{memory}/clips", tmp_path / "out", image=IMAGE, workers=1)


def test_store_that_fails_while_a_video_is_fetched_stops_the_build(memory, videos, monkeypatch):
    address = as_location(f"{memory}/clips/c.mp4")
    store.write_bytes(address, (videos / "a.mp4").read_bytes())
    source = VideoSource([address], address.parent, features=FeatureConfig(), image=IMAGE)
    unit = source.plan().units[0]
    store.remove([address])
    with pytest.raises(RemoteError, match="where nothing is"):
        next(source.read(unit))


def test_upload_that_fails_leaves_finished_shards_and_the_next_call_resumes(memory, monkeypatch):
    out, uploaded, upload = as_location(memory) / "records", [], store.upload

    def failing(file, address):
        if len(uploaded) == 3:
            raise RemoteError("the network is gone")
        uploaded.append(address.name)
        upload(file, address)

    with monkeypatch.context() as patch, pytest.raises(RemoteError, match="the network is gone"):
        patch.setattr("keras_a2i.records.task.upload", failing)
        build(str(out))
    # The task of the longest source comes first: its two shards, then its result.
    assert uploaded == ["00002-train.tfrecord", "00002-val.tfrecord", "00002.json"]
    assert set(store.list_objects(out)) == {f".build/{name}" for name in (*uploaded, "fingerprint.json")}
    with pytest.raises(RecordsError, match=rf"The build in {out} isn't finished\. Run the same build again to resume"):
        Records(str(out))
    read = []
    monkeypatch.setattr(ToneSource, "read", counting(ToneSource.read, read))
    resumed = build(str(out))
    assert sorted(read) == ["tone0", "tone1"] and not store.list_objects(out / ".build")
    assert shards(resumed) == shards(build(memory + "/whole"))


@pytest.mark.parametrize("data", [None, b"", b"cut off"])
def test_task_whose_stored_shard_was_lost_is_run_again(memory, monkeypatch, data):
    out, upload, lost = as_location(memory) / "records", store.upload, "00002-train.tfrecord"

    def failing(file, address):
        if address.name.startswith("00000"):
            raise RemoteError("the network is gone")
        upload(file, address)

    with monkeypatch.context() as patch, pytest.raises(RemoteError, match="the network is gone"):
        patch.setattr("keras_a2i.records.task.upload", failing)
        build(str(out))
    store.remove([out / ".build" / lost]) if data is None else store.write_bytes(out / ".build" / lost, data)
    read = []
    monkeypatch.setattr(ToneSource, "read", counting(ToneSource.read, read))
    resumed = build(str(out))
    assert sorted(read) == ["tone0", "tone2"] and shards(resumed) == shards(build(memory + "/whole"))
    assert all(store.stat(out / shard.file).size == shard.size for shard in resumed.shards)


def test_stored_shards_that_have_their_names_already_are_taken_over(memory, monkeypatch):
    moved, move = [], store.move

    def failing(source, target):
        if len(moved) == 2:
            raise RemoteError("the network is gone")
        moved.append(target.name)
        move(source, target)

    with monkeypatch.context() as patch, pytest.raises(RemoteError, match="the network is gone"):
        patch.setattr("keras_a2i.records.build_output.move", failing)
        build(memory + "/records")
    read = []
    monkeypatch.setattr(ToneSource, "read", counting(ToneSource.read, read))
    assert shards(build(memory + "/records")) == shards(Manifest.read(memory + "/records"))
    assert len(moved) == 2 and not read


def counting(function, calls):
    def counted(self, unit):
        calls.append(unit.name)
        return function(self, unit)

    return counted


def test_unfinished_build_of_other_input_is_replaced_only_if_asked(memory, monkeypatch):
    def fail(file, address):
        raise RemoteError("the network is gone")

    with monkeypatch.context() as patch, pytest.raises(RemoteError):
        patch.setattr("keras_a2i.records.task.upload", fail)
        build(memory + "/records")
    message = rf"out must not hold another build\. Received: {memory}/records, which holds an unfinished build of other"
    with pytest.raises(UsageError, match=message):
        build(memory + "/records", ToneSource(n_sources=2))
    replaced = build(memory + "/records", ToneSource(n_sources=2), overwrite=True)
    assert Manifest.read(memory + "/records") == replaced
    assert not store.list_objects(as_location(memory) / "records" / ".build")


def test_finished_records_with_a_missing_shard_are_built_again(memory):
    manifest = build(memory)
    name = manifest.shards[0].file
    store.remove([as_location(memory) / name])
    message = rf"shards of finished records must be as they were built\. Received: {memory}, where {name} is missing\."
    with pytest.raises(UsageError, match=message):
        build(memory)
    assert build(memory, overwrite=True) == manifest
    assert name in store.list_names(as_location(memory))


def test_finished_records_with_a_damaged_shard_of_the_same_size_are_built_again(memory):
    manifest = build(memory)
    shard = as_location(memory) / manifest.shards[-1].file
    data = store.read_bytes(shard)
    store.write_bytes(shard, data[:-1] + bytes([data[-1] ^ 1]))
    assert build(memory) == manifest and store.read_bytes(shard) != data
    assert build(memory, overwrite=True) == manifest and store.read_bytes(shard) == data


def test_locked_folder_and_folder_of_other_files_are_left_alone(memory):
    with store_lock(as_location(memory)), pytest.raises(LockedError, match="Only one process at a time may write"):
        build(memory)
    store.write_bytes(as_location(memory) / "notes.txt", b"mine")
    with pytest.raises(UsageError, match=rf"out must be a new or empty folder\. Received: {memory}, which holds other"):
        build(memory)
    with pytest.raises(UsageError, match=rf"out must be a folder\. Received: the file {memory}/notes\.txt"):
        build(memory + "/notes.txt")


def test_damaged_shard_in_a_store_is_reported(memory):
    manifest = build(memory)
    shard = as_location(memory) / manifest.shards[0].file
    data = bytearray(store.read_bytes(shard))
    data[40] ^= 1
    store.write_bytes(shard, bytes(data))
    assert f"{shard.name} has a different sha256 than when it was built" in inspect(memory).damaged


def test_missing_records_and_sources(memory, bucket):
    message = rf"A records folder must hold a records\.json\. Received: {bucket.address}/a, which doesn't exist\. Build"
    with pytest.raises(RecordsError, match=message):
        Records(f"{bucket.address}/a")
    for call in (Records, lambda address: open_sources([address]), lambda address: RunFolder(address).read_config()):
        with pytest.raises(RemoteError, match=r"The bucket of an address must exist .*s3://no-such-bucket can't be"):
            call("s3://no-such-bucket/a")
    with pytest.raises(
        SourceError, match=rf"Nothing is stored at {memory}/nothing\. A source can be a video file or a"
    ):
        open_sources([f"{memory}/nothing"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("records.json", r"These are records already: give the folder to fit or inspect"),
        ("other.csv", r"To use a csv in it, name the file: '{0}/other\.csv'"),
        ("a.wav", r"It holds audio: list the image of each file in a pairs\.csv"),
        ("notes.txt", r"It holds no video, csv, audio or image"),
    ],
)
def test_folder_that_is_no_source_is_told_what_it_lacks(memory, name, message):
    store.write_bytes(as_location(memory) / name, b"1,2")
    with pytest.raises(SourceError, match=rf"The folder '{memory}' isn't a source\. " + message.format(memory)):
        open_sources([memory])


def test_other_sources_must_be_copied_to_the_disk(memory):
    rows = "--0EvQ4B3Tg,10.0,20.0,0.5,0.5\n" * 3
    store.write_bytes(as_location(memory) / "avspeech_train.csv", rows.encode())
    message = (
        rf"AVSpeech's csv \(.*\) must lie on the disk\. Received: {memory}/avspeech_train\.csv\. Copy it to the disk"
    )
    with pytest.raises(SourceError, match=message):
        open_sources([f"{memory}/avspeech_train.csv"])


def test_scheduler_can_t_write_into_a_store(memory):
    message = (
        rf"out must be a folder that the scheduler's workers share\. Received: {memory}, with scheduler='tcp://h:1'"
    )
    with pytest.raises(UsageError, match=message):
        build_records("synthetic:surf:4", memory, scheduler="tcp://h:1")


def test_split_file_in_a_store(memory, tmp_path):
    ids = [f"tone{source}@{second}" for source in range(3) for second in range(12)]
    text = "id,split\n" + "\n".join(f"{id},{'val' if number % 2 else 'train'}" for number, id in enumerate(ids))
    store.write_bytes(as_location(memory) / "splits.csv", text.encode())
    assert build(tmp_path, split=SplitSpec(file=f"{memory}/splits.csv")).counts == {"train": 18, "val": 18}


def test_command_prints_addresses_as_they_were_given(memory, pairs):
    put(pairs, f"{memory}/pairs")
    arguments = [f"{memory}/pairs", "--out", f"{memory}/records", "--image-size", "16", "--workers", "1"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and f"{memory}/records: " in result.output and "skipped: 1" in result.output
    assert "nothing was rebuilt" in CliRunner().invoke(command, arguments).output


def test_address_of_no_known_store_is_no_damaged_manifest(memory):
    with pytest.raises(UsageError, match="An address must") as caught:
        Records("s4://bucket/records")
    assert "manifest" not in str(caught.value)
