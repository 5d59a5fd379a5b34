"""The same pairs divided into other splits, without reading the sources again."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping

from keras_a2i.errors import UsageError
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.records.example import parse_examples
from keras_a2i.records.manifest import FILE_NAME, Manifest, PairCounts, Shard, count_pair
from keras_a2i.records.records import Records, as_records
from keras_a2i.records.tfrecord import RecordWriter, read_records
from keras_a2i.remote.address import Address, local_path
from keras_a2i.sources.pair import PairKey


def read_keys(records: Records | str | os.PathLike[str] | Address) -> Iterator[tuple[PairKey, bytes]]:
    """Yields the key of every pair and its serialised form, split by split.

    Args:
        records: a records folder, or a `Records` object.

    Raises:
        RecordsError, CorruptRecordError: if the records can't be read.
    """
    records = as_records(records)
    for shard in records.manifest.shards:
        for data in read_records(records.local_folder(shard.split) / shard.file):
            found = parse_examples([data], 0, None, ("id", "source_id", "time", "label"))
            id, source_id, label = (found[name][0].numpy().decode() for name in ("id", "source_id", "label"))
            yield PairKey(id, source_id, float(found["time"][0]), label, shard.split), data


def resplit(
    records: Records | str | os.PathLike[str] | Address,
    out: str | os.PathLike[str],
    splits: Mapping[str, str],
    kind: str,
) -> Manifest:
    """Writes a records folder with the same pairs in other splits, one shard per split.

    Args:
        records: a records folder, or a `Records` object.
        out: the folder to write; it must not hold records.
        splits: id -> split; pairs that are missing are left out.
        kind: the name of the split in the manifest.

    Returns:
        The manifest of the new folder.

    Raises:
        UsageError: if `out` holds records.
        LockedError: if another process is writing into `out`.
    """
    records, out = as_records(records), local_path(out, "out")
    if (out / FILE_NAME).exists():
        raise UsageError(f"out must not hold records. Received: {out}, which holds records. Choose another folder")
    with folder_lock(out):
        return _write(records, out, splits, kind)


def _write(records: Records, out: pathlib.Path, splits: Mapping[str, str], kind: str) -> Manifest:
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
    old = records.manifest
    manifest = dataclasses.replace(
        old,
        shards=shards,
        split={"kind": kind},
        pair_counts=pair_counts,
        lost_splits=[],
        left_out=old.left_out + seen - sum(shard.count for shard in shards),
        fingerprint=_fingerprint(old, kind),
    )
    manifest.write(out)
    return manifest


def is_resplit(manifest: Manifest, records: Manifest, kind: str) -> bool:
    """Whether `resplit` wrote records from others under this name of the split.

    Args:
        manifest: of what was written.
        records: of what it may have been written from.
        kind: the name of the split.
    """
    return manifest.fingerprint == _fingerprint(records, kind)


def _fingerprint(old: Manifest, kind: str) -> str:
    return f"{old.fingerprint}/{kind}"
