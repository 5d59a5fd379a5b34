"""How long the steps of a training take without and with XLA on this machine, measured before it begins."""

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.objectives import TrainingModel
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.training.callbacks import assign_variables, variable_values
from keras_a2i.training.networks import compile_training
from keras_a2i.training.run_folder import PLAIN, XLA, is_faster_with_xla

_FIRST, _MEASURED = 1, 5
"""The step in which TensorFlow traces and XLA compiles, and those after it, of which the fastest counts."""
_HOPELESS = 3.0
"""Times the duration without XLA after which a step with it isn't repeated."""


def measure_step_times(
    model: TrainingModel, recipe: Recipe, inputs: Any, targets: Any, metrics: Sequence[keras.metrics.Metric] = ()
) -> dict[str, float]:
    """Trains a few steps without and with XLA on TensorFlow, undoes them, and compiles the model as is faster.

    The model's variables, those of its random numbers, and the optimizer's are afterwards what they were before, also
    where the measurement is interrupted.

    Args:
        model: what is to be trained.
        recipe: its recipe.
        inputs, targets: one batch, as `fit` receives them.
        metrics: those with which it is compiled.

    Returns:
        Milliseconds of a step, "plain" and "xla"; without the latter where XLA can't compile it.
    """
    import tensorflow as tf

    model.optimizer.build(model.trainable_variables)
    before = variable_values(model)
    times: dict[str, float] = {}
    try:
        times[PLAIN] = _fastest_step(model, inputs, targets)
        _compile_again(model, recipe, before, metrics, jit_compile=True)
        # Keras leaves XLA out for layers that don't support it; of others, some operations have no form for it.
        if model.jit_compile:
            with contextlib.suppress(tf.errors.OpError):
                times[XLA] = _fastest_step(model, inputs, targets, give_up=_HOPELESS * times[PLAIN])
    finally:
        if is_faster_with_xla(times):
            assign_variables(model, before)
        else:
            _compile_again(model, recipe, before, metrics, jit_compile=False)
    return times


def _compile_again(
    model: TrainingModel,
    recipe: Recipe,
    values: Sequence[np.ndarray],
    metrics: Sequence[keras.metrics.Metric],
    jit_compile: bool,
) -> None:
    compile_training(model, recipe, jit_compile, metrics)
    model.optimizer.build(model.trainable_variables)
    assign_variables(model, values)


def _fastest_step(model: TrainingModel, inputs: Any, targets: Any, give_up: float = math.inf) -> float:
    """Milliseconds; of the first one that is measured, where that is above `give_up`."""
    milliseconds: list[float] = []
    while len(milliseconds) < _FIRST + _MEASURED and not any(step > give_up for step in milliseconds[_FIRST:]):
        start = time.perf_counter()
        model.train_on_batch(inputs, targets)
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return round(min(milliseconds[_FIRST:]), 2)
