"""Losses that XLA computes together with their gradients, against the same losses in eager execution."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from support.training_states import random_images, train_state

from keras_a2i.objectives import MultiScaleSSIM, Spectrum
from keras_a2i.objectives.compiled_loss import can_compile, compiled_loss


def _loss_and_gradient(objective, real, generated):
    with tf.GradientTape() as tape:
        tape.watch(generated)
        loss = 3 * objective.loss(train_state(real, generated))
    return loss, tape.gradient(loss, generated)


def _traced(function, real, generated):
    """Calls a function in a graph, whose batch size isn't known, and returns its results and its operations."""
    images = tf.TensorSpec((None, *real.shape[1:]))
    graph = tf.function(function).get_concrete_function(images, images)
    return graph(real, generated), {operation.type for operation in graph.graph.get_operations()}


@pytest.mark.training
@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("objective", [MultiScaleSSIM, functools.partial(Spectrum, seed=3)])
def test_compiled_loss_and_gradient_equal_those_of_eager_execution(objective, size):
    real = tf.constant(random_images(n=3, size=size))
    generated = tf.constant(np.clip(real + 0.3 * random_images(n=3, size=size, seed=1), -1, 1))
    expected = _loss_and_gradient(objective(), real, generated)
    (loss, gradient), operations = _traced(functools.partial(_loss_and_gradient, objective()), real, generated)
    # Blurs and spectra are inside the computation that XLA compiles.
    assert not operations & {"MatMul", "BatchMatMulV2", "DepthwiseConv2dNative", "Log1p"}
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    largest = np.abs(expected[1]).max()
    assert largest > 0
    np.testing.assert_allclose(gradient, expected[1], atol=1e-4 * largest)


def test_compiled_loss_passes_no_gradient_to_real_images():
    real, generated = (tf.constant(random_images(size=64, seed=seed)) for seed in (0, 1))

    @tf.function
    def gradients(real, generated):
        with tf.GradientTape() as tape:
            tape.watch([real, generated])
            loss = compiled_loss(lambda x, y: tf.reduce_mean((x - y) ** 2), real, generated)
        return tape.gradient(loss, [real, generated])

    of_real, of_generated = gradients(real, generated)
    assert of_real is None
    np.testing.assert_allclose(of_generated, 2 * (generated - real) / tf.size(real, out_type=tf.float32), rtol=1e-5)


def test_losses_are_compiled_in_graphs_of_large_images_without_a_gpu(monkeypatch):
    def in_graph(size):
        answers = []
        tf.function(lambda images: answers.append(can_compile(images))).get_concrete_function(
            tf.TensorSpec((None, size, size, 3))
        )
        return answers[0]

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert not can_compile(tf.zeros((1, 64, 64, 3)))
    assert [in_graph(size) for size in (32, 64, 256)] == [False, True, True]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not in_graph(256)
