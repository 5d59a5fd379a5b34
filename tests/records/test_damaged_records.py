"""Records that lie: short shards, right checksums around wrong content, other numbers of records."""

import json
import re
import shutil

import numpy as np
import pytest

from keras_a2i import Records
from keras_a2i.errors import CorruptRecordError, RecordsError
from keras_a2i.records.tfrecord import RecordWriter, read_records
from keras_a2i.training.fit import fit


def copy_of(folder, out):
    shutil.copytree(folder, out)
    return out, sorted(out.glob("train-*.tfrecord"))


@pytest.mark.parametrize("kept", [0, 0.5])
def test_short_shard_is_refused_before_anything_is_read(records_folder, tmp_path, kept):
    folder, shards = copy_of(records_folder, tmp_path / "copy")
    data = shards[0].read_bytes()
    # Cut between two records: every record that is left matches its checksum.
    ends = np.cumsum([12 + int.from_bytes(data[at : at + 8], "little") + 4 for at in record_starts(data)])
    shards[0].write_bytes(data[: ends[int(kept * len(ends))] if kept else 0])
    message = rf"The shard {shards[0].name} has [\d,]+ bytes, not {len(data):,} as when it was built"
    for read in (lambda r: r.dataset("train"), lambda r: r.table("train"), lambda r: r.decoded("train")):
        with pytest.raises(RecordsError, match=message):
            read(Records(folder))
    records = Records(folder)
    assert len(records.decoded("train", ignore_errors=True).ids) < 45 and re.search(message, records.damaged[0])


def record_starts(data):
    at = 0
    while at < len(data):
        yield at
        at += 16 + int.from_bytes(data[at : at + 8], "little")


def rewrite(folder, change):
    """Replaces the first training shard by one whose checksums and manifest fit, with other content."""
    manifest = json.loads((folder / "records.json").read_text())
    entry = next(shard for shard in manifest["shards"] if shard["split"] == "train")
    records = list(read_records(folder / entry["file"]))
    writer = RecordWriter(folder / entry["file"])
    for number, data in enumerate(records):
        writer.write(change(number, data))
    writer.close()
    entry |= {"size": writer.size, "sha256": writer.sha256}
    (folder / "records.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda number, data: b"no example" if number == 3 else data,
        lambda number, data: data.replace(b"PNG", b"GNP", 1) if number == 3 else data,
        lambda number, data: data.replace(b"label1", b"labelX").replace(b"label0", b"labelY"),
        lambda number, data: data.replace(b"label", b"lab\xff\xfe"),
    ],
    ids=["no example", "no image", "unknown label", "no text"],
)
def test_right_checksum_around_wrong_content_is_one_sentence(records_folder, tmp_path, change):
    folder, _ = copy_of(records_folder, tmp_path / "copy")
    rewrite(folder, change)
    for read in (lambda r: r.decoded("train"), lambda r: list(r.stream("train")), lambda r: r.sample("train", 45)):
        with pytest.raises(CorruptRecordError, match="must hold a pair of the features and images that the manifest"):
            read(Records(folder))


def test_shard_of_another_number_of_records_is_refused(records_folder, tmp_path):
    folder, _ = copy_of(records_folder, tmp_path / "copy")
    manifest = json.loads((folder / "records.json").read_text())
    manifest["shards"][0]["count"] += 1
    (folder / "records.json").write_text(json.dumps(manifest))
    split = manifest["shards"][0]["split"]
    with pytest.raises(CorruptRecordError, match=r"as many records as the manifest states.* with 9, not 10"):
        Records(folder).decoded(split)


@pytest.mark.training
@pytest.mark.parametrize("content", ["no example", "no image"])
def test_fit_that_streams_damaged_records_ends_in_one_sentence(records_folder, tmp_path, content):
    folder, _ = copy_of(records_folder, tmp_path / "copy")
    damaged = {"no example": lambda data: b"none", "no image": lambda data: data.replace(b"PNG", b"GNP", 1)}[content]
    rewrite(folder, lambda number, data: damaged(data) if number == 3 else data)
    settings = {"units": (8, 4), "base_channels": 4, "generator.channels": (4,)}
    records = Records(folder)
    mean = np.zeros(104, np.float32), np.ones(104, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Records, "feature_statistics", lambda self: mean)
        with pytest.raises(CorruptRecordError):
            fit(records, tmp_path / "run", recipe="features", settings=settings, epochs=1, cache=False, verbose=0)
