"""Records to `tf.data` batches: parallel reading, vectorised parsing, a cache of decoded pictures, late normalising."""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_a2i.errors import CorruptRecordError, RecordsError, UsageError
from keras_a2i.records.augmentation import Augmentation, augment
from keras_a2i.records.example import decode_image, parse_examples
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.tfrecord import read_records

CACHE_BUDGET = 2 << 30
"""Bytes of decoded pictures and inputs that `cache="auto"` keeps in memory: about 10,000 pictures of 256 x 256 RGB."""

SHUFFLE_BUFFER = 2048
_CHUNK = 16
_BATCH = 64
_FILES_AT_ONCE = 4


def load_records(
    path: str | pathlib.Path,
    split: str = "train",
    *,
    batch_size: int = 64,
    shuffle: bool | None = None,
    seed: int = 0,
    cache: bool | str | int = "auto",
    features: str = "features",
    drop_remainder: bool = False,
    repeat: bool = False,
    ignore_errors: bool = False,
    epoch: tf.Variable | None = None,
    augmentation: Augmentation | None = None,
    labels: bool = False,
    shuffle_within_label: bool = False,
    neighbours: bool = False,
) -> tf.data.Dataset:
    """Batches of (input, picture) for `model.fit`.

    Where the decoded split fits the cache it is read once, here, and every epoch is a full shuffle that depends on
    `seed` and the number of the pass alone. Larger splits are streamed from disk on each pass: shards in a new order,
    records mixed in a buffer of 2,048.

    Args:
        path: a records folder.
        split: "train", "val" or "test".
        batch_size: pairs a batch, 1 or more.
        shuffle: a new order each pass; None shuffles "train" only.
        seed: of the order, and of what `augmentation` draws.
        cache: "auto" keeps the decoded split in memory (uint8) where it takes at most 2 GiB, True always, False never;
            a number is a budget in bytes.
        features: "features" (float32 MFCC or embeddings, as the records hold) or "waveform" (float32 sound in [-1, 1]).
        drop_remainder: leave out a last short batch.
        repeat: go on for ever.
        ignore_errors: pass over damaged records; what was passed over is listed in the `damaged_records` attribute of
            the data set that is returned, as sentences.
        epoch: an integer variable that the caller sets to the number of each epoch; its order is then drawn from `seed`
            and that number (cached splits), so that a training that goes on sees what it would have seen.
        augmentation: how the sound is changed each time it is read, with "waveform" only; draws depend on `seed`, the
            number in `epoch` (without it each pass draws anew) and that of the batch. Masks made by tensorflow-io
            don't: see `keras_a2i.records.spectral_masks.mask`.
        labels: give (picture, label) where the picture stands alone otherwise; labels are numbers in the sorted order
            of the records' labels.
        shuffle_within_label: each pass gives a sound the picture of another pair of its label; cached splits only.

        neighbours: every second pair is the one after the first in its source (the one before, at the end), half as
            many first ones a pass; cached splits and an even `batch_size` only.

    Returns:
        A `tf.data.Dataset` of (float32 (batch, n_features) or (batch, n_samples), float32
        (batch, size, size, channels) in [-1, 1]).

    Raises:
        RecordsError: if the folder holds no such records, split or waveform, or a shard is missing.
        CorruptRecordError: at a damaged record, naming file and record; while streaming the same sentence comes inside
            TensorFlow's error.
        UsageError: if an argument is out of range.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be 1 or more. Received: {batch_size}")
    if features not in ("features", "waveform"):
        raise UsageError(f"features must be 'features' or 'waveform'. Received: {features!r}")
    if augmentation is not None and features != "waveform":
        raise UsageError(f"Augmentation works on sound: load features='waveform'. Received: features={features!r}")
    if neighbours and (batch_size % 2 or shuffle_within_label):
        raise UsageError(
            "Neighbours come in batches of even size, each with its own picture. Received: "
            f"batch_size={batch_size}, shuffle_within_label={shuffle_within_label}"
        )
    reader = _Reader(path, split, waveform=features == "waveform", ignore_errors=ignore_errors)
    shuffle = split == "train" if shuffle is None else shuffle
    if reader.fits(cache):
        inputs, images, numbers, next_rows = reader.load(features)
        order = _order(len(images), seed, epoch) if shuffle else tf.data.Dataset.range(len(images))
        order = _with_neighbours(order, next_rows) if neighbours else order
        rows = (
            _rows_of_labels(order, numbers, seed, epoch) if shuffle_within_label else order.map(lambda row: (row, row))
        )
        batches = (rows.repeat() if repeat else rows).batch(batch_size, drop_remainder=drop_remainder)
        batches = batches.map(_gather(inputs, images, numbers), num_parallel_calls=2)
    else:
        if shuffle_within_label or neighbours:
            option = "shuffle_within_label" if shuffle_within_label else "neighbours"
            raise UsageError(
                "Pictures are exchanged within a label, and neighbours brought together, only where the split is kept "
                f"in memory. Received: {option} with cache={cache!r} and {reader.count} pairs"
            )
        pairs = reader.stream(seed if shuffle else None, (features, "image", "label"))
        number = reader.label_table()
        pairs = pairs.map(lambda example: (example[features], example["image"], number(example["label"])))
        if not ignore_errors:
            pairs = pairs.apply(tf.data.experimental.assert_cardinality(reader.count))
        batches = (pairs.repeat() if repeat else pairs).batch(batch_size, drop_remainder=drop_remainder)
    dataset = batches.map(lambda *batch: _normalize(*batch, labels=labels), num_parallel_calls=2)
    if augmentation is not None and augmentation.active:
        dataset = _augmented(dataset, augmentation, reader.manifest.features.sample_rate, seed, epoch)
    dataset = dataset.prefetch(2)
    dataset.damaged_records = reader.damaged
    return dataset


def read_examples(
    path: str | pathlib.Path, split: str = "train", *, waveform: bool = False, ignore_errors: bool = False
) -> tf.data.Dataset:
    """Batches of everything that is stored, in the order of the shards, as dictionaries.

    Args:
        path: a records folder.
        split: "train", "val" or "test".
        waveform: parse the sound too.
        ignore_errors: pass over damaged records, as `load_records`.

    Returns:
        A data set of dictionaries with the keys of `keras_a2i.records.example.parse_examples`, up to 64 pairs each;
        pictures are decoded, uint8 (batch, size, size, channels).
    """
    reader = _Reader(path, split, waveform=waveform, ignore_errors=ignore_errors)
    dataset = reader.stream().batch(_BATCH).prefetch(2)
    dataset.damaged_records = reader.damaged
    return dataset


def feature_statistics(path: str | pathlib.Path, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature over a split, read without decoding pictures.

    Returns:
        Two float32 arrays (n_features,).

    Raises:
        RecordsError, CorruptRecordError: as `load_records`.
    """
    reader = _Reader(path, split, waveform=False, ignore_errors=False)
    n_features = reader.manifest.features.n_features
    schema = {"features": tf.io.FixedLenFeature([n_features], tf.float32)}
    rows = np.concatenate([tf.io.parse_example(chunk, schema)["features"] for chunk in reader.read_chunks()])
    return rows.mean(axis=0, dtype=np.float64).astype(np.float32), rows.std(axis=0, dtype=np.float64).astype(np.float32)


def _normalize(inputs: tf.Tensor, images: tf.Tensor, numbers: tf.Tensor, labels: bool) -> tuple:
    if inputs.dtype == tf.int16:
        inputs = tf.cast(inputs, tf.float32) / 32768.0
    images = tf.cast(images, tf.float32) * (2 / 255) - 1.0
    return inputs, (images, numbers) if labels else images


def _gather(inputs: np.ndarray, images: np.ndarray, numbers: np.ndarray) -> Callable[..., tuple]:
    with tf.device("CPU"):
        inputs, images, numbers = tf.constant(inputs), tf.constant(images), tf.constant(numbers)
    return lambda rows, pictures: (tf.gather(inputs, rows), tf.gather(images, pictures), tf.gather(numbers, rows))


def _rows_of_labels(
    order: tf.data.Dataset, numbers: np.ndarray, seed: int, epoch: tf.Variable | None
) -> tf.data.Dataset:
    """Each row of the order with another row of its label, drawn anew on each pass."""
    sorted_rows = tf.constant(np.argsort(numbers, kind="stable"), tf.int64)
    kinds = tf.constant(numbers, tf.float64)

    def exchange(place: tf.Tensor) -> tf.data.Dataset:
        draws = tf.random.stateless_uniform(
            (len(numbers),), tf.stack([tf.constant(seed, tf.int64), place]), dtype=tf.float64
        )
        # Sorted by label both, in the order of the rows and in one that was drawn.
        drawn = tf.argsort(kinds + draws)
        others = tf.scatter_nd(sorted_rows[:, None], tf.cast(drawn, tf.int64), (len(numbers),))
        return order.map(lambda row: (row, others[row]))

    if epoch is None:
        passes = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    else:
        passes = tf.data.Dataset.range(1).map(lambda _: tf.cast(epoch, tf.int64))
    return passes.flat_map(exchange).apply(tf.data.experimental.assert_cardinality(len(numbers)))


def _with_neighbours(order: tf.data.Dataset, next_rows: np.ndarray) -> tf.data.Dataset:
    """Half of the order's rows, each followed by its neighbour; as many rows as the order, but for an odd one."""
    following, firsts = tf.constant(next_rows, tf.int64), len(next_rows) // 2
    pairs = order.take(firsts).map(lambda row: tf.stack([row, following[row]])).unbatch()
    return pairs.apply(tf.data.experimental.assert_cardinality(2 * firsts))


def _neighbours_of(sources: np.ndarray, times: np.ndarray) -> np.ndarray:
    """For each row that of the next pair in its source: for the last one the one before, for a single one itself."""
    order = np.lexsort((times, sources))
    found = np.arange(len(order))
    same = sources[order][1:] == sources[order][:-1]
    found[order[1:][same]] = order[:-1][same]
    found[order[:-1][same]] = order[1:][same]
    return found


def _augmented(
    dataset: tf.data.Dataset, augmentation: Augmentation, sample_rate: int, seed: int, epoch: tf.Variable | None
) -> tf.data.Dataset:
    """The batches with their sounds changed, each by draws of its own."""
    # Without an epoch to go by, these numbers differ from batch to batch and from pass to pass.
    places = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    if epoch is not None:
        places = tf.data.Dataset.range(1).map(lambda _: tf.cast(epoch, tf.int64)).repeat()

    def change(numbered: tuple[tf.Tensor, tuple], place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number, (waveforms, images) = numbered
        draws = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(seed, tf.int64), place]), number)
        return augment(waveforms, draws, augmentation, sample_rate), images

    return tf.data.Dataset.zip((dataset.enumerate(), places)).map(change, num_parallel_calls=2)


def _order(count: int, seed: int, epoch: tf.Variable | None) -> tf.data.Dataset:
    """Row numbers in a new order each pass, or in that of the epoch the variable names."""
    rows = tf.data.Dataset.range(count)
    if epoch is None:
        return rows.shuffle(count, seed=seed)

    def draw(_: tf.Tensor) -> tf.data.Dataset:
        place = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), place)
        return tf.data.Dataset.from_tensor_slices(shuffled)

    order = tf.data.Dataset.range(1).flat_map(draw)
    return order.apply(tf.data.experimental.assert_cardinality(count))


class _Reader:
    """The shards of one split, and the damage met in reading them."""

    def __init__(self, path: str | pathlib.Path, split: str, *, waveform: bool, ignore_errors: bool):
        self.manifest = Manifest.read(path)
        if waveform and self.manifest.features.embedding:
            raise RecordsError(f"These records hold {self.manifest.features.description}, no waveform: {path}")
        if waveform and not self.manifest.waveform:
            raise RecordsError(f"These records hold no waveform: {path}. Build them from sound, without --no-waveform")
        shards = self.manifest.shards_of(split)
        self._paths = [pathlib.Path(path) / shard.file for shard in shards]
        for shard_path in self._paths:
            if not shard_path.is_file():
                raise RecordsError(f"The shard {shard_path.name} is missing in {path}. Build the records again")
        self.count = sum(shard.count for shard in shards)
        self.damaged: list[str] = []
        self._n_samples = self.manifest.features.n_samples if waveform else None
        self._ignore_errors = ignore_errors
        self._failure: CorruptRecordError | None = None

    def fits(self, cache: bool | str | int) -> bool:
        """Whether the decoded split is to be kept in memory."""
        if isinstance(cache, bool):
            return cache
        if cache != "auto" and not isinstance(cache, int):
            raise UsageError(f"cache must be 'auto', True, False or a number of bytes. Received: {cache!r}")
        a_pair = int(np.prod(self.manifest.image.shape)) + (
            2 * self._n_samples if self._n_samples else 4 * self.manifest.features.n_features
        )
        return self.count * a_pair <= (CACHE_BUDGET if cache == "auto" else cache)

    def load(self, features: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Reads the whole split in the order of the shards: inputs, uint8 pictures, numbers of labels, neighbours."""
        images = np.empty((self.count, *self.manifest.image.shape), np.uint8)
        inputs = None
        names, sources, times = [], [], []
        filled = 0
        wanted = (features, "image", "label", "source_id", "time")
        try:
            for example in self.stream(names=wanted).batch(_BATCH).prefetch(2).as_numpy_iterator():
                rows = slice(filled, filled + len(example["image"]))
                if inputs is None:
                    inputs = np.empty((self.count, *example[features].shape[1:]), example[features].dtype)
                images[rows], inputs[rows] = example["image"], example[features]
                names.extend(example["label"])
                sources.extend(example["source_id"])
                times.extend(example["time"])
                filled = rows.stop
        except tf.errors.OpError:
            if self._failure is not None:
                raise self._failure from None
            raise
        if inputs is None:
            raise RecordsError("Every record of the split is damaged. Build the records again")
        known = {name.encode(): number for number, name in enumerate(self.labels)}
        numbers = np.array([known[name] for name in names], np.int32)
        return inputs[:filled], images[:filled], numbers, _neighbours_of(np.array(sources), np.array(times))

    @property
    def labels(self) -> list[str]:
        """All labels of the records, sorted."""
        return sorted(self.manifest.label_counts)

    def label_table(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function from a label to its number, in a graph."""
        names = tf.constant(self.labels)
        return lambda label: tf.argmax(tf.equal(names, label), output_type=tf.int32)

    def stream(self, seed: int | None = None, names: tuple[str, ...] | None = None) -> tf.data.Dataset:
        """Parsed pairs one by one with the keys named (all for None), pictures decoded; mixed where a seed is given."""
        files = tf.data.Dataset.range(len(self._paths))
        if seed is not None:
            files = files.shuffle(len(self._paths), seed=seed)
        chunks = files.interleave(
            lambda index: tf.data.Dataset.from_generator(
                self._read_chunks, args=(index,), output_signature=tf.TensorSpec([None], tf.string)
            ),
            cycle_length=1 if seed is None else min(_FILES_AT_ONCE, len(self._paths)),
        )
        n_features, image_shape = self.manifest.features.n_features, self.manifest.image.shape
        pairs = chunks.map(lambda chunk: parse_examples(chunk, n_features, self._n_samples, names)).unbatch()
        if seed is not None:
            # Pictures are mixed while they are small, and decoded after.
            pairs = pairs.shuffle(min(SHUFFLE_BUFFER, self.count), seed=seed)
        return pairs.map(
            lambda pair: pair | {"image": decode_image(pair["image"], image_shape)},
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def read_chunks(self) -> Iterator[list[bytes]]:
        """Serialised pairs of the whole split, up to 16 at once, in the order of the shards."""
        for index in range(len(self._paths)):
            yield from self._read_chunks(index)

    def _read_chunks(self, index: int) -> Iterator[list[bytes]]:
        chunk: list[bytes] = []
        on_damage = (lambda damage: self.damaged.append(str(damage))) if self._ignore_errors else None
        try:
            for data in read_records(self._paths[index], on_damage):
                chunk.append(data)
                if len(chunk) == _CHUNK:
                    yield chunk
                    chunk = []
        except CorruptRecordError as error:
            self._failure = error
            raise
        if chunk:
            yield chunk
