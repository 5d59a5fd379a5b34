"""FlatAdam against Keras' own Adam and AdamW, variable by variable."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_a2i.errors import UsageError
from keras_a2i.optimizers import FlatAdam, make_adam

SHAPES = [(3, 4), (4,), (), (2, 2, 3)]


def variables():
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]


def gradients(step):
    rng = np.random.default_rng(step + 1)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES]


def trained(optimizer, chosen, steps=12):
    """Values after some steps in which only the chosen variables have gradients, but all of them every fourth step."""
    found = variables()
    optimizer.build(found)
    for step in range(steps):
        grads = gradients(step)
        keep = range(len(SHAPES)) if step % 4 == 0 else chosen
        optimizer.apply([keras.ops.convert_to_tensor(grads[i]) for i in keep], [found[i] for i in keep])
    optimizer.finalize_variable_values(found)
    return [np.array(variable) for variable in found]


OPTIONS = [
    {},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    {"weight_decay": 0.1},
    {"global_clipnorm": 0.5},
    {"use_ema": True, "ema_momentum": 0.8},
    {"weight_decay": 0.1, "global_clipnorm": 0.5, "use_ema": True, "ema_momentum": 0.8},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("chosen", [range(4), [1, 3]], ids=["all", "some"])
def test_weights_are_those_of_adam_of_keras(options, chosen):
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    reference = (keras.optimizers.AdamW if "weight_decay" in options else keras.optimizers.Adam)(rate, **options)
    expected = trained(reference, chosen)
    for value, other in zip(trained(FlatAdam(rate, **options), chosen), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=0, atol=1e-6)


def test_variable_without_gradient_keeps_its_value_and_its_moments():
    found = variables()
    optimizer = FlatAdam(0.1)
    optimizer.build(found)
    first = [keras.ops.convert_to_tensor(value) for value in gradients(0)]
    optimizer.apply(first, found)
    before = [np.array(variable) for variable in found]
    optimizer.apply([None, *first[1:]], found)
    np.testing.assert_array_equal(found[0], before[0])
    assert np.abs(np.array(found[1]) - before[1]).min() > 0


def test_state_of_the_optimizer_does_not_hold_the_weights():
    optimizer = FlatAdam(0.1, use_ema=True)
    optimizer.build(variables())
    n = sum(int(np.prod(shape)) for shape in SHAPES)
    assert [tuple(variable.shape) for variable in optimizer.variables] == [(), (), (n,), (n,), (n,)]


def test_constraint_holds_after_a_step():
    dense = layers.Dense(2, kernel_constraint=keras.constraints.NonNeg())
    dense.build((None, 3))
    optimizer = FlatAdam(10.0)
    grads = [keras.ops.ones_like(variable) for variable in dense.trainable_variables]
    optimizer.apply(grads, dense.trainable_variables)
    np.testing.assert_array_equal(dense.kernel, np.zeros((3, 2)))


def compiled(optimizer):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    model.compile(optimizer, "mse")
    return model


def fitted(model, epochs):
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(32, 5)), rng.normal(size=(32, 2)), epochs=epochs, verbose=0, shuffle=False)
    return model


@pytest.mark.training
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_fit_equals_that_with_adam(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        models = [fitted(compiled(optimizer), 3) for optimizer in (FlatAdam(0.01), keras.optimizers.Adam(0.01))]
    finally:
        keras.config.set_dtype_policy(before)
    for value, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-6)


@pytest.mark.training
def test_saved_model_continues_with_its_moments(tmp_path):
    model = fitted(compiled(FlatAdam(0.01, weight_decay=0.1, use_ema=True)), 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for value, other in zip(fitted(loaded, 1).get_weights(), fitted(model, 1).get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)


def test_configuration_round_trip():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    config = FlatAdam(rate, 0.5, weight_decay=0.1, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9).get_config()
    assert FlatAdam.from_config(dict(config)).get_config() == config


def test_half_precision_variables_raise():
    with pytest.raises(UsageError, match=r"must be float32\. Received: float16"):
        FlatAdam().build([keras.Variable(np.zeros(3, "float16"))])


def test_make_adam_is_flat_unless_there_are_replicas(monkeypatch):
    assert isinstance(make_adam(0.1), FlatAdam)
    monkeypatch.setattr("keras_a2i.optimizers.flat_adam.n_replicas", lambda: 2)
    assert type(make_adam(0.1)) is keras.optimizers.Adam
    assert type(make_adam(0.1, weight_decay=0.1)) is keras.optimizers.AdamW
