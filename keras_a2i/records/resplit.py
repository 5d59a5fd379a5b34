"""The same pairs divided in another way, without reading the sources again."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

from keras_a2i.errors import UsageError
from keras_a2i.records.example import parse_examples
from keras_a2i.records.manifest import FILE_NAME, Manifest, PairCounts, Shard, count_pair
from keras_a2i.records.tfrecord import RecordWriter, read_records
from keras_a2i.sources.pair import PairKey


def read_keys(records: str | pathlib.Path) -> Iterator[tuple[PairKey, bytes]]:
    """Yields every pair's key and its serialised form, split by split.

    Raises:
        RecordsError, CorruptRecordError: if the records can't be read.
    """
    manifest = Manifest.read(records)
    for shard in manifest.shards:
        for data in read_records(pathlib.Path(records) / shard.file):
            found = parse_examples([data], 0, None, ("id", "source_id", "time", "label"))
            texts = (found[name][0].numpy().decode() for name in ("id", "source_id"))
            yield PairKey(*texts, float(found["time"][0]), found["label"][0].numpy().decode(), shard.split), data


def resplit(records: str | pathlib.Path, out: str | pathlib.Path, splits: Mapping[str, str], kind: str) -> Manifest:
    """Writes a records folder with the same pairs in other splits, one shard each.

    Args:
        records: a records folder.
        out: the folder to make; it must not hold records.
        splits: id -> split; pairs it doesn't name are left out.
        kind: what the manifest says of the split.

    Returns:
        The manifest of the new folder.

    Raises:
        UsageError: if `out` holds records.
    """
    out = pathlib.Path(out)
    if (out / FILE_NAME).exists():
        raise UsageError(f"{out} holds records. Choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    names = {split: f"{split}-00000-of-00001.tfrecord" for split in sorted(set(splits.values()))}
    writers = {split: RecordWriter(out / f"{name}.tmp") for split, name in names.items()}
    pair_counts: PairCounts = {}
    seen = 0
    for key, data in read_keys(records):
        seen += 1
        if (split := splits.get(key.id)) is not None:
            writers[split].write(data)
            count_pair(pair_counts, key, split)
    shards = []
    for split, writer in writers.items():
        writer.close()
        writer.path.replace(out / names[split])
        shards.append(Shard(file=names[split], split=split, count=writer.count, size=writer.size, sha256=writer.sha256))
    old = Manifest.read(records)
    manifest = dataclasses.replace(
        old,
        shards=shards,
        split={"kind": kind},
        pair_counts=pair_counts,
        left_out=old.left_out + seen - sum(shard.count for shard in shards),
        fingerprint=f"{old.fingerprint}/{kind}",
    )
    manifest.write(out)
    return manifest
