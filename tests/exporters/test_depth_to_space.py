"""The rewriting of transposed convolutions: the same images, through nested models too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_a2i.errors import UsageError
from keras_a2i.exporters.depth_to_space import DepthToSpaceConv2D, to_depth_to_space

layers = keras.layers


def _all_layers(model):
    for layer in model.layers:
        yield from _all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def _randomize(model):
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.dtype == "float32":
            variable.assign(rng.normal(0, 0.2, variable.shape))
    return model


def _count(model, kind):
    return sum(isinstance(layer, kind) for layer in _all_layers(model))


@pytest.mark.training
@pytest.mark.parametrize("recipe", ["paper", "features"])
def test_to_depth_to_space_of_a_recipe_computes_the_same_images(make_model, recipe):
    model = make_model(recipe)
    light = to_depth_to_space(model)
    features = np.random.default_rng(0).normal(0, 15, (5, 104)).astype(np.float32)
    np.testing.assert_allclose(light.predict(features, verbose=0), model.predict(features, verbose=0), atol=1e-6)
    assert _count(light, DepthToSpaceConv2D) and not _count(light, layers.Conv2DTranspose)


@pytest.mark.parametrize("stride", [2, 4])
def test_depth_to_space_conv_equals_tensorflow_transposed_convolution(stride):
    rng = np.random.default_rng(stride)
    kernel = rng.normal(size=(2 * stride, 2 * stride, 5, 7)).astype(np.float32)
    bias, x = rng.normal(size=5).astype(np.float32), rng.normal(size=(2, 6, 6, 7)).astype(np.float32)
    expected = tf.nn.conv2d_transpose(x, kernel, (2, 6 * stride, 6 * stride, 5), stride) + bias
    layer = DepthToSpaceConv2D(kernel, bias, stride)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_to_depth_to_space_keeps_other_transposed_convolutions():
    inputs = keras.Input((104,), name="features")
    x = layers.Reshape((2, 2, 26))(inputs)
    for kernel, stride, padding in [(3, 2, "same"), (4, 1, "same")]:
        x = layers.Conv2DTranspose(4, kernel, stride, padding)(x)
    model = keras.Model(inputs, x)
    assert [type(layer) for layer in to_depth_to_space(model).layers] == [type(layer) for layer in model.layers]


@pytest.mark.training
def test_to_depth_to_space_of_nested_models_computes_the_same_images():
    """Two levels of nested models, with names that repeat, and one nested model that is called twice."""
    block = keras.Sequential(
        [keras.Input((4, 4, 6)), layers.Conv2DTranspose(6, 4, 2, "same"), layers.BatchNormalization(name="norm")]
    )
    latent = keras.Input((8,), name="latent")
    x = layers.Reshape((4, 4, 6))(layers.Dense(96, name="dense")(latent))
    x = layers.Add()([block(x), layers.ReLU()(block(layers.ReLU()(x)))])
    x = layers.BatchNormalization(name="norm")(layers.Conv2DTranspose(3, 4, 2, "same")(x))
    generator = keras.Model(latent, x, name="generator")
    inputs = keras.Input((104,), name="features")
    model = _randomize(keras.Model(inputs, layers.Activation("tanh")(generator(layers.Dense(8, name="dense")(inputs)))))
    light = to_depth_to_space(model)
    features = np.random.default_rng(1).normal(size=(5, 104)).astype(np.float32)
    np.testing.assert_allclose(light.predict(features, verbose=0), model.predict(features, verbose=0), atol=1e-5)
    assert _count(light, DepthToSpaceConv2D) == 2 and not _count(light, layers.Conv2DTranspose)
    assert not _count(light, layers.BatchNormalization) and _count(model, layers.BatchNormalization) == 2


def test_to_depth_to_space_folds_only_a_norm_of_its_own():
    """A convolution whose output is used twice, and a norm that follows two convolutions, stay apart."""
    inputs = keras.Input((4, 4, 3))
    norm = layers.BatchNormalization(name="shared")
    twice = layers.Conv2DTranspose(3, 4, 2, "same")(inputs)
    other = layers.Conv2DTranspose(3, 4, 2, "same")(inputs)
    outputs = layers.Add()([twice, layers.BatchNormalization()(twice), norm(other), norm(layers.ReLU()(other))])
    model = _randomize(keras.Model(inputs, outputs))
    light = to_depth_to_space(model)
    x = np.random.default_rng(2).normal(size=(3, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(light.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    assert _count(light, layers.BatchNormalization) == 2 and _count(light, DepthToSpaceConv2D) == 2


def test_to_depth_to_space_leaves_a_nested_model_with_code_of_its_own():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.up = layers.Conv2DTranspose(3, 4, 2, "same")

        def call(self, x, training=False):
            return keras.ops.tanh(self.up(x))

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, Own()(inputs, training=False))
    x = np.random.default_rng(2).normal(size=(3, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(to_depth_to_space(model).predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(UsageError, match=r"model must be a functional model, or a sequential one.* Received: Own"):
        to_depth_to_space(Own())


def test_to_depth_to_space_refuses_several_inputs():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    message = (
        r"must have one output and one input, or a second input for a reference image. Received: 2 inputs and 1 out"
    )
    with pytest.raises(UsageError, match=message):
        to_depth_to_space(keras.Model(inputs, layers.Add()(inputs)))
