"""The image autoencoder: what it learns, what it freezes, and that it saves and loads."""

import keras
import numpy as np
import pytest

from keras_a2i.layers import LabelPrototypes
from keras_a2i.objectives import ImageAutoencoder
from keras_a2i.objectives.image_autoencoder import NO_LABEL

LABELS = np.arange(64, dtype=np.int32) % 2
IMAGES = np.broadcast_to(np.where(LABELS, 0.8, -0.8)[:, None, None, None], (64, 16, 16, 1)).astype(np.float32)


def dense_generator():
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(256, "tanh"), keras.layers.Reshape((16, 16, 1))])


@pytest.mark.training
def test_image_autoencoder_reconstructs_images_and_predicts_labels_where_there_are_any():
    model = ImageAutoencoder(dense_generator(), n_labels=2, batch_size=16)
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(IMAGES, LABELS, batch_size=16, epochs=30, verbose=0)
    assert np.mean((model.predict(IMAGES, verbose=0) - IMAGES) ** 2) < 0.02
    assert (np.argmax(model.head(model.encoder(IMAGES)), axis=1) == LABELS).all()
    before = model.head.get_weights()
    model.fit(IMAGES, np.full(64, NO_LABEL, np.int32), batch_size=64, epochs=1, verbose=0)
    momentum_alone = [np.abs(a - b).max() for a, b in zip(before, model.head.get_weights(), strict=True)]
    assert max(momentum_alone) < 3e-3 and np.isfinite(momentum_alone).all()


@pytest.mark.training
def test_image_autoencoder_trains_the_label_heads_of_its_generator():
    inputs = keras.Input((8,))
    prototypes = LabelPrototypes(2, ensemble=2, style_units=2)
    images = keras.layers.Reshape((16, 16, 1))(keras.layers.Dense(256, "tanh")(prototypes(inputs)))
    model = ImageAutoencoder(keras.Model(inputs, images), n_labels=2, batch_size=16)
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(IMAGES, LABELS, batch_size=16, epochs=30, verbose=0)
    predicted = np.argmax(prototypes.head(model.encoder(IMAGES)[:, :6]), axis=-1)
    assert predicted.shape == (64, 2) and (predicted == LABELS[:, None]).all()
    model.freeze()
    assert prototypes.head.trainable and not model.head.trainable


@pytest.mark.training
def test_image_autoencoder_evaluates_what_it_predicts_and_reloads(tmp_path):
    model = ImageAutoencoder(dense_generator(), batch_size=16)
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(IMAGES, LABELS, batch_size=16, epochs=1, verbose=0)
    expected = 16 * np.mean((model.predict(IMAGES, verbose=0) - IMAGES) ** 2)
    assert model.evaluate(IMAGES, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "autoencoder.keras")
    again = keras.saving.load_model(tmp_path / "autoencoder.keras")
    np.testing.assert_allclose(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6)
    assert again.evaluate(IMAGES, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)
