"""Layers of generators: depth to space, spatial bias, style, prototypes; size and TFLite export of every recipe."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from support.networks import different_networks

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import UsageError
from keras_a2i.exporters.export import export
from keras_a2i.layers import (
    BatchNormalization,
    Conv2DTranspose,
    DepthToSpace,
    DepthToSpaceInitializer,
    LabelHead,
    LabelPrototypes,
    LatentPad,
    SpatialBias,
)
from keras_a2i.recipes import get_recipe
from keras_a2i.recipes.encoder_generator import encoder_generator
from keras_a2i.serving.predictor import load

AUDIO = FeatureConfig(sample_rate=8000)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("scale", [2, 4])
def test_depth_to_space_equals_tensorflow(scale, monkeypatch):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 2 * scale**2)).astype(np.float32)
    layer = DepthToSpace(scale)
    expected = tf.nn.depth_to_space(x, scale).numpy()
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    # Other backends transpose.
    monkeypatch.setattr("keras_a2i.layers.depth_to_space.keras.backend.backend", lambda: "numpy")
    np.testing.assert_array_equal(DepthToSpace(scale).call(keras.ops.convert_to_tensor(x)), expected)


@pytest.mark.parametrize("backend", ["tensorflow", "numpy"])
def test_depth_to_space_accepts_sides_that_are_not_known(backend, monkeypatch):
    monkeypatch.setattr("keras_a2i.layers.depth_to_space.keras.backend.backend", lambda: backend)
    inputs = keras.Input((None, None, 12))
    model = keras.Model(inputs, DepthToSpace(2)(inputs))
    assert model.output_shape == (None, None, None, 3)
    for sides in ((3, 5), (4, 2)):
        x = np.random.default_rng(0).standard_normal((2, *sides, 12)).astype(np.float32)
        # In a function, in which the sides are tensors.
        found = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 12))])(x)
        np.testing.assert_array_equal(found, tf.nn.depth_to_space(x, 2))


def test_depth_to_space_initializer_avoids_a_checkerboard():
    initializer = DepthToSpaceInitializer(2)
    convolution = keras.layers.Conv2D(12, 3, padding="same", kernel_initializer=initializer)
    images = DepthToSpace(2)(
        convolution(np.random.default_rng(0).standard_normal((1, 6, 6, 4)).astype(np.float32))
    ).numpy()
    blocks = images.reshape(1, 6, 2, 6, 2, 3)
    np.testing.assert_allclose(blocks, blocks[:, :, :1, :, :1] + np.zeros_like(blocks), atol=1e-6)
    again = DepthToSpaceInitializer.from_config(initializer.get_config())
    assert again.scale == 2 and isinstance(again.kernel_initializer, keras.initializers.GlorotUniform)


def _trained_once(layer, x, upstream):
    """Output in training, gradients of input and weights, moving statistics, and output in inference."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=True)
    gradients = tape.gradient(
        outputs, [x, *(weight.value for weight in layer.trainable_weights)], tf.constant(upstream)
    )
    return [outputs, *gradients, *layer.non_trainable_weights, layer(x, training=False)]


def _assert_like_keras(layer, reference, x, size, filters):
    """Values and gradients of a layer are those of Keras' own with the same weights."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, *x)) + 0.5).astype(np.float32)
    reference.build(x.shape)
    layer.build(x.shape)
    weights = [rng.uniform(0.2, 1, weight.shape) for weight in reference.weights]
    for each in (layer, reference):
        each.set_weights(weights)
    upstream = rng.standard_normal((3, *size, filters)).astype(np.float32)
    expected = _trained_once(reference, x, upstream)
    found = _trained_once(layer, x, upstream)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(np.abs(theirs).max()))


@pytest.mark.parametrize("options", [{"momentum": 0.9, "epsilon": 1e-5}, {"center": False, "scale": False}])
@pytest.mark.parametrize("channels", [8, 3])
def test_batch_normalization_is_keras_own(options, channels):
    layer, reference = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    _assert_like_keras(layer, reference, (5, 6, channels), (5, 6), channels)


def test_batch_normalization_of_feature_maps_is_one_operation_in_training(monkeypatch):
    layer = BatchNormalization()
    x = np.zeros((2, 4, 4, 8), np.float32)
    expected = layer(x)
    monkeypatch.setattr(keras.ops, "batch_normalization", lambda **_: pytest.fail("Keras' own operations"))
    np.testing.assert_array_equal(layer(x, training=True), expected)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("filters", [1, 3, 8])
def test_transposed_convolution_is_keras_own(stride, filters):
    options = {"kernel_size": 2 * stride, "strides": stride, "padding": "same"}
    layer, reference = Conv2DTranspose(filters, **options), keras.layers.Conv2DTranspose(filters, **options)
    _assert_like_keras(layer, reference, (3, 5, 4), (3 * stride, 5 * stride), filters)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        {"kernel_size": 4, "strides": 2, "padding": "same", "use_bias": False},
        {"kernel_size": 4, "strides": 2, "padding": "same", "activation": "tanh"},
    ],
)
def test_transposed_convolution_of_other_arguments_is_keras_own(options):
    layer, reference = Conv2DTranspose(3, **options), keras.layers.Conv2DTranspose(3, **options)
    _assert_like_keras(layer, reference, (4, 4, 4), (8, 8), 3)


@pytest.mark.training
def test_spatial_bias_learns_static_background():
    model = keras.Sequential([keras.Input((4, 4, 1)), SpatialBias()])
    x = np.random.default_rng(0).standard_normal((64, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(model(x), x)
    background = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1) / 16
    model.compile(keras.optimizers.Adam(0.05), "mse")
    # 240 steps; an epoch takes longer than its few steps.
    many = np.tile(x, (15, 1, 1, 1))
    model.fit(many, many + background, batch_size=16, epochs=4, verbose=0)
    np.testing.assert_allclose(model.layers[-1].canvas, background[0], atol=0.02)


def test_latent_pad_appends_zeros():
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(LatentPad(2)(x), [[1, 1, 1, 0, 0]] * 2)
    assert LatentPad(2).compute_output_shape((None, 3)) == (None, 5)


def test_label_prototypes_are_weighted_by_sharpened_probabilities():
    rng = np.random.default_rng(0)
    layer = LabelPrototypes(3, sharpness=4.0, style_units=2)
    x = rng.standard_normal((5, 8)).astype(np.float32)
    assert layer.compute_output_shape(x.shape) == layer(x).shape == (5, 8)
    kernel, bias, prototypes = rng.standard_normal((6, 3)), rng.standard_normal(3), rng.standard_normal((3, 6))
    layer.head.set_weights([kernel, bias])
    layer.prototypes.assign(prototypes)
    shares = scipy.special.softmax(4 * (x[:, :6] @ kernel + bias), axis=1)
    np.testing.assert_allclose(layer(x), np.hstack([shares @ prototypes, x[:, 6:]]), atol=1e-5)
    # Between two labels, 2 to 1: sharpened to 16 to 1.
    layer.head.set_weights([np.zeros((6, 3)), np.log([2.0, 1.0, 1e-9])])
    near = (16 * prototypes[0] + prototypes[1]) / 17
    np.testing.assert_allclose(layer(x)[:, :6], np.tile(near, (5, 1)), atol=1e-5)


def test_label_prototypes_of_an_ensemble_use_the_geometric_mean_of_probabilities():
    rng = np.random.default_rng(1)
    layer = LabelPrototypes(3, sharpness=1.0, ensemble=2)
    x = rng.standard_normal((5, 8)).astype(np.float32)
    layer(x)
    layer.head.set_weights([rng.standard_normal(shape) for shape in ((4, 3), (3,), (4, 3), (3,))])
    kernels = layer.head.get_weights()
    logits = [x[:, 4 * i : 4 * i + 4] @ kernels[2 * i] + kernels[2 * i + 1] for i in range(2)]
    np.testing.assert_allclose(layer.head(x), np.stack(logits, axis=1), atol=1e-5)
    shares = scipy.stats.gmean([scipy.special.softmax(each, axis=1) for each in logits], axis=0)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer(x), shares @ layer.prototypes.numpy(), atol=1e-5)
    assert layer.compute_output_shape((None, 8)) == (None, 4) and layer.prototypes.shape == (3, 4)


def test_label_prototypes_send_no_gradient_to_head_and_input():
    layer = LabelPrototypes(3)
    x = tf.Variable(np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    back = tape.gradient(loss, [x, layer.head.heads[0].kernel.value, layer.prototypes.value])
    assert back[0] is back[1] is None and np.abs(back[2]).max() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DepthToSpace(1), "scale must be a whole number from 2. Received: scale=1"),
        (
            lambda: DepthToSpace(2).compute_output_shape((None, 4, 4, 6)),
            "number of channels must be known and a multiple of 4, the square of scale=2. Received: 6. Give the layer",
        ),
        (lambda: DepthToSpace(2)(np.zeros((4, 2, 2, 5), np.float32)), r"multiple of 4.* Received: 5\."),
        (lambda: DepthToSpace(2)(keras.Input((4, 4, None))), "must be known .* Received: None"),
        (lambda: DepthToSpaceInitializer(2)((3, 3, 4, 10)), "multiple of 4.* Received: 10"),
        (lambda: LabelPrototypes(1), "n_labels must be 2 or more.*Received: n_labels=1, ensemble=1"),
        (lambda: LabelPrototypes(2, sharpness=0.0), "sharpness must be above 0.*sharpness=0.0"),
        (
            lambda: LabelHead(2, 3).build((None, 8)),
            "The length of the input must be a multiple of ensemble=3. Received: 8",
        ),
        (lambda: LatentPad(0), "units must be a whole number from 1. Received: units=0"),
    ],
)
def test_image_layer_with_an_invalid_argument_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(
    "layer", [DepthToSpace(2), SpatialBias(), LatentPad(2), LabelPrototypes(3, ensemble=2, style_units=1)]
)
def test_image_layer_config_round_trip(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


@pytest.mark.training
@pytest.mark.parametrize("name", different_networks())
def test_network_keeps_its_size_and_exports_with_built_in_operators(name, tmp_path):
    model = encoder_generator(get_recipe(name), features=AUDIO, image_size=32, channels=1, n_labels=3)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) <= 3_000_000
    done = export(model, tmp_path / "model.tflite", format="tflite")
    assert done.agreement.max < 1e-4
    interpreter = tf.lite.Interpreter(
        str(tmp_path / "model.tflite"),
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
    assert not {name for name in operators if name.startswith("Flex") or name == "CUSTOM"}
    inputs = np.zeros((2, model.metadata.n_inputs), np.float32)
    predictor = load(tmp_path / "model.tflite")
    if not model.has_reference:
        np.testing.assert_allclose(predictor.predict_inputs(inputs), model(inputs, training=False), atol=1e-4)
        return
    references = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)
    generated = predictor.predict_inputs(inputs, references=references)
    np.testing.assert_allclose(generated, model((inputs, references), training=False), atol=1e-4)
