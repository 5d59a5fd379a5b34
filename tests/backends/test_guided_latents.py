"""Latent vectors that gradient steps move, on the backend at hand: gradients, bounds, and that the best is kept."""

import keras
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from support.styled_models import exemplar_model, prototype_model

from keras_a2i.models.guided_latents import (
    GuidedLatents,
    classifies_within,
    embedding_space,
    frozen_copy,
    split_classifier,
    thumbnail_space,
)
from keras_a2i.models.image_encoder import image_encoder

UNITS, ROWS = 4, 3


def random_vectors(n, *, seed=0):
    return np.random.default_rng(seed).standard_normal((ROWS, n)).astype(np.float32)


def make(model, *, style=True, latent=False, batch=4, step_size=0.1, reach=0.25, prior=0.0):
    """The latents of a model behind its classifier, with its starts and random targets among embeddings."""
    keras.utils.set_random_seed(2)
    front, back = split_classifier(frozen_copy(model.generator))
    space = embedding_space(image_encoder(16, 3, 6, width=0.25), 6, model.image.shape)
    start = random_vectors(model.latent_dim)
    start[:, -UNITS:] = 0
    if front is not None:
        start = keras.ops.convert_to_numpy(front(start))
    targets = random_vectors(6, seed=1)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    options = {"style": style, "latent": latent, "step_size": step_size, "reach": reach, "prior": prior}
    return GuidedLatents(back, space, batch, style_units=UNITS, **options), start, targets


def distances(latents, vectors, targets):
    """1 - cosine, from the embeddings of the images alone."""
    embedded = keras.ops.convert_to_numpy(latents.space(latents.generator(vectors)))
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(1, abs=1e-4)
    return 1 - (embedded * targets).sum(axis=1)


@pytest.mark.training
@pytest.mark.backend
@pytest.mark.parametrize(("make_model", "latent"), [(prototype_model, True), (exemplar_model, False)])
def test_guided_images_are_nearer_and_vectors_within_their_bounds(make_model, latent):
    latents, start, targets = make(make_model(), latent=latent)
    vectors, before, after = latents.move(start, targets, 20)
    np.testing.assert_allclose(before, distances(latents, start, targets), atol=1e-4)
    np.testing.assert_allclose(after, distances(latents, vectors, targets), atol=1e-4)
    # A style that selects one stored image clearly may have no other within reach.
    stuck = int(make_model is exemplar_model and not latent)
    assert (after <= before).all() and (after < before - 0.005).sum() >= ROWS - stuck
    assert (np.linalg.norm(vectors[:, -UNITS:], axis=1) <= UNITS**0.5 + 1e-4).all()
    content = (vectors - start)[:, :-UNITS]
    if latent:
        assert np.abs(content).max() > 0
        assert (np.linalg.norm(content, axis=1) <= 0.2501 * np.linalg.norm(start[:, :-UNITS], axis=1)).all()
    else:
        np.testing.assert_array_equal(content, 0)


@pytest.mark.backend
@pytest.mark.parametrize("radius", [0.5, 5.0])
def test_step_follows_the_numerical_gradient(radius):
    """A step of plain descent of length 1 is the negative gradient, for styles within the ball and on its surface."""
    latents, given, targets = smooth_latents(radius)
    latents.compile(keras.optimizers.SGD(1.0))
    # A little away from the given vectors, where the way has a gradient too.
    offsets = 0.1 * np.random.default_rng(5).standard_normal((4, 6 + UNITS)).astype(np.float32)
    latents.best_loss.assign(np.full((4, 1), np.inf))
    latents.latent_offset.assign(offsets[:, :6])
    latents.style_offset.assign(offsets[:, 6:])
    latents.train_on_batch(np.concatenate([given, given[:1]]), np.concatenate([targets, targets[:1]]))
    moved = [keras.ops.convert_to_numpy(rows) for rows in (latents.latent_offset, latents.style_offset)]
    gradient = offsets - np.concatenate(moved, axis=1)

    def loss_of(offset, row):
        vector = given[row].astype(np.float64)
        vector[:6] += np.sqrt(np.square(vector[:6]).mean()) * offset[:6]
        vector[6:] += offset[6:]
        vector[6:] *= min(1, max(UNITS**0.5, radius) / np.linalg.norm(vector[6:]))
        # Changes in multiples of the reach, and in standard deviations.
        way = np.square(offset[:6] / 0.5).mean() + np.square(vector[6:] - given[row, 6:]).mean()
        return float(distances(latents, vector[None].astype(np.float32), targets[row : row + 1])[0]) + 0.15 * way

    for row in range(ROWS):
        at = offsets[row].astype(np.float64)
        numerical = np.mean([approx_fprime(at, loss_of, step, row) for step in (0.01, -0.01)], axis=0)
        np.testing.assert_allclose(gradient[row], numerical, atol=2e-3, rtol=0.02)
        assert np.abs(numerical).max() > 0.02


def smooth_latents(radius):
    """The latents of networks without kinks, so that differences are as good as gradients; styles of that norm."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    generator = keras.Sequential(
        [keras.Input((6 + UNITS,)), layers.Dense(256, activation="tanh"), layers.Reshape((16, 16, 1))]
    )
    encoder = keras.Sequential([keras.Input((16, 16, 1)), layers.Flatten(), layers.Dense(5, activation="tanh")])
    space = embedding_space(encoder, 5, (16, 16, 1))
    options = {"style": True, "latent": True, "step_size": 0.1, "reach": 0.5, "prior": 0.3}
    latents = GuidedLatents(frozen_copy(generator), space, 4, style_units=UNITS, **options)
    start, targets = random_vectors(6 + UNITS), random_vectors(5, seed=1)
    start[:, 6:] *= radius / np.linalg.norm(start[:, 6:], axis=1, keepdims=True)
    return latents, start, targets / np.linalg.norm(targets, axis=1, keepdims=True)


@pytest.mark.training
@pytest.mark.backend
def test_no_steps_and_no_better_ones_leave_vectors_exactly_as_they_are():
    latents, start, targets = make(prototype_model(), latent=True)
    start[:, -UNITS:] = 3 * random_vectors(UNITS, seed=3)
    vectors, before, after = latents.move(start, targets, 0)
    np.testing.assert_array_equal(vectors, start)
    np.testing.assert_array_equal(before, after)
    # The image is at its target already: every step is for the worse.
    own = keras.ops.convert_to_numpy(latents.space(latents.generator(start)))
    vectors, before, after = latents.move(start, own, 5)
    np.testing.assert_allclose(vectors, start, atol=0.05)
    assert before == pytest.approx(0, abs=1e-5) and (after <= before).all()


@pytest.mark.training
@pytest.mark.backend
def test_vectors_are_moved_one_by_one_and_the_same_each_time():
    latents, start, targets = make(prototype_model(), latent=True)
    first = latents.move(start, targets, 6)
    for again, expected in zip(latents.move(start, targets, 6), first, strict=True):
        np.testing.assert_array_equal(again, expected)
    alone, _, after = latents.move(start[1:2], targets[1:2], 6)
    np.testing.assert_allclose(alone[0], first[0][1], atol=1e-3)
    np.testing.assert_allclose(after[0], first[2][1], atol=1e-4)


@pytest.mark.training
@pytest.mark.backend
def test_steps_start_at_the_style_that_is_worth_its_way():
    latents, given, targets = make(prototype_model(), prior=0.1)
    styles = np.random.default_rng(4).standard_normal((5, UNITS)).astype(np.float32)
    inside = styles * np.minimum(1, UNITS**0.5 / np.linalg.norm(styles, axis=1, keepdims=True))
    vectors = np.tile(given, (6, 1, 1))
    vectors[1:, :, -UNITS:] = inside[:, None]
    found = np.stack([distances(latents, each, targets) for each in vectors])
    worth = found + np.append(0, 0.05 * np.square(inside).mean(axis=1))[:, None]
    best, before, after = latents.move(given, targets, 0, styles)
    np.testing.assert_allclose(before, found[0], atol=1e-4)
    chosen = worth.argmin(axis=0)
    np.testing.assert_allclose(after, found[chosen, range(ROWS)], atol=1e-4)
    np.testing.assert_allclose(best, vectors[chosen, range(ROWS)], atol=1e-5)
    assert chosen.any(), "At least one of the others is better."
    _, _, further = latents.move(given, targets, 10, styles)
    assert (further <= after + 1e-6).all() and further.sum() < after.sum() - 0.005


@pytest.mark.training
@pytest.mark.backend
def test_vectors_whose_loss_is_not_finite_stay_as_they_are():
    latents, given, targets = make(prototype_model())
    latents.move(given[::-1], targets, 2)
    targets[1] = np.nan
    vectors, before, after = latents.move(given, targets, 2)
    np.testing.assert_array_equal(vectors[1], given[1])
    assert np.isnan([before[1], after[1]]).all() and np.isfinite(np.delete(after, 1)).all()


@pytest.mark.training
@pytest.mark.backend
def test_prior_makes_ways_shorter():
    ways = []
    for prior in (0.0, 1.0, 100.0):
        latents, given, targets = make(prototype_model(), latent=True, prior=prior)
        vectors, before, after = latents.move(given, targets, 20)
        assert (after <= before).all()
        ways.append(np.linalg.norm(vectors - given))
    assert ways[0] > 1.2 * ways[1] and ways[1] > 4 * ways[2]


@pytest.mark.backend
def test_thumbnail_space_measures_the_mean_squared_error_of_thumbnails():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    vectors = keras.ops.convert_to_numpy(thumbnail_space((32, 32, 3))(images))
    small = images.reshape(2, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    expected = np.square(small[0] - small[1]).mean()
    assert 0.5 * np.square(vectors[0] - vectors[1]).sum() == pytest.approx(expected, rel=1e-4)


@pytest.mark.backend
@pytest.mark.parametrize("shape", [(32, 32, 3), (16, 16, 1), (8, 8, 1), (8, 8, 3)])
def test_embedding_space_scales_images_to_what_the_encoder_accepts(shape):
    """The encoder of 16 x 16 RGB images receives the means of larger ones, and grey ones three times."""
    keras.utils.set_random_seed(0)
    encoder = image_encoder(16, 3, 5, width=0.25)
    ramp = np.linspace(-1, 1, shape[0] * shape[1] * shape[2], dtype=np.float32).reshape(1, *shape)
    fitting = np.repeat(ramp, 3 // shape[2], axis=-1)
    if shape[0] == 32:
        fitting = fitting.reshape(1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    elif shape[0] == 8:
        fitting = keras.ops.convert_to_numpy(keras.ops.image.resize(fitting, (16, 16), data_format="channels_last"))
    expected = keras.ops.convert_to_numpy(encoder(fitting))[:, :4]
    found = keras.ops.convert_to_numpy(embedding_space(encoder, 4, shape)(ramp))
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-4)


def test_embedding_space_of_a_grey_encoder_weights_colours_as_pillow_does():
    from PIL import Image

    keras.utils.set_random_seed(0)
    encoder = image_encoder(16, 1, 5, width=0.25)
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    grey = np.asarray(Image.fromarray(colours).convert("L"))[None, ..., None]
    expected = np.asarray(encoder(grey.astype(np.float32) / 127.5 - 1))
    found = np.asarray(embedding_space(encoder, 5, (16, 16, 3))(colours[None].astype(np.float32) / 127.5 - 1))
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=5e-3)


@pytest.mark.training
def test_copy_and_parts_of_a_generator_make_the_same_images_and_freeze_nothing_else():
    for model in (prototype_model(), exemplar_model()):
        copy = frozen_copy(model.generator)
        assert not copy.trainable_weights and model.generator.trainable_weights
        vectors = random_vectors(model.latent_dim)
        expected = np.asarray(model.generator(vectors))
        np.testing.assert_allclose(np.asarray(copy(vectors)), expected, atol=1e-6)
        front, back = split_classifier(copy)
        assert (front is None) == (model.label_head is None)
        np.testing.assert_allclose(np.asarray(back(vectors if front is None else front(vectors))), expected, atol=1e-6)


def test_classifier_within_a_generator_of_ones_own_is_found():
    from support.training_states import small_model

    assert classifies_within(small_model(n_labels=3).generator)
    assert not classifies_within(small_model().generator) and not classifies_within(prototype_model().generator)
