"""Reading one split from its shards: parsed pairs as a `tf.data.Dataset`, decoded batches, single rows."""

import collections
import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_a2i.errors import CorruptRecordError, KerasA2IError, RecordsError
from keras_a2i.records.decoded_split import DecodedSplit, PairTable
from keras_a2i.records.example import decode_factors, decode_images, example_decoder, parse_examples
from keras_a2i.records.manifest import Manifest, Shard
from keras_a2i.records.orders import epoch_value
from keras_a2i.records.parts import Part
from keras_a2i.records.tfrecord import read_records

SHUFFLE_BUFFER = 2048
_CHUNK = 16
_BATCH = 64
_FILES_AT_ONCE = 4


class SplitReader:
    """The shards of one split.

    Args:
        path: the records folder.
        manifest: its manifest.
        split: "train", "val" or "test".
        waveform: whether waveforms are read.
        on_damage: called with a sentence for every damaged record, which is then skipped; None raises the error.
        part: the part of the split whose shards are read; None reads all.

    Attributes:
        count: the number of pairs in the split, or the part of it.

    Raises:
        RecordsError: if the records hold no such split or no waveform, or a shard is missing.
        UsageError: if the split has no such part.
    """

    def __init__(
        self,
        path: pathlib.Path,
        manifest: Manifest,
        split: str,
        *,
        waveform: bool = False,
        on_damage: Callable[[str], None] | None = None,
        part: Part | None = None,
    ):
        if waveform:
            manifest.require_waveform(path)
        self.manifest = manifest
        shards = manifest.shards_of(split)
        self._shards = shards if part is None else part.select(shards)
        self._paths = [path / shard.file for shard in self._shards]
        for shard_path in self._paths:
            if not shard_path.is_file():
                raise RecordsError(
                    f"The shard {shard_path.name} is missing in {path}. Build the records again, "
                    "with overwrite=True (--overwrite)"
                )
        for shard, shard_path in zip(self._shards, self._paths, strict=True):
            if problem := _find_problem(shard, shard_path):
                if on_damage is None:
                    raise RecordsError(
                        f"{problem}. Build the records again, with overwrite=True (--overwrite); in Python, "
                        "ignore_errors=True reads the rest"
                    )
                on_damage(problem)
        self.count = sum(shard.count for shard in self._shards)
        self._n_samples = manifest.features.n_samples if waveform else None
        self._on_damage = on_damage
        self._label_numbers = {label: number for number, label in enumerate(manifest.label_names)}

    # AutoGraph would rewrite the function for branches on tensors, which it doesn't have.
    @tf.autograph.experimental.do_not_convert
    def chunks(self, seed: int | None = None, names: Sequence[str] | None = None, epoch: Any = None) -> tf.data.Dataset:
        """Parsed pairs with decoded images, a few at a time.

        Args:
            seed: None for the order of the shards; an integer shuffles the shards and mixes the records in a buffer of
                2,048, anew in every epoch.
            names: the wanted keys of `parse_examples`, None for all.
            epoch: as of `Shuffled`: the order depends on `seed` and its number alone; None counts the iterations.

        Returns:
            A data set of dictionaries as of `parse_examples`, with up to 16 pairs in each; image is uint8 (n, size,
            size, channels).
        """
        iterations = itertools.count()

        def read() -> Iterator[list[bytes]]:
            if seed is None:
                return itertools.chain.from_iterable(map(self._chunks_of, range(len(self._paths))))
            number = next(iterations) if epoch is None else epoch_value(epoch)
            return self._mixed_chunks(np.random.default_rng([seed % (1 << 63), number % (1 << 63)]))

        chunks = tf.data.Dataset.from_generator(read, output_signature=tf.TensorSpec([None], tf.string))

        def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
            chunk = self._parse(serialized, names)
            return chunk | {"image": decode_images(chunk["image"], self.manifest.image)}

        return chunks.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def batches(self, batch_size: int = _BATCH) -> Iterator[DecodedSplit]:
        """Yields decoded batches in the order of the shards.

        Raises:
            CorruptRecordError: at a damaged record, unless damage is reported by `on_damage`.
        """
        # Not a data set of a generator: TensorFlow then has every freed tensor returned to the operating system, which
        # slows all that follows in the process.
        records = itertools.chain.from_iterable(
            itertools.chain.from_iterable(self._chunks_of(index) for index in range(len(self._paths)))
        )
        while serialized := list(itertools.islice(records, batch_size)):
            yield self._decode(serialized)

    def rows(self, rows: np.ndarray) -> DecodedSplit:
        """Reads the given rows of the split; the others are skipped without being read.

        Args:
            rows: int (n,), numbers from 0 to `count` - 1 in any order.
        """
        ascending, places = np.unique(rows, return_inverse=True)
        serialized: list[bytes] = []
        first = 0
        for path, shard in zip(self._paths, self._shards, strict=True):
            wanted = ascending[(ascending >= first) & (ascending < first + shard.count)] - first
            first += shard.count
            if len(wanted):
                serialized += read_records(path, rows=set(wanted.tolist()))
        return self._decode(serialized)[places]

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Reads some entries of every pair, without decoding images.

        Args:
            names: keys of `parse_examples`.
        """
        chunks = itertools.chain.from_iterable(self._chunks_of(index) for index in range(len(self._paths)))
        with self._content_checked():
            parsed = [self._parse(chunk, names) for chunk in chunks]
            return {name: np.concatenate([part[name] for part in parsed]) for name in names}

    def table(self) -> PairTable:
        """Reads everything but images and waveforms."""
        columns = self.columns(("id", "source_id", "time", "label", "features", "factors"))
        with self._content_checked():
            return PairTable(**self._table(columns))

    def number_labels(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function from labels, string (n,), to their numbers, int32 (n,), for use in a graph."""
        names = tf.constant(self.manifest.label_names)
        return lambda labels: tf.argmax(tf.equal(labels[:, None], names), axis=1, output_type=tf.int32)

    @contextlib.contextmanager
    def _content_checked(self) -> Iterator[None]:
        """Raises a CorruptRecordError for records whose checksums match although they hold no pair of these records."""
        try:
            yield
        except KerasA2IError:
            raise
        except (tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError) as error:
            shards = ", ".join(path.name for path in self._paths[:3])
            raise CorruptRecordError(
                "Every record must hold a pair of the features and images that the manifest states. Received: "
                f"another one in {shards}{' or more' if len(self._paths) > 3 else ''} ({_first_line(error)}). "
                "Build the records again, with overwrite=True (--overwrite)"
            ) from error

    def _parse(self, serialized: Any, names: Sequence[str] | None) -> dict[str, tf.Tensor]:
        return parse_examples(serialized, self.manifest.features.n_features, self._n_samples, names)

    def _table(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """The fields of a `PairTable`."""
        ids, sources, labels = ([text.decode() for text in batch[name]] for name in ("id", "source_id", "label"))
        return {
            "ids": np.array(ids),
            "sources": np.array(sources),
            "times": batch["time"].astype(np.float64),
            "labels": np.array(labels),
            "label_numbers": np.array([self._label_numbers[label] for label in labels], np.int32),
            "features": batch["features"],
            "factors": [decode_factors(text) for text in batch["factors"]],
        }

    def _decode(self, serialized: list[bytes]) -> DecodedSplit:
        decoder = example_decoder(self.manifest.features.n_features, self._n_samples, self.manifest.image)
        with self._content_checked():
            batch = {name: value.numpy() for name, value in decoder(tf.constant(serialized)).items()}
            return self._decoded(batch)

    def _decoded(self, batch: dict[str, np.ndarray]) -> DecodedSplit:
        input = "features" if self._n_samples is None else "waveform"
        return DecodedSplit(input=input, waveforms=batch.get("waveform"), images=batch["image"], **self._table(batch))

    def _mixed_chunks(self, rng: np.random.Generator) -> Iterator[list[bytes]]:
        """Yields the serialised pairs of all shards, up to 16 at a time: shards shuffled, records mixed in a buffer.

        Images are mixed while they are still encoded, hence small.
        """
        buffer: list[bytes] = []
        chunk: list[bytes] = []
        for data in self._interleaved(rng.permutation(len(self._paths)).tolist()):
            if len(buffer) < SHUFFLE_BUFFER:
                buffer.append(data)
                continue
            place = int(rng.integers(SHUFFLE_BUFFER))
            chunk.append(buffer[place])
            buffer[place] = data
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        chunk += [buffer[place] for place in rng.permutation(len(buffer))]
        for start in range(0, len(chunk), _CHUNK):
            yield chunk[start : start + _CHUNK]

    def _interleaved(self, order: list[int]) -> Iterator[bytes]:
        """Yields the serialised pairs of shards in that order, a few shards at once."""
        waiting = iter(order)
        open_shards = collections.deque(map(self._chunks_of, itertools.islice(waiting, _FILES_AT_ONCE)))
        while open_shards:
            shard = open_shards.popleft()
            chunk = next(shard, None)
            if chunk is not None:
                yield from chunk
                open_shards.append(shard)
            elif (index := next(waiting, None)) is not None:
                open_shards.append(self._chunks_of(index))

    def _chunks_of(self, index: int) -> Iterator[list[bytes]]:
        """Yields the serialised pairs of a shard, up to 16 at a time."""
        on_damage = self._on_damage
        chunk: list[bytes] = []
        path, count, expected = self._paths[index], 0, self._shards[index].count
        for data in read_records(path, on_damage and (lambda damage: on_damage(str(damage)))):
            count += 1
            chunk.append(data)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
        if count != expected and on_damage is None:
            raise CorruptRecordError(
                f"A shard must hold as many records as the manifest states. Received: {path.name} with {count:,}, not "
                f"{expected:,}. Build the records again, with overwrite=True (--overwrite)"
            )


def _find_problem(shard: Shard, path: pathlib.Path) -> str:
    """A sentence where a shard isn't as large as the manifest states or can't be read, else ""."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    except OSError as error:
        return f"The shard {path.name} can't be read: {error.strerror}"
    return (
        ""
        if size == shard.size
        else f"The shard {path.name} has {size:,} bytes, not {shard.size:,} as when it was built"
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))[:200]
