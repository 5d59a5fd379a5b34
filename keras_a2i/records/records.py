"""A records folder as one object: read once, shared by training, evaluation, export and notebooks."""

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import MissingSplitError, UsageError
from keras_a2i.records.augmentation import Augmentation
from keras_a2i.records.decoded_split import INPUTS, DecodedSplit, PairTable
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.orders import InOrder, Order, Shuffled, check_batch_size, check_order
from keras_a2i.records.parts import Part
from keras_a2i.remote.address import Address, as_location
from keras_a2i.remote.copies import copy_files
from keras_a2i.remote.store import list_objects
from keras_a2i.spread import spread_rows

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike

    from keras_a2i.records.split_cache import SplitCache
    from keras_a2i.records.split_reader import SplitReader

CACHE_BUDGET = 2 << 30
"""Bytes of decoded images and inputs that `cache="auto"` keeps in memory: about 10,000 RGB images of 256 x 256."""


class Records:
    """A records folder, on the disk or in an object store.

    The constructor reads the manifest; shards are read only when they are needed. A split that is kept in memory is
    decoded once and shared by everything that uses the same object. The shards of a split in an object store are
    fetched when the split is first used, into a cache folder that later processes use as well
    (`keras_a2i.remote.copies`).

    Args:
        path: the records folder, or its address such as "s3://bucket/records".

    Attributes:
        path: the folder, or its address.
        manifest: the content of `records.json`.
        damaged: sentences about the damaged records that were skipped so far (see `ignore_errors` of the methods).

    Raises:
        RecordsError: if the folder holds no records, or records of another version.
        RemoteError: if an object store can't be read; the methods that read shards raise it, too.

    Example:
        ```python
        records = keras_a2i.Records("records")
        model.fit(records.dataset("train"), validation_data=records.dataset("val"))
        ```
    """

    def __init__(self, path: str | os.PathLike[str] | Address):
        self.path = as_location(path)
        self.manifest = Manifest.read(self.path)
        self._copies: dict[tuple[str, Part | None], pathlib.Path] = {}
        self.damaged: list[str] = []
        self._caches: dict[tuple[str, Part | None], SplitCache] = {}
        self._tables: dict[str, PairTable] = {}
        self._statistics: tuple[np.ndarray, np.ndarray] | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        return f"Records({str(self.path)!r}: {counts}; {self.features.description}; images {self.image.shape})"

    @property
    def counts(self) -> dict[str, int]:
        """The number of pairs per split."""
        return self.manifest.counts

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted; () where no pair has one."""
        return () if self.manifest.label_names == ("",) else self.manifest.label_names

    @property
    def n_unlabelled(self) -> int:
        """Number of pairs without a label, over all splits."""
        return sum(self.manifest.label_counts.get("", {}).values())

    @property
    def labels_per_source(self) -> dict[str, dict[str, int]]:
        """Source id -> label -> number of pairs, over all splits."""
        return self.manifest.labels_per_source

    @property
    def features(self) -> FeatureConfig:
        """The feature configuration of every pair."""
        return self.manifest.features

    @property
    def image(self) -> ImageConfig:
        """The image configuration of every pair."""
        return self.manifest.image

    @property
    def has_waveform(self) -> bool:
        """Whether every pair holds its waveform."""
        return self.manifest.waveform

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the input and the options of the build: equal fingerprints mean equal pairs."""
        return self.manifest.fingerprint

    def feature_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every feature over the training split.

        Returns:
            Two float32 arrays (n_features,), read-only. They are computed once, without decoding images.

        Raises:
            CorruptRecordError: at a damaged record.
        """
        if self._statistics is None:
            known = self._in_memory("train", "features") or self._tables.get("train")
            rows = known.features if known is not None else self._reader("train").columns(("features",))["features"]
            mean, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
            self._statistics = mean.astype(np.float32), std.astype(np.float32)
            for values in self._statistics:
                values.setflags(write=False)
        return self._statistics

    def dataset(
        self,
        split: str = "train",
        batch_size: int = 64,
        *,
        input: str = "features",
        order: Order | None = None,
        seed: int = 0,
        labels: bool = False,
        references: bool = False,
        augmentation: Augmentation | None = None,
        cache: bool | str | int = "auto",
        repeat: bool = False,
        drop_remainder: bool = False,
        part: Part | None = None,
        ignore_errors: bool = False,
    ) -> "tf.data.Dataset":
        """Batches of (inputs, images) for `model.fit`.

        A split that fits into the cache is read and decoded once, and every epoch has a new random order. Larger splits
        are streamed from disk in every epoch: the shards in a new order, through a shuffle buffer of 2,048 records.

        Args:
            split: "train", "val" or "test".
            batch_size: pairs per batch, 1 or more.
            input: "features" (MFCC or embeddings, as the records hold) or "waveform".
            order: one of `keras_a2i.records.orders`; None means `Shuffled(seed)` for "train", else `InOrder()`.
            seed: random seed of the default order and of the augmentation.
            labels: yield (inputs, (images, label numbers)); a number is the position in the sorted labels.
            references: yield ((inputs, references), ...), for a model with a reference image: the reference of a pair
                is the image of another pair of its source, drawn again in every epoch. This needs the split in memory.
            augmentation: random changes of the audio, for the input "waveform". They depend on `seed`, the epoch of
                `order` (if the order has none, every iteration differs) and the number of the batch, except for the
                masks of tensorflow-io: see `keras_a2i.records.spectral_masks.mask`.
            cache: "auto" keeps the decoded split in memory (as uint8) if it needs at most 2 GiB, True always, False
                never; a number is a limit in bytes.
            repeat: repeat without end.
            drop_remainder: leave out the last batch if it is smaller than `batch_size`.
            part: read only the shards of one part of the split, in a training with several processes; None reads all
                shards.
            ignore_errors: skip damaged records and list them in `damaged`.

        Returns:
            A `tf.data.Dataset` of (float32 (batch, n_features) or (batch, n_samples) in [-1, 1],
            float32 (batch, size, size, channels) in [-1, 1]); label numbers are int32 (batch,).

        Raises:
            RecordsError: if the records hold no such split or no waveform, or a shard is missing.
            CorruptRecordError: at a damaged record; while streaming, TensorFlow raises an error that contains the same
                sentence.
            UsageError: if an argument is out of range.
        """
        from keras_a2i.records import batches

        check_batch_size(batch_size)
        if augmentation is not None and input != "waveform":
            raise UsageError(f"augmentation must go with input='waveform'. Received: input={input!r}")
        if order is None:
            order = Shuffled(seed) if split == "train" else InOrder()
        check_order(order, batch_size)
        reader = self._reader(split, input, ignore_errors, part)
        if self._fits(reader.count, input, cache):
            found = batches.cached_batches(
                self._cached(split, input, ignore_errors, part),
                *(input, order, batch_size, repeat, drop_remainder),
                reference_seed=seed if references else None,
            )
        elif order.needs_memory or references:
            what = f"The order {type(order).__name__} needs" if order.needs_memory else "References need"
            raise UsageError(
                f"{what} the split in memory: cache must be large enough. "
                f"Received: cache={cache!r} with {reader.count} pairs"
            )
        else:
            found = batches.streamed_batches(
                reader, input, order, batch_size, repeat, drop_remainder, exact=not ignore_errors
            )
        found = batches.to_model(found, labels)
        if augmentation is not None and augmentation.active:
            found = batches.augmented(found, augmentation, self.features.sample_rate, seed, order)
        return batches.read_ahead(found)

    def decoded(self, split: str, input: str = "features", *, ignore_errors: bool = False) -> DecodedSplit:
        """The whole split in memory, decoded at the first call and shared by all later ones.

        Args:
            split: "train", "val" or "test".
            input: "features" or "waveform".
            ignore_errors: skip damaged records and list them in `damaged`.

        Returns:
            All pairs, in the order of the shards. The arrays are read-only.

        Raises:
            RecordsError, CorruptRecordError: as `dataset`.
        """
        return self._cached(split, input, ignore_errors).decoded(input)

    def stream(
        self, split: str, input: str = "features", batch_size: int = 32, *, ignore_errors: bool = False
    ) -> Iterator[DecodedSplit]:
        """Yields the pairs of a split in batches, in the order of the shards, whatever its size.

        Only a few batches are in memory at a time. If the split is already in memory, it isn't read again.

        Args:
            split: "train", "val" or "test".
            input: "features" or "waveform".
            batch_size: pairs per batch, 1 or more.
            ignore_errors: skip damaged records and list them in `damaged`.

        Raises:
            RecordsError, CorruptRecordError: as `dataset`.
        """
        check_batch_size(batch_size)
        reader = self._reader(split, input, ignore_errors)
        known = self._in_memory(split, input, ignore_errors)
        if known is None:
            return reader.batches(batch_size)
        return (known[start : start + batch_size] for start in range(0, len(known), batch_size))

    def table(self, split: str) -> PairTable:
        """Everything about the pairs of a split except images and waveforms, read once.

        Args:
            split: "train", "val" or "test".

        Returns:
            All pairs, in the order of the shards, so that row numbers are those of `rows`. The arrays are read-only.

        Raises:
            RecordsError, CorruptRecordError: as `dataset`.
        """
        reader = self._reader(split)
        known = self._in_memory(split, "features")
        if known is not None:
            return known
        if split not in self._tables:
            self._tables[split] = reader.table().protected()
        return self._tables[split]

    def rows(self, split: str, rows: "ArrayLike", input: str = "features") -> DecodedSplit:
        """The pairs of the given rows; if the split isn't in memory, only these are read.

        Args:
            split: "train", "val" or "test".
            rows: int (n,), row numbers from 0 in the order of the shards; any order, also repeated. Or bool (count,), a
                mask over all rows of the split.
            input: "features" or "waveform".

        Raises:
            RecordsError, CorruptRecordError: as `dataset`.
            UsageError: if a row doesn't exist, or `rows` holds neither row numbers nor a mask.
        """
        reader = self._reader(split, input)
        numbers = np.asarray(rows)
        if numbers.dtype.kind == "b" and numbers.shape == (reader.count,):
            numbers = np.flatnonzero(numbers)
        if numbers.dtype.kind not in "iu" or not numbers.size or numbers.min() < 0 or numbers.max() >= reader.count:
            raise UsageError(
                f"rows must be one or more whole numbers from 0 to {reader.count - 1}, or a mask of {reader.count} "
                f"booleans of which one or more are true. Received: {rows!r}"
            )
        numbers = numbers.astype(np.int64).reshape(-1)
        known = self._in_memory(split, input)
        return reader.rows(numbers) if known is None else known[numbers]

    def sample(self, split: str, n: int, input: str = "features") -> tuple[np.ndarray, np.ndarray]:
        """Up to `n` pairs, spread evenly over a split; if the split isn't in memory, only these are read.

        Args:
            split: "train", "val" or "test".
            n: the number of pairs, 1 or more.
            input: "features" or "waveform".

        Returns:
            Inputs, float32 (n, n_features) or (n, n_samples) in [-1, 1], and images, uint8
            (n, size, size, channels).

        Raises:
            RecordsError, CorruptRecordError: as `dataset`.
        """
        pairs = self.sample_pairs(split, n, input)
        return pairs.inputs, pairs.images

    def sample_pairs(self, split: str, n: int, input: str = "features") -> DecodedSplit:
        """As `sample`, but with the ids, labels and all other data of the pairs."""
        if n < 1:
            raise UsageError(f"n must be 1 or more. Received: {n}")
        count = self._reader(split, input).count
        return self.rows(split, spread_rows(count, n), input)

    def reference_images(self, split: str, sources: "ArrayLike") -> np.ndarray:
        """The first image in time of each source within a split, as the reference images of an evaluation.

        Args:
            split: "train", "val" or "test".
            sources: source ids of the split, str (n,); repeated ones are read once.

        Returns:
            uint8 (n, size, size, channels).

        Raises:
            RecordsError, CorruptRecordError: as `dataset`.
            UsageError: if the split has no such source.
        """
        table = self.table(split)
        wanted, places = np.unique(np.asarray(sources), return_inverse=True)
        order = np.lexsort((table.times, table.sources))
        known, firsts = np.unique(table.sources[order], return_index=True)
        if missing := set(wanted) - set(known):
            raise UsageError(f"sources must be sources of the split {split!r}. Received: {str(min(missing))!r}")
        rows = order[firsts[np.searchsorted(known, wanted)]]
        return self.rows(split, rows).images[places]

    def require_split(self, split: str, purpose: str, *, is_choice: bool = False) -> None:
        """Checks that there are pairs of a split, before anything is read.

        Args:
            split: "train", or the name of a held-out split.
            purpose: a sentence that states what the pairs are needed for, without its full stop.
            is_choice: whether the caller may choose another held-out split.

        Raises:
            MissingSplitError: if there are none.
        """
        if split in self.counts:
            return
        held_out = sorted(set(self.counts) - {"train"}) if is_choice else []
        if held_out and split not in ("train", "val"):
            raise MissingSplitError(
                f"{purpose}: split must be one of {held_out} in these records. Received: {split!r}. Choose one of them "
                "(--split)"
            )
        lost = dict(self.manifest.lost_splits).get(split)
        if lost is not None:
            raise MissingSplitError(
                f"{purpose}. Received: {self.path}, which has no split {split}. {lost}. Build the records of files "
                "that can be read"
            )
        remedy = "pairs for training" if split == "train" else "val_fraction above 0 (--val-fraction)"
        other = f", or choose the split {' or '.join(held_out)} (--split)" if held_out else ""
        raise MissingSplitError(
            f"{purpose}. Received: {self.path}, which has no split {split}. Build the records with {remedy}{other}"
        )

    def local_folder(self, split: str, part: Part | None = None) -> pathlib.Path:
        """Returns the local folder with the shards of a split; fetches them from an object store if necessary.

        Args:
            split: "train", "val" or "test".
            part: the part of the split whose shards are needed; None for all.

        Raises:
            RecordsError: if the records hold no such split.
            UsageError: if the split has no such part.
            RemoteError: if an object store can't be read.
        """
        if isinstance(self.path, pathlib.Path):
            return self.path
        if (split, part) not in self._copies:
            shards = self.manifest.shards_of(split)
            names = {shard.file for shard in (shards if part is None else part.select(shards))}
            found = {name: stored for name, stored in list_objects(self.path).items() if name in names}
            # What is missing there is reported by what reads it.
            self._copies[split, part] = copy_files(self.path, found)
        return self._copies[split, part]

    def _fits(self, count: int, input: str, cache: bool | str | int) -> bool:
        """Whether a split is to be kept in memory."""
        if isinstance(cache, bool):
            return cache
        if isinstance(cache, str):
            if cache != "auto":
                raise UsageError(f"cache must be 'auto', True, False or a number of bytes. Received: {cache!r}")
            cache = CACHE_BUDGET
        input_bytes = 2 * self.features.n_samples if input == "waveform" else 4 * self.features.n_features
        pair_bytes = int(np.prod(self.image.shape)) + input_bytes
        return count * pair_bytes <= cache

    def _cached(self, split: str, input: str, ignore_errors: bool, part: Part | None = None) -> "SplitCache":
        from keras_a2i.records.split_cache import SplitCache

        reader = self._reader(split, input, ignore_errors, part)
        cache = self._caches.get((split, part))
        if cache is None or (cache.skipped and not ignore_errors):
            cache = self._caches[split, part] = SplitCache(reader)
        elif input == "waveform":
            cache.add_waveforms(reader)
        return cache

    def _in_memory(self, split: str, input: str, ignore_errors: bool = False) -> DecodedSplit | None:
        """The decoded split where it has been read with this input, and without skipping damaged records."""
        cache = self._caches.get((split, None))
        if cache is None or not cache.has(input) or (cache.skipped and not ignore_errors):
            return None
        return cache.decoded(input)

    def _reader(
        self, split: str, input: str = "features", ignore_errors: bool = False, part: Part | None = None
    ) -> "SplitReader":
        from keras_a2i.records.split_reader import SplitReader

        if input not in INPUTS:
            raise UsageError(f"input must be 'features' or 'waveform'. Received: {input!r}")
        on_damage = self._note_damage if ignore_errors else None
        folder = self.local_folder(split, part)
        return SplitReader(folder, self.manifest, split, waveform=input == "waveform", on_damage=on_damage, part=part)

    def _note_damage(self, sentence: str) -> None:
        if sentence not in self.damaged:
            self.damaged.append(sentence)


def as_records(records: "Records | str | os.PathLike[str] | Address") -> Records:
    """The given object, or the records of the given folder."""
    return records if isinstance(records, Records) else Records(records)
