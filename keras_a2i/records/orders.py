"""The orders in which the pairs of a split are read, and which image goes with which audio.

An order is a small object that maps a split to rows: a `tf.data.Dataset` of (row of the input, row of the image). A new
order is one class here with the decorator `@register`.
"""

import dataclasses
import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_a2i.errors import UsageError

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_a2i.records.decoded_split import DecodedSplit

ORDERS: dict[str, type["Order"]] = {}
"""Every order by its id."""


def register(order: type["Order"]) -> type["Order"]:
    """Adds an order to `ORDERS`."""
    ORDERS[order.id] = order
    return order


class Order:
    """Base class of all orders.

    Attributes:
        id: the name in `ORDERS`.
        needs_memory: whether the order needs the decoded split in memory; the others also work on a stream.
        seed: of the random order, or None where nothing is random.
        epoch: see `Shuffled`.
    """

    id: ClassVar[str]
    needs_memory: ClassVar[bool] = True
    seed: int | None = None
    epoch: Any = None

    def check(self, batch_size: int) -> None:
        """Raises a UsageError where the order can't fill batches of this size."""

    def rows(self, split: "DecodedSplit") -> "tf.data.Dataset":
        """The rows of one epoch.

        Args:
            split: the decoded split.

        Returns:
            A data set of two int64 scalars: the row of the input and the row of the image. Its cardinality is known.
        """
        raise NotImplementedError


def check_batch_size(batch_size: Any) -> None:
    """Raises a UsageError unless the number of pairs per batch is a whole number from 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise UsageError(f"batch_size must be 1 or more. Received: {batch_size!r}")


def check_order(order: Any, batch_size: int) -> None:
    """Raises a UsageError unless an order is one of this module and can fill batches of this size."""
    if not isinstance(order, Order):
        raise UsageError(
            f"order must be an order of keras_a2i.records.orders, such as Shuffled(seed=0). Received: {order!r}"
        )
    order.check(batch_size)


@register
@dataclasses.dataclass(frozen=True)
class InOrder(Order):
    """Every pair once, in the order in which it is stored."""

    id: ClassVar[str] = "in-order"
    needs_memory: ClassVar[bool] = False

    def rows(self, split: "DecodedSplit") -> "tf.data.Dataset":
        """Every row with itself; see `Order.rows`."""
        import tensorflow as tf

        return tf.data.Dataset.range(len(split)).map(lambda row: (row, row))


@register
@dataclasses.dataclass(frozen=True)
class Shuffled(Order):
    """Every pair once, in a new random order in every epoch.

    Args:
        seed: of the order, any integer.
        epoch: the number of the current epoch: a `tf.Variable`, or any object with an integer `value`, which the caller
            sets before each epoch. The order then depends only on `seed` and this number, so that a resumed training
            reads the same pairs as an uninterrupted one. None counts the iterations over the data set instead.

    Raises:
        UsageError: if `epoch` is something else.
    """

    id: ClassVar[str] = "shuffled"
    needs_memory: ClassVar[bool] = False
    seed: int = 0
    epoch: Any = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.epoch is not None and not hasattr(self.epoch, "value"):
            raise UsageError(
                "epoch must be a tf.Variable, an object with an integer attribute 'value', or None. "
                f"Received: epoch={self.epoch!r}"
            )

    def rows(self, split: "DecodedSplit") -> "tf.data.Dataset":
        """A permutation of the rows, each with itself; see `Order.rows`."""
        return self.permutation(len(split)).map(lambda row: (row, row))

    def permutation(self, count: int) -> "tf.data.Dataset":
        """The numbers 0 to `count` - 1, int64, shuffled."""
        import tensorflow as tf

        if self.epoch is None:
            return tf.data.Dataset.range(count).shuffle(count, seed=self.seed)

        def shuffle(_: tf.Tensor) -> tf.data.Dataset:
            shuffled = tf.random.experimental.stateless_shuffle(
                tf.range(count, dtype=tf.int64), tf.stack([tf.constant(self.seed, tf.int64), epoch_number(self.epoch)])
            )
            return tf.data.Dataset.from_tensor_slices(shuffled)

        order = tf.data.Dataset.range(1).flat_map(shuffle)
        return order.apply(tf.data.experimental.assert_cardinality(count))


@register
@dataclasses.dataclass(frozen=True)
class WithinLabel(Shuffled):
    """Every input once, shuffled, with the image of a random pair of the same label; every image occurs once, too.

    Args:
        seed: of the order and of the exchange, any integer.
        epoch: as in `Shuffled`.
    """

    id: ClassVar[str] = "within-label"
    needs_memory: ClassVar[bool] = True

    def rows(self, split: "DecodedSplit") -> "tf.data.Dataset":
        """A permutation of the rows, each with another row of its label; see `Order.rows`."""
        import tensorflow as tf

        numbers, inputs = split.label_numbers, self.permutation(len(split))
        sorted_rows = tf.constant(np.argsort(numbers, kind="stable"), tf.int64)
        labels = tf.constant(numbers, tf.float64)

        def exchange(place: tf.Tensor) -> tf.data.Dataset:
            seed = tf.stack([tf.constant(self.seed, tf.int64), place])
            random = tf.random.stateless_uniform((len(numbers),), seed, dtype=tf.float64)
            # Both lists are sorted by label: one keeps the order of the rows within a label, the other is random.
            partners = tf.cast(tf.argsort(labels + random), tf.int64)
            images = tf.scatter_nd(sorted_rows[:, None], partners, (len(numbers),))
            return inputs.map(lambda row: (row, images[row]))

        if self.epoch is None:
            places = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).take(1)
        else:
            places = tf.data.Dataset.range(1).map(lambda _: epoch_number(self.epoch))
        return places.flat_map(exchange).apply(tf.data.experimental.assert_cardinality(len(numbers)))


@register
@dataclasses.dataclass(frozen=True)
class Neighbours(Shuffled):
    """Half of the pairs, shuffled, each followed by the next pair of its source; for the last one, by the one before.

    An epoch has as many rows as the split, or one less if that number is odd. `batch_size` must be even, so that
    neighbours share a batch.

    Args:
        seed: of the order, any integer.
        epoch: as in `Shuffled`.
        from_epoch: the number of the first epoch in this order; in the epochs before, single pairs are shuffled. 0 if
            `epoch` is None.

    Raises:
        UsageError: if `from_epoch` needs an `epoch` and there is none.
    """

    id: ClassVar[str] = "neighbours"
    needs_memory: ClassVar[bool] = True
    from_epoch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.from_epoch and self.epoch is None:
            raise UsageError(f"from_epoch must be 0 without an epoch. Received: from_epoch={self.from_epoch}")

    def check(self, batch_size: int) -> None:
        """Raises a UsageError unless `batch_size` is even."""
        if batch_size % 2:
            raise UsageError(f"batch_size must be even with the order Neighbours. Received: batch_size={batch_size}")

    def rows(self, split: "DecodedSplit") -> "tf.data.Dataset":
        """Rows in twos, each with itself; see `Order.rows`."""
        import tensorflow as tf

        following, n_firsts = tf.constant(neighbour_rows(split.sources, split.times), tf.int64), len(split) // 2
        if not self.from_epoch:
            firsts = self.permutation(len(split)).take(n_firsts)
            rows = firsts.map(lambda row: tf.stack([row, following[row]])).unbatch()
        else:

            def choose(order: tf.Tensor) -> tf.data.Dataset:
                paired = tf.reshape(tf.stack([order[:n_firsts], tf.gather(following, order[:n_firsts])], axis=1), [-1])
                is_single = epoch_number(self.epoch) < self.from_epoch
                return tf.data.Dataset.from_tensor_slices(tf.where(is_single, order[: 2 * n_firsts], paired))

            rows = self.permutation(len(split)).batch(len(split)).flat_map(choose)
        return rows.apply(tf.data.experimental.assert_cardinality(2 * n_firsts)).map(lambda row: (row, row))


def neighbour_rows(sources: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The row of every pair's neighbour in time.

    Args:
        sources: the source id of every pair, str (n,).
        times: seconds within the source, float (n,).

    Returns:
        int64 (n,): the row of the next pair of the same source; of the previous one for the last pair of a source, and
        the row itself for a pair that is alone in its source.
    """
    order = np.lexsort((times, sources))
    neighbours = np.arange(len(order))
    same = sources[order][1:] == sources[order][:-1]
    neighbours[order[1:][same]] = order[:-1][same]
    neighbours[order[:-1][same]] = order[1:][same]
    return neighbours


def reference_rows(sources: np.ndarray, seed: int) -> "Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]":
    """A function that draws a reference for rows of a split: another row of the same source, all equally often.

    Args:
        sources: the source id of every pair, str (n,).
        seed: of the draws, any integer.

    Returns:
        A function of the rows, int64 (batch,), the number of the epoch and that of the batch, int64 scalars, which
        returns rows, int64 (batch,). A pair that is alone in its source is its own reference.
    """
    import tensorflow as tf

    order = np.argsort(sources, kind="stable")
    _, source, counts = np.unique(sources[order], return_inverse=True, return_counts=True)
    first = (np.cumsum(counts) - counts)[source]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    by_place = [tf.constant(values, tf.int64) for values in (order, first, counts[source], place)]

    def draw(rows: tf.Tensor, epoch: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        ordered, firsts, sizes, places = by_place
        at = tf.gather(places, rows)
        start, size = tf.gather(firsts, at), tf.gather(sizes, at)
        draws = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), batch)
        share = tf.random.stateless_uniform(tf.shape(rows), draws, dtype=tf.float64)
        # One to size - 1 places further round, so never the row itself.
        step = 1 + tf.cast(share * tf.cast(size - 1, tf.float64), tf.int64)
        return tf.gather(ordered, start + (at - start + step) % size)

    return draw


def epoch_number(epoch: Any) -> "tf.Tensor":
    """The current value of `Shuffled.epoch` as an int64 scalar, read whenever the graph runs."""
    import tensorflow as tf

    if isinstance(epoch, tf.Variable):
        return tf.cast(epoch, tf.int64)
    return tf.ensure_shape(tf.numpy_function(lambda: np.int64(epoch_value(epoch)), [], tf.int64), ())


def epoch_value(epoch: Any) -> int:
    """The current value of `Shuffled.epoch`."""
    return int(epoch.value if not callable(epoch.value) else epoch.numpy())
