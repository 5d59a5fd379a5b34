"""Layers of the sharp generator: sub-pixels, scenery, style; every preset's sizes and its file for the edge."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.exporters.export import export
from keras_a2i.layers import Canvas, StyleUnits, SubPixel, SubPixelInitializer
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.models.network import encoder_generator
from keras_a2i.models.presets import PRESETS
from keras_a2i.serving.predictor import load

SOUND = FeatureConfig(sample_rate=8000)
LIMITS = {"tiny": 500_000, "base": 3_000_000}


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("scale", [2, 4])
def test_sub_pixels_are_tensorflows_depth_to_space(scale, monkeypatch):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 2 * scale**2)).astype(np.float32)
    layer = SubPixel(scale)
    expected = tf.nn.depth_to_space(x, scale).numpy()
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    # Other backends take the way round by a transposition.
    monkeypatch.setattr("keras_a2i.layers.sub_pixel.keras.backend.backend", lambda: "numpy")
    np.testing.assert_array_equal(SubPixel(scale).call(keras.ops.convert_to_tensor(x)), expected)


def test_a_new_sub_pixel_convolution_draws_no_checkerboard():
    initializer = SubPixelInitializer(2)
    convolution = keras.layers.Conv2D(12, 3, padding="same", kernel_initializer=initializer)
    drawn = SubPixel(2)(convolution(np.random.default_rng(0).standard_normal((1, 6, 6, 4)).astype(np.float32))).numpy()
    blocks = drawn.reshape(1, 6, 2, 6, 2, 3)
    np.testing.assert_allclose(blocks, blocks[:, :, :1, :, :1] + np.zeros_like(blocks), atol=1e-6)
    again = SubPixelInitializer.from_config(initializer.get_config())
    assert again.scale == 2 and isinstance(again.kernel_initializer, keras.initializers.GlorotUniform)


def test_a_canvas_learns_what_is_always_there():
    model = keras.Sequential([keras.Input((4, 4, 1)), Canvas()])
    x = np.random.default_rng(0).standard_normal((64, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(model(x), x)
    scenery = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1) / 16
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(x, x + scenery, batch_size=16, epochs=60, verbose=0)
    np.testing.assert_allclose(model.layers[-1].canvas, scenery[0], atol=0.02)


def test_style_units_are_zeros_after_the_content():
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(StyleUnits(2)(x), [[1, 1, 1, 0, 0]] * 2)
    assert StyleUnits(2).compute_output_shape((None, 3)) == (None, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SubPixel(1), "scale must be a whole number from 2. Received: scale=1"),
        (lambda: SubPixel(2).compute_output_shape((None, 4, 4, 6)), "must be a multiple of 4. Received: 6"),
        (lambda: StyleUnits(0), "units must be a whole number from 1. Received: units=0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("layer", [SubPixel(2), Canvas(), StyleUnits(2)])
def test_layers_come_back_from_their_configuration(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_keeps_its_size_and_exports_with_built_in_operators(name, tmp_path):
    preset = PRESETS[name]
    model = encoder_generator(preset, sound=SOUND, image_size=32, channels=1)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) <= LIMITS.get(preset.size, np.inf)
    metadata = ModelMetadata(features=SOUND, image=ImageConfig(size=32, channels=1), input=preset.input, preset=name)
    save_model(model, tmp_path / "model.keras", metadata)
    done = export(tmp_path / "model.keras", tmp_path / "model.tflite", format="tflite")
    assert done.agreement.max < 1e-4
    interpreter = tf.lite.Interpreter(
        str(tmp_path / "model.tflite"),
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
    assert not {name for name in operators if name.startswith("Flex") or name == "CUSTOM"}
    inputs = np.zeros((2, metadata.n_inputs), np.float32)
    drawn = load(tmp_path / "model.tflite").predict_inputs(inputs)
    np.testing.assert_allclose(drawn, model.predict(inputs, verbose=0), atol=1e-4)
