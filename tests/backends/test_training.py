"""`TrainingModel` on the backend at hand, and the same losses on all three."""

import keras
import numpy as np
import pytest
from support.processes import run_python
from support.reference_models import audio_and_references, reference_model
from support.training_states import random_images, small_model

from keras_a2i.metrics import SSIM
from keras_a2i.objectives import (
    Adversarial,
    Identity,
    ImageAutoencoder,
    LabelCrossentropy,
    MeanSquaredError,
    MultiScaleSSIM,
    Perceptual,
    Spectrum,
    TemporalDifference,
    TrainingModel,
    Variational,
)
from keras_a2i.optimizers import make_adam

FEATURES = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
IMAGES = random_images(8, 16, 1)
LABELS = np.arange(8, dtype=np.int32) % 2


@pytest.mark.training
@pytest.mark.backend
def test_training_model_with_every_objective_trains_validates_saves_and_loads(tmp_path):
    keras.utils.set_random_seed(0)
    model = small_model(style_units=2, n_labels=2)
    objectives = [
        *(MeanSquaredError(batch_size=4), MultiScaleSSIM(), Spectrum(), LabelCrossentropy(mixture=1.0), Variational()),
        *(Adversarial(), TemporalDifference(batch_size=4), keras.losses.Huber()),
    ]
    training = TrainingModel(model, objectives, total_steps=6, freeze_encoder_after=0.5)
    training.compile(keras.optimizers.AdamW(1e-3), metrics=[SSIM()])
    encoder = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: encoder.append([w.copy() for w in training.encoder.get_weights()])
    )
    history = training.fit(
        *(FEATURES, (IMAGES, LABELS)),
        batch_size=4,
        epochs=3,
        verbose=0,
        callbacks=[record],
        validation_data=(FEATURES, (IMAGES, LABELS)),
    ).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert {"val_ssim", "val_loss", "adversarial_loss", "huber_loss"} < set(history)
    # The fourth of six steps is the first with a frozen encoder; momentum and weight decay change nothing either.
    for before, after in zip(encoder[1], encoder[2], strict=True):
        np.testing.assert_array_equal(before, after)
    assert training.trained_steps == 6 and training.encoder_is_frozen
    training.save(tmp_path / "training.keras")
    again = keras.saving.load_model(tmp_path / "training.keras")
    again.run_eagerly = True
    expected = training.evaluate(FEATURES, (IMAGES, LABELS), verbose=0, return_dict=True)
    assert again.evaluate(FEATURES, (IMAGES, LABELS), verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-4)


@pytest.mark.training
@pytest.mark.backend
def test_training_model_with_a_reference_image_trains():
    model = reference_model()
    data = audio_and_references(4, model)
    training = TrainingModel(model, [MeanSquaredError(batch_size=4), Identity()], total_steps=2)
    training.compile("adam", run_eagerly=keras.backend.backend() == "tensorflow")
    history = training.fit(data, data[1][:, ::-1], batch_size=4, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values()) and "identity_loss" in history


@pytest.mark.training
@pytest.mark.backend
@pytest.mark.parametrize("make", [keras.optimizers.Adam, make_adam], ids=["Keras' Adam", "make_adam"])
def test_training_with_averaged_weights_can_be_continued(make):
    training = TrainingModel(small_model(), [MeanSquaredError()])
    training.compile(make(1e-2, use_ema=True, ema_momentum=0.5))
    losses = [training.fit(FEATURES, IMAGES, batch_size=8, verbose=0).history["loss"][0] for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.training
@pytest.mark.backend
def test_image_autoencoder_trains_and_serves_perceptual():
    keras.utils.set_random_seed(0)
    model = small_model()
    training = TrainingModel(model, [MeanSquaredError()])
    autoencoder = ImageAutoencoder(training.generator, 2, batch_size=8)
    autoencoder.compile("adam")
    losses = autoencoder.fit(IMAGES, LABELS, batch_size=8, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert np.isfinite(autoencoder.evaluate(IMAGES, LABELS, verbose=0))
    training = TrainingModel(model, [Perceptual()], autoencoder=autoencoder)
    training.compile("adam")
    before = [w.copy() for w in autoencoder.encoder.get_weights()]
    training.fit(FEATURES, (IMAGES, LABELS), epochs=1, verbose=0)
    for weight, again in zip(before, autoencoder.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, again)


@pytest.mark.training
@pytest.mark.backend
def test_plain_compile_with_an_image_objective_trains():
    keras.utils.set_random_seed(0)
    model = small_model()
    model.compile("adam", loss=Spectrum(), metrics=[SSIM()])
    losses = model.fit(FEATURES, IMAGES, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


LOSSES_OF_THREE_EPOCHS = """
import json

import keras
import numpy as np
from support.training_states import random_images, small_model

from keras_a2i.metrics import SSIM
from keras_a2i.objectives import LabelCrossentropy, MeanSquaredError, MultiScaleSSIM, TemporalDifference, TrainingModel

rng = np.random.default_rng(0)
features = rng.standard_normal((24, 6)).astype("float32")
images, labels = random_images(24, 16, 1), (np.arange(24) % 2).astype("int32")
temporal = TemporalDifference(0.1, batch_size=8)
objectives = [MeanSquaredError(batch_size=8), MultiScaleSSIM(), LabelCrossentropy(), temporal]
training = TrainingModel(small_model(n_labels=2), objectives, total_steps=9, freeze_encoder_after=0.5)
for variable in training.trainable_variables:
    if "kernel" in variable.path or "prototypes" in variable.path:
        variable.assign(0.3 * rng.standard_normal(variable.shape))
training.compile(keras.optimizers.AdamW(3e-3, global_clipnorm=1.0), metrics=[SSIM()])
history = training.fit(
    features, (images, labels), batch_size=8, epochs=3, shuffle=False, verbose=0,
    validation_data=(features[:8], (images[:8], labels[:8])),
).history
print("RESULT" + json.dumps(history))
"""


@pytest.mark.backend
@pytest.mark.training
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="compares another backend with TensorFlow")
def test_losses_of_three_epochs_are_those_of_tensorflow():
    backends = ("tensorflow", keras.backend.backend())
    expected, found = (run_python(LOSSES_OF_THREE_EPOCHS, backend=name) for name in backends)
    assert expected.keys() == found.keys() and {"loss", "ssim", "val_loss", "val_ssim", "labels_loss"} < set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    assert expected["loss"][2] < expected["loss"][0]
