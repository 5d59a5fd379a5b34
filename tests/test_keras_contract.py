"""Every class that the library registers with Keras: its configuration, and saving and loading in a fresh process."""

import json

import keras
import numpy as np
import pytest
from support.processes import run_python
from support.training_states import random_images, small_model

import keras_a2i.serialization
from keras_a2i import layers, losses, metrics, models, objectives

keras_a2i.serialization.register()

REGISTERED = {name: value for name, value in keras.saving.get_custom_objects().items() if name.startswith("keras_a2i>")}
INSTANCES = {
    "AudioToImage": lambda: small_model(style_units=2, n_labels=2),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
    "ExemplarAttention": lambda: layers.ExemplarAttention(3, 4, 2, spread=0.2, style_units=1, field_frequency=1.0),
    "ExemplarMosaic": lambda: layers.ExemplarMosaic(3, 4, 2, query_dim=2, style_units=1, softness=0.2),
    "PatchDecoder": lambda: layers.PatchDecoder(2, 3, channels=1, width=8, blocks=1),
    "FrameAugmentation": lambda: layers.FrameAugmentation(f_min=60.0, f_max=4000.0, noise_snr_db=5.0, seed=3),
    "LabelHead": lambda: layers.LabelHead(3, ensemble=2),
    "LabelPrototypes": lambda: layers.LabelPrototypes(3, sharpness=2.0, style_units=1),
    "LatentPad": lambda: layers.LatentPad(2),
    "LossObjective": lambda: objectives.LossObjective(keras.losses.Huber(0.5), 2.0, name="huber"),
    "ImageAutoencoder": lambda: objectives.ImageAutoencoder(_training_model().generator, 2, batch_size=8, seed=3),
    "TokenEmbedder": lambda: models.TokenEmbedder(
        models.DiffusionConfig(preset="none", image_size=16), token_dims=(4, 6), token_scales=(0.1, 0.2), channels=(8,)
    ),
    "TrainingModel": lambda: _training_model(),
}
"""How to build what can't be built without arguments."""


def _training_model():
    kinds = (objectives.MeanSquaredError, objectives.MultiScaleSSIM, objectives.Spectrum, objectives.LabelCrossentropy)
    model = small_model(style_units=2, n_labels=2)
    others = [objectives.Variational(), objectives.Adversarial(), objectives.TemporalDifference(), keras.losses.Huber()]
    return objectives.TrainingModel(model, [*(kind() for kind in kinds), *others], total_steps=9)


def _build(name):
    short = name.removeprefix("keras_a2i>")
    return INSTANCES[short]() if short in INSTANCES else REGISTERED[name]()


def test_every_public_keras_class_is_registered():
    bases = keras.layers.Layer, keras.metrics.Metric, keras.losses.Loss, keras.initializers.Initializer
    abstract = {objectives.Objective, objectives.ImageObjective, metrics.ImageMetric}
    for module in (layers, losses, metrics, objectives):
        public = [getattr(module, name) for name in module.__all__]
        for value in public:
            if isinstance(value, type) and issubclass(value, bases) and value not in abstract:
                assert REGISTERED.get(f"keras_a2i>{value.__name__}") is value


@pytest.mark.training
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", REGISTERED)
def test_registered_class_returns_from_its_configuration(name, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        value = _build(name)
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(value)))
        again = keras.saving.deserialize_keras_object(config)
    finally:
        keras.config.set_dtype_policy(before)
    assert type(again) is type(value) is REGISTERED[name]
    assert json.dumps(again.get_config(), sort_keys=True) == json.dumps(value.get_config(), sort_keys=True)


def _model_of_every_layer():
    waveform = keras.Input((4000,))
    mel = layers.LogMel(8000, convention="htk", frame_length=200, hop_length=80, n_mels=20, f_min=60.0, f_max=4000.0)
    frames = layers.FrameAugmentation(f_min=60.0, f_max=4000.0)(layers.TimeAlign(16)(mel(waveform)))
    x = keras.layers.Flatten()(layers.CepstralNormalization()(frames))
    content = keras.layers.Concatenate()([x, keras.layers.Flatten()(layers.MFCC(8000)(waveform))])
    content = keras.layers.Dense(8)(content)
    latent = layers.LabelPrototypes(3, style_units=2)(layers.LatentPad(2)(content))
    logits = keras.layers.Flatten()(layers.LabelHead(3, ensemble=2)(content))
    x = keras.layers.Reshape((8, 8, 4))(keras.layers.Dense(256)(keras.layers.Concatenate()([latent, logits])))
    initializer = layers.DepthToSpaceInitializer(2)
    x = keras.layers.Conv2D(12, 3, padding="same", kernel_initializer=initializer)(layers.SpatialBias()(x))
    model = keras.Model(waveform, layers.DepthToSpace(2)(x))
    scores = [spec.metric() for spec in metrics.METRICS.values()]
    model.compile("adam", losses.BatchScaledMSE(4), metrics=scores)
    return model


FRESH_PROCESS = """
{imports}
import json
import sys

import numpy as np

for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{{sys.argv[1]}}/{{name}}.keras")
    # Of one step, tracing would be most of the time.
    model.run_eagerly = True
    data = np.load(f"{{sys.argv[1]}}/{{name}}.npz")
    np.testing.assert_allclose(model.predict(data["x"], verbose=0), data["expected"], atol=1e-5)
    y = (data["y"], data["labels"]) if name == "training" else data["y"]
    scores = model.evaluate(data["x"], y, verbose=0, return_dict=True)
    for key, value in scores.items():
        np.testing.assert_allclose(value, data["score_" + key], rtol=1e-3, atol=1e-5, err_msg=key)
print("RESULT" + json.dumps(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """Three trained models as files, each beside inputs and what it predicts and scores."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("saved")
    plain = small_model()
    plain.compile("adam", objectives.Spectrum(0.5), metrics=[metrics.SSIM()])
    training = _training_model()
    training.compile("adam", metrics=[metrics.SSIM()])
    rng, labels = np.random.default_rng(0), np.array([0, 1, 0, 1], np.int32)
    audio, features = 0.1 * rng.standard_normal((4, 4000)), rng.standard_normal((4, 6))
    for name, model, x, size, channels in (
        ("layers", _model_of_every_layer(), audio, 16, 3),
        ("plain", plain, features, 16, 1),
        ("training", training, features, 16, 1),
    ):
        x, y = x.astype(np.float32), random_images(4, size, channels)
        model.run_eagerly = True
        model.fit(x, (y, labels) if name == "training" else y, verbose=0)
        scores = model.evaluate(x, (y, labels) if name == "training" else y, verbose=0, return_dict=True)
        model.save(folder / f"{name}.keras")
        scores = {f"score_{key}": value for key, value in scores.items()}
        np.savez(folder / f"{name}.npz", x=x, y=y, labels=labels, expected=model.predict(x, verbose=0), **scores)
    return folder


@pytest.mark.training
@pytest.mark.parametrize(
    ("imports", "names"),
    [
        ("import keras_a2i\nimport keras", ("layers", "plain", "training")),
        ("import keras\nimport keras_a2i", ("plain",)),
    ],
)
def test_saved_models_load_in_a_fresh_process_that_imports_the_package_alone(saved_models, imports, names):
    assert run_python(FRESH_PROCESS.format(imports=imports), saved_models, *names) == list(names)
