"""Keras' global settings of another project: the library's results stay the same."""

import keras
import numpy as np
import pytest
from support.processes import run_python
from support.training_states import attached, random_images, small_model, train_state

from keras_a2i import layers
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.metrics import METRICS
from keras_a2i.objectives import (
    Adversarial,
    ImageAutoencoder,
    MeanSquaredError,
    MultiScaleSSIM,
    Perceptual,
    Spectrum,
    TrainingModel,
)

pytestmark = pytest.mark.backend

AUDIO = (0.1 * np.random.default_rng(0).standard_normal((2, 4000))).astype("float32")
REAL, GENERATED = random_images(2, 32, 3, seed=1), random_images(2, 32, 3, seed=2)
FEATURES = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
IMAGES = random_images(8, 16, 1)


def results():
    """Outputs of audio layers, metrics, losses and objectives, as float32 arrays by name."""
    mel = layers.LogMel(8000, convention="htk", frame_length=200, hop_length=80, n_mels=20, f_min=60.0, f_max=4000.0)
    aligned = layers.TimeAlign(16)(mel(AUDIO))
    found = {
        "mfcc": layers.MFCC(8000)(AUDIO),
        "aligned": aligned,
        "normalized": layers.CepstralNormalization()(aligned),
        "augmented": layers.FrameAugmentation(f_min=60.0, f_max=4000.0, noise_snr_db=5.0, seed=1)(
            aligned, training=True
        ),
        "loss": BatchScaledMSE(4)(REAL, GENERATED),
    }
    found |= {name: spec.function(REAL, GENERATED) for name, spec in METRICS.items()}
    for objective in (MeanSquaredError(), MultiScaleSSIM(), Spectrum(seed=1)):
        found[f"{objective.name} objective"] = objective.loss(train_state(REAL, GENERATED))
        found[f"{objective.name} plain"] = objective(REAL, GENERATED)
    for name, value in found.items():
        assert keras.backend.standardize_dtype(value.dtype) == "float32", name
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def expected():
    return results()


SETTINGS = {
    "channels_first": lambda: keras.config.set_image_data_format("channels_first"),
    "float16": lambda: keras.config.set_floatx("float16"),
    "float64": lambda: keras.config.set_floatx("float64"),
    "mixed_float16": lambda: keras.config.set_dtype_policy("mixed_float16"),
    "mixed_bfloat16": lambda: keras.config.set_dtype_policy("mixed_bfloat16"),
}


@pytest.fixture(params=SETTINGS)
def setting(request, expected):
    policy = keras.config.dtype_policy()
    SETTINGS[request.param]()
    yield request.param
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)


@pytest.mark.training
def test_results_are_the_same_under_any_global_setting(setting, expected):
    for name, value in results().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-6, err_msg=f"{name}, {setting}")


@pytest.mark.usefixtures("setting")
@pytest.mark.parametrize("setting", ["channels_first"], indirect=True)
def test_image_layers_keep_channels_last():
    x = np.arange(2 * 3 * 5 * 8, dtype="float32").reshape(2, 3, 5, 8)
    found = keras.ops.convert_to_numpy(layers.DepthToSpace(2)(x))
    np.testing.assert_array_equal(found, x.reshape(2, 3, 5, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 10, 2))
    assert layers.SpatialBias()(x).shape == x.shape


@pytest.mark.training
def test_training_runs_under_any_global_setting(setting):
    keras.utils.set_random_seed(0)
    training = TrainingModel(small_model(), [MeanSquaredError(batch_size=8), Adversarial(0.01)])
    training.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    losses = training.fit(FEATURES, IMAGES, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    autoencoder = ImageAutoencoder(training.generator, batch_size=8)
    state = train_state(IMAGES, random_images(8, 16, 1, seed=3))
    assert np.isfinite(float(attached(Perceptual(), autoencoder).loss(state)))


def test_missing_backend_is_one_sentence():
    code = """
import keras_a2i.errors

for _ in range(2):
    try:
        keras_a2i.fit
    except keras_a2i.errors.BackendError as error:
        print(error)
"""
    done = run_python(code, backend="nosuch", check=False)
    first, second = done.stdout.splitlines()
    assert first == second and first.startswith("Keras must be able to import its backend. Received: 'nosuch' (")
    assert first.endswith(
        "Set the environment variable KERAS_BACKEND to tensorflow, jax or torch, whichever is installed"
    )
