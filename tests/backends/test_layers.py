"""Keras' own contract test of layers for every public layer, on the backend at hand."""

import keras
import numpy as np
import pytest
from keras.src import testing

from keras_a2i import layers
from keras_a2i.errors import UsageError

pytestmark = pytest.mark.backend

CASES = {
    # class: arguments, input shape, output shape, expected numbers of weights and random states
    layers.LogMel: ({"sample_rate": 8000}, (2, 4000), (2, 4, 26), {}),
    layers.MFCC: ({"sample_rate": 8000}, (2, 4000), (2, 4, 13), {}),
    layers.CepstralNormalization: ({}, (2, 6, 5), (2, 6, 5, 3), {}),
    layers.PCEN: ({}, (2, 6, 5), (2, 6, 5), {}),
    layers.TimeAlign: (
        {"n_frames": 8, "jitter": 0.1, "warp": 0.1, "seed": 1},
        (2, 12, 5),
        (2, 8, 5),
        {"expected_num_seed_generators": 1, "expected_num_non_trainable_variables": 1},
    ),
    layers.FrameAugmentation: (
        {"f_min": 60.0, "f_max": 4000.0, "noise_snr_db": 5.0, "seed": 1},
        (2, 12, 10),
        (2, 12, 10),
        {"expected_num_seed_generators": 1, "expected_num_non_trainable_variables": 1},
    ),
    layers.LabelHead: (
        {"n_labels": 3, "ensemble": 2},
        (2, 8),
        (2, 2, 3),
        {"expected_num_trainable_weights": 4},
    ),
    layers.LabelPrototypes: (
        {"n_labels": 3, "ensemble": 2, "style_units": 1},
        (2, 9),
        (2, 5),
        {"expected_num_trainable_weights": 5},
    ),
    layers.ExemplarAttention: (
        {"n_exemplars": 3, "grid_size": 4, "components": 2, "style_units": 1, "field_frequency": 1.0}
        | {"field_size": 1, "n_labels": 2, "balance_labels": True},
        (2, 5),
        (2, 4, 4, 2),
        {"expected_num_trainable_weights": 3, "expected_num_non_trainable_weights": 7},
    ),
    layers.ExemplarMosaic: (
        {"n_exemplars": 3, "grid_size": 4, "components": 2, "query_dim": 2, "style_units": 1},
        (2, 5),
        (2, 4, 4, 2),
        {"expected_num_trainable_weights": 3, "expected_num_non_trainable_weights": 8},
    ),
    layers.PatchDecoder: (
        {"patch_size": 2, "components": 4, "width": 8, "blocks": 1},
        (2, 3, 3, 4),
        (2, 6, 6, 3),
        {"expected_num_trainable_weights": 8, "expected_num_non_trainable_weights": 3},
    ),
    layers.AttentivePooling: ({"units": 3}, (2, 6, 5), (2, 5), {"expected_num_trainable_weights": 4}),
    layers.BatchNormalization: (
        {},
        (2, 4, 4, 8),
        (2, 4, 4, 8),
        {"expected_num_trainable_weights": 2, "expected_num_non_trainable_weights": 2},
    ),
    layers.Conv2DTranspose: (
        {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"},
        (2, 4, 4, 8),
        (2, 8, 8, 3),
        {"expected_num_trainable_weights": 2},
    ),
    layers.LatentPad: ({"units": 2}, (2, 3), (2, 5), {}),
    layers.SpatialBias: ({}, (2, 4, 4, 3), (2, 4, 4, 3), {"expected_num_trainable_weights": 1}),
    layers.StyleSampling: (
        {"weight": 0.5, "seed": 1},
        (2, 6),
        (2, 3),
        {"expected_num_seed_generators": 1, "expected_num_non_trainable_variables": 1, "expected_num_losses": 1},
    ),
    layers.DepthToSpace: ({"scale": 2}, (2, 3, 4, 8), (2, 6, 8, 2), {}),
}


def test_cases_cover_every_public_layer():
    public = {getattr(layers, name) for name in layers.__all__}
    assert {layer for layer in public if issubclass(layer, keras.layers.Layer)} == set(CASES)


class LayerContractTest(testing.TestCase):
    """`run_layer_test` builds, calls, saves, trains and checks mixed precision."""


def _contract_of(layer):
    arguments, input_shape, output_shape, expected = CASES[layer]

    def test(self):
        self.run_layer_test(layer, arguments, input_shape=input_shape, expected_output_shape=output_shape, **expected)

    return test


for _layer in CASES:
    _test = _contract_of(_layer)
    # To trace the training step of the others takes less than half a second.
    if _layer in (layers.LogMel, layers.MFCC, layers.TimeAlign, layers.FrameAugmentation):
        _test = pytest.mark.training(_test)
    setattr(LayerContractTest, f"test_{_layer.__name__}_keeps_the_contract_of_keras", _test)


@pytest.mark.training
def test_audio_layers_of_a_word_encoder_train():
    keras.utils.set_random_seed(0)
    waveform = keras.Input((4000,))
    mel = layers.LogMel(8000, convention="htk", frame_length=200, hop_length=80, n_mels=20, f_min=60.0, f_max=4000.0)
    x = layers.TimeAlign(16, jitter=0.08, warp=0.1, seed=1)(mel(waveform))
    x = layers.FrameAugmentation(f_min=60.0, f_max=4000.0, noise_snr_db=5.0, seed=2)(x)
    x = keras.layers.Flatten()(layers.CepstralNormalization()(x))
    x = layers.LabelPrototypes(2)(keras.layers.Dense(4)(x))
    model = keras.Model(waveform, keras.layers.Dense(3)(x))
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    audio, target = (0.1 * rng.standard_normal((8, 4000))).astype("float32"), np.ones((8, 3), "float32")
    before = model.get_weights()
    history = model.fit(audio, target, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert np.abs(model.get_weights()[-2] - before[-2]).max() > 1e-4


@pytest.mark.parametrize(("filters", "stride"), [(3, 2), (40, 2), (2, 4)])
def test_transposed_convolution_is_keras_own(filters, stride):
    options = {"strides": stride, "padding": "same", "bias_initializer": "normal"}
    layer = layers.Conv2DTranspose(filters, 2 * stride, **options)
    reference = keras.layers.Conv2DTranspose(filters, 2 * stride, **options)
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    reference(x)
    layer(x)
    layer.set_weights(reference.get_weights())
    for training in (False, True):
        found, expected = (keras.ops.convert_to_numpy(model(x, training=training)) for model in (layer, reference))
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_depth_to_space_of_unknown_sides_and_of_too_few_channels():
    inputs = keras.Input((None, None, 8))
    model = keras.Model(inputs, layers.DepthToSpace(2)(inputs))
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)
    expected = x.reshape(2, 3, 5, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 10, 2)
    assert model.output_shape == (None, None, None, 2)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x)), expected)
    with pytest.raises(UsageError, match=r"must be known and a multiple of 4.* Received: 5"):
        layers.DepthToSpace(2)(np.zeros((4, 2, 2, 5), np.float32))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_style_of_half_precision_is_that_of_float32_rounded(dtype):
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    for training in (True, False):
        found, expected = (layers.StyleSampling(seed=1, dtype=each) for each in (dtype, "float32"))
        half, full = found(x, training=training), expected(x, training=training)
        assert keras.backend.standardize_dtype(half.dtype) == found.compute_dtype != "float32"
        half, full = (keras.ops.convert_to_numpy(keras.ops.cast(each, "float32")) for each in (half, full))
        np.testing.assert_allclose(half, full, rtol=0.01, atol=0.01)
        # The divergence is a loss in float32: its squares overflow in half precision.
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(each.losses[0]) for each in (found, expected)))
