"""One shard task: reads its units, computes features in batches and writes one file per split.

Tasks are independent and idempotent, so that any `concurrent.futures.Executor` can run them, in any order. Where two
processes may run the same task at once, each writes its shards under names of its own (`write_shards`), and the process
that builds the records finishes the task with one of them (`finish_task`).
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import RecordsError
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.conversion import from_int16, to_int16
from keras_a2i.media.image import encode_image
from keras_a2i.media.json_file import write_json
from keras_a2i.records.example import encode_example
from keras_a2i.records.manifest import PairCounts, count_pair
from keras_a2i.records.splits import LEFT_OUT, SPLITS
from keras_a2i.records.tfrecord import RecordWriter
from keras_a2i.remote.address import Address
from keras_a2i.remote.store import upload
from keras_a2i.sources.pair import Dropped, Pair, Source, Unit

_BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """All that a worker needs to write its shards.

    Attributes:
        index: the number of the task.
        folder: receives its files.
        parts: (source, unit) in the order in which they are written.
        splits: for each part the places in `SPLITS` of its pairs' splits, int8 (pairs,); pairs with `LEFT_OUT` are
            skipped.
        features: the feature configuration.
        image: the image configuration.
        waveform: whether waveforms are stored.
        strict: whether the first input without a pair, or with a damaged file, stops the task.
        upload_to: a folder of an object store, to which the files of the finished task are uploaded and where its
            shards stay alone; None for none.
    """

    index: int
    folder: pathlib.Path
    parts: tuple[tuple[Source, Unit], ...]
    splits: tuple[np.ndarray, ...]
    features: FeatureConfig
    image: ImageConfig
    waveform: bool
    strict: bool
    upload_to: Address | None = None

    @property
    def result_path(self) -> pathlib.Path:
        """The result file; it exists once the task is finished and its shards are on the disk, or in the store."""
        return self.folder / f"{self.index:05d}.json"

    def shard_path(self, split: str) -> pathlib.Path:
        """The finished shard of one split."""
        return self.folder / f"{self.index:05d}-{split}.tfrecord"

    def written_path(self, split: str, attempt: str = "") -> pathlib.Path:
        """The shard of one split before the task is finished; every attempt has its own."""
        path = self.shard_path(split)
        return path.with_name(".".join(filter(None, (path.name, attempt, "tmp"))))

    @property
    def cost(self) -> float:
        """The relative duration of the task."""
        return sum(unit.cost for _, unit in self.parts)

    def split_by_id(self) -> dict[str, str]:
        """The split of every pair that isn't left out."""
        return {
            key.id: SPLITS[place]
            for (_, unit), places in zip(self.parts, self.splits, strict=True)
            for key, place in zip(unit.keys, places.tolist(), strict=True)
            if place != LEFT_OUT
        }


def run_task(task: Task, on_read: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Runs a task, leaving its shards and its result file behind.

    Args:
        task: the task.
        on_read: called with the numbers of new pairs and of newly dropped inputs.

    Returns:
        The result: shards {split: {count, size, sha256}}, pair_counts, dropped, notes, waveform.

    Raises:
        RecordsError: with `strict`, at the first input that yields no pair or whose file is damaged.
    """
    result = write_shards(task, on_read)
    finish_task(task, result)
    return result


def write_shards(task: Task, on_read: Callable[[int, int], None] | None = None, attempt: str = "") -> dict[str, Any]:
    """Writes the shards of a task to `Task.written_path`; the task isn't finished yet.

    Args:
        task: the task.
        on_read: as in `run_task`.
        attempt: part of the names of the files.

    Returns:
        The result, as `run_task` returns it.

    Raises:
        RecordsError: as `run_task`.
    """
    writers: dict[str, RecordWriter] = {}
    pair_counts: PairCounts = {}
    dropped: list[Dropped] = []
    notes: list[list[str]] = []
    all_waveforms = True
    splits = task.split_by_id()
    try:
        for batch in _batches(_read(task, splits, dropped, on_read)):
            for pair, features, waveform in _with_features(batch, task.features):
                split = splits[pair.key.id]
                if split not in writers:
                    writers[split] = RecordWriter(task.written_path(split, attempt))
                stored = waveform if task.waveform else None
                all_waveforms &= stored is not None
                image = pair.image if isinstance(pair.image, bytes) else encode_image(pair.image, task.image)
                writers[split].write(encode_example(pair.key, image, features, stored, pair.factors))
                count_pair(pair_counts, pair.key, split)
                if pair.note:
                    notes.append([pair.key.id, pair.note])
            if on_read:
                on_read(len(batch), 0)
    finally:
        for writer in writers.values():
            writer.close()
    return {
        "shards": {s: {"count": w.count, "size": w.size, "sha256": w.sha256} for s, w in sorted(writers.items())},
        "pair_counts": pair_counts,
        "dropped": [[item.id, item.reason] for item in dropped],
        "notes": notes,
        "waveform": all_waveforms,
    }


def finish_task(task: Task, result: dict[str, Any], attempt: str = "") -> None:
    """Gives the shards that an attempt wrote their names, and writes the result file.

    Raises:
        FileNotFoundError: if a shard isn't there.
        RemoteError: if they can't be uploaded.
    """
    for split in result["shards"]:
        shard = task.shard_path(split)
        task.written_path(split, attempt).replace(shard)
        if task.upload_to is not None:
            upload(shard, task.upload_to / shard.name)
            shard.unlink()
    write_json(task.result_path, result)
    if task.upload_to is not None:
        upload(task.result_path, task.upload_to / task.result_path.name)


def finished_result(task: Task) -> dict[str, Any] | None:
    """The result of a task that was finished by an earlier build, or None; its shards may have been lost since."""
    if not task.result_path.is_file():
        return None
    return json.loads(task.result_path.read_text(encoding="utf-8"))


def _read(
    task: Task, splits: dict[str, str], dropped: list[Dropped], on_read: Callable[[int, int], None] | None
) -> Iterator[Pair]:
    for source, unit in task.parts:
        for item in source.read(unit):
            trouble = Dropped(item.key.id, item.note) if isinstance(item, Pair) else item
            if trouble.reason and task.strict:
                raise RecordsError(f"{trouble.message}. The build stops at it (strict=True, --strict)")
            if isinstance(item, Pair):
                if item.key.id in splits:
                    yield item
                continue
            dropped.append(item)
            if on_read:
                on_read(0, 1)


def _batches(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _with_features(batch: list[Pair], config: FeatureConfig) -> Iterator[tuple[Pair, np.ndarray, np.ndarray | None]]:
    """Yields (pair, features, int16 waveform or None); features are computed from the stored samples."""
    waveforms = {i: to_int16(pair.waveform) for i, pair in enumerate(batch) if pair.waveform is not None}
    computed: dict[int, np.ndarray] = {}
    missing = [i for i in waveforms if batch[i].features is None]
    if missing:
        rows = mfcc(from_int16(np.stack([waveforms[i] for i in missing])), config)
        computed = dict(zip(missing, rows, strict=True))
    for i, pair in enumerate(batch):
        yield pair, pair.features if pair.features is not None else computed[i], waveforms.get(i)
