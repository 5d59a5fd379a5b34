"""From decoded or streamed pairs to the batches that `model.fit` reads: gathered, converted to floats, augmented.

Nothing here branches on the value of a tensor. AutoGraph, which would rewrite such branches, is off: rewriting takes a
second of every training.
"""

import tensorflow as tf

from keras_a2i.records.augmentation import Augmentation, augment
from keras_a2i.records.orders import Order, epoch_number, reference_rows
from keras_a2i.records.split_cache import SplitCache
from keras_a2i.records.split_reader import SplitReader


@tf.autograph.experimental.do_not_convert
def cached_batches(
    cache: SplitCache,
    input: str,
    order: Order,
    batch_size: int,
    repeat: bool,
    drop_remainder: bool,
    reference_seed: int | None = None,
) -> tf.data.Dataset:
    """Batches of (inputs, images, label numbers) of a split in memory, as stored.

    With `reference_seed`, (inputs, images, label numbers, reference images), drawn as `reference_rows` does.
    """
    rows = order.rows(cache.decoded(input))
    batches = (rows.repeat() if repeat else rows).batch(batch_size, drop_remainder=drop_remainder)
    inputs, images, numbers = cache.inputs(input), cache.images, cache.label_numbers

    def gather(input_rows: tf.Tensor, image_rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tf.gather(inputs, input_rows), tf.gather(images, image_rows), tf.gather(numbers, input_rows)

    if reference_seed is None:
        return batches.map(gather, num_parallel_calls=2)
    draw = reference_rows(cache.decoded(input).sources, reference_seed)

    def gather_with_references(numbered: tuple[tf.Tensor, tuple], place: tf.Tensor) -> tuple[tf.Tensor, ...]:
        number, (input_rows, image_rows) = numbered
        return *gather(input_rows, image_rows), tf.gather(images, draw(image_rows, place, number))

    places = _places(reference_seed, order)
    return tf.data.Dataset.zip((batches.enumerate(), places)).map(gather_with_references, num_parallel_calls=2)


@tf.autograph.experimental.do_not_convert
def streamed_batches(
    reader: SplitReader, input: str, order: Order, batch_size: int, repeat: bool, drop_remainder: bool, exact: bool
) -> tf.data.Dataset:
    """The same read from disk in every epoch; `exact` promises that no record will be skipped."""
    number = reader.number_labels()
    chunks = reader.chunks(order.seed, (input, "image", "label"), order.epoch)
    chunks = chunks.map(lambda chunk: (chunk[input], chunk["image"], number(chunk["label"])))
    batches = (chunks.repeat() if repeat else chunks).rebatch(batch_size, drop_remainder=drop_remainder)
    if not exact:
        return batches
    whole, rest = divmod(reader.count, batch_size)
    count = tf.data.INFINITE_CARDINALITY if repeat else whole + (rest > 0 and not drop_remainder)
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def to_floats(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 images as float32 in [-1, 1], as `from_uint8` does, in one pass."""
    return tf.quantization.dequantize(tf.bitcast(images, tf.quint8), -1.0, 1.0, mode="MIN_COMBINED")


@tf.autograph.experimental.do_not_convert
def to_model(batches: tf.data.Dataset, labels: bool) -> tf.data.Dataset:
    """Stored batches as (inputs, images) or (inputs, (images, label numbers)), inputs and images as floats.

    With reference images, the inputs are (inputs, references).
    """

    def convert(inputs: tf.Tensor, images: tf.Tensor, numbers: tf.Tensor, *references: tf.Tensor) -> tuple:
        if inputs.dtype == tf.int16:
            inputs = tf.cast(inputs, tf.float32) / 32768.0
        images, *shown = map(to_floats, (images, *references))
        return (inputs, *shown) if shown else inputs, (images, numbers) if labels else images

    return batches.map(convert, num_parallel_calls=2)


@tf.autograph.experimental.do_not_convert
def augmented(
    dataset: tf.data.Dataset, augmentation: Augmentation, sample_rate: int, seed: int, order: Order
) -> tf.data.Dataset:
    """The batches with changed waveforms; the draws depend on the seed, the epoch and the number of the batch."""

    def change(numbered: tuple[tf.Tensor, tuple], place: tf.Tensor) -> tuple[tf.Tensor | tuple, tf.Tensor]:
        number, (inputs, targets) = numbered
        waveforms, *references = inputs if isinstance(inputs, tuple) else (inputs,)
        draws = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(seed, tf.int64), place]), number)
        changed = augment(waveforms, draws, augmentation, sample_rate)
        return (changed, *references) if references else changed, targets

    return tf.data.Dataset.zip((dataset.enumerate(), _places(seed, order))).map(change, num_parallel_calls=2)


def read_ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, two of them computed ahead.

    tf.data's autotuning is off. There is nothing to tune, and its thread misses the notice that an epoch is over: the
    next epoch then begins when a pause of that thread ends, which may be after as long as the epoch itself took.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)


def _places(seed: int, order: Order) -> tf.data.Dataset:
    """The number of the epoch for every batch, without end."""
    if order.epoch is None:
        # Without an epoch, these numbers differ from batch to batch and from iteration to iteration.
        return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.range(1).map(lambda _: epoch_number(order.epoch)).repeat()
