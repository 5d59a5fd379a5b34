"""Orders: what an epoch holds, epochs that differ and come back, partners and neighbours."""

import types

import numpy as np
import pytest
import tensorflow as tf

from keras_a2i.errors import UsageError
from keras_a2i.records.orders import ORDERS, InOrder, Neighbours, Shuffled, WithinLabel, neighbour_rows


def rows_of(order, split):
    return np.array([(int(a), int(b)) for a, b in order.rows(split)])


@pytest.fixture
def split(records):
    return records.decoded("train")


def test_orders_are_registered_by_their_ids():
    assert {
        "in-order": InOrder,
        "shuffled": Shuffled,
        "within-label": WithinLabel,
        "neighbours": Neighbours,
    } == ORDERS


@pytest.mark.training
@pytest.mark.parametrize("order", [InOrder(), Shuffled(), WithinLabel(), Neighbours(), Shuffled(1, tf.Variable(0))])
def test_order_cardinality_is_the_number_of_rows(split, order):
    assert int(order.rows(split).cardinality()) == len(rows_of(order, split)) in (45, 44)


def test_in_order_keeps_the_stored_order(split):
    np.testing.assert_array_equal(rows_of(InOrder(), split), np.arange(45)[:, None].repeat(2, axis=1))


def test_shuffled_is_a_new_permutation_in_every_iteration(split):
    rows = Shuffled(3).rows(split)
    epochs = [[int(a) for a, _ in rows] for _ in range(3)]
    assert all(sorted(epoch) == list(range(45)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = Shuffled(3).rows(split)
    assert [[int(a) for a, _ in again] for _ in range(3)] == epochs
    assert [int(a) for a, _ in Shuffled(4).rows(split)] != epochs[0]


@pytest.mark.training
@pytest.mark.parametrize("kind", [Shuffled, WithinLabel, Neighbours])
@pytest.mark.parametrize("counter", [lambda n: tf.Variable(n), lambda n: types.SimpleNamespace(value=n)])
def test_order_depends_on_seed_and_epoch_alone(split, kind, counter):
    epoch = counter(0)
    order, epochs = kind(3, epoch), []
    rows = order.rows(split)
    for number in range(3):
        epoch.assign(number) if isinstance(epoch, tf.Variable) else setattr(epoch, "value", number)
        epochs.append([(int(a), int(b)) for a, b in rows])
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    resumed = kind(3, counter(2)).rows(split)
    for _ in range(2):
        assert [(int(a), int(b)) for a, b in resumed] == epochs[2]
    assert rows_of(kind(4, counter(2)), split).tolist() != rows_of(kind(3, counter(2)), split).tolist()


def test_order_is_the_same_for_a_variable_and_an_object(split):
    variable, plain = (rows_of(Shuffled(3, epoch), split) for epoch in (tf.Variable(5), types.SimpleNamespace(value=5)))
    np.testing.assert_array_equal(variable, plain)
    # The rows that this seed and this epoch have had since the first release: a resumed training depends on them.
    assert variable[:8, 0].tolist() == [27, 16, 33, 14, 32, 15, 44, 4]


@pytest.mark.parametrize("epoch", [None, tf.Variable(1)])
def test_within_label_exchanges_images_of_one_label_only(split, epoch):
    rows = rows_of(WithinLabel(3, epoch), split)
    inputs, images = rows.T
    assert sorted(inputs) == sorted(images) == list(range(45))
    np.testing.assert_array_equal(split.label_numbers[inputs], split.label_numbers[images])
    assert (inputs != images).sum() > 30
    assert inputs.tolist() != sorted(inputs)


@pytest.mark.parametrize("epoch", [None, tf.Variable(1)])
def test_neighbours_follow_each_other_in_their_source(split, epoch):
    rows = rows_of(Neighbours(3, epoch), split)
    np.testing.assert_array_equal(rows[:, 0], rows[:, 1])
    firsts, seconds = rows[0::2, 0], rows[1::2, 0]
    assert len(set(firsts)) == 22 and len(rows) == 44
    np.testing.assert_array_equal(split.sources[firsts], split.sources[seconds])
    expected = np.where(split.times[firsts] == 8, 7, split.times[firsts] + 1)
    np.testing.assert_array_equal(split.times[seconds], expected)


def test_neighbours_need_an_even_batch_size():
    Neighbours().check(8)
    Shuffled().check(7)
    with pytest.raises(UsageError, match=r"batch_size must be even with the order Neighbours. Received: batch_size=7"):
        Neighbours().check(7)


def test_neighbour_rows_go_by_source_and_time():
    sources, times = np.array(["b", "a", "b", "a", "a", "c"]), np.array([1.0, 2.0, 0.0, 5.0, 0.5, 3.0])
    assert neighbour_rows(sources, times).tolist() == [2, 3, 0, 1, 1, 5]


@pytest.mark.parametrize("kind", [Shuffled, WithinLabel, Neighbours])
def test_epoch_must_be_a_variable_or_have_a_value(kind):
    with pytest.raises(
        UsageError, match=r"epoch must be a tf.Variable, an object with .* 'value', or None. Received: "
    ):
        kind(0, 3)
