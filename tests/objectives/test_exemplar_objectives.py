"""What trains a generator of exemplars: targets by similarity of images, and blends without seams."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from support.training_states import random_images, small_model, train_state

from keras_a2i.errors import UsageError
from keras_a2i.models import AudioToImage, ExemplarGenerator, MosaicGenerator, adapt_exemplars
from keras_a2i.models.exemplar_generator import find_exemplars
from keras_a2i.objectives import ExemplarBlending, ExemplarMatching, Mixtures, TrainingModel
from keras_a2i.objectives.exemplar_blending import blend as blend_tensors
from keras_a2i.objectives.exemplar_blending import multi_scale_error


def blend(*arrays):
    return ops.convert_to_numpy(blend_tensors(*(ops.convert_to_tensor(array) for array in arrays)))


def _exemplar_model(images, **options):
    """A model of 6 features, its vector of 4 numbers and the images as exemplars."""
    x = keras.Input((6,), name="features")
    encoder = keras.Model(x, keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(1))(x))
    generator = ExemplarGenerator(n_exemplars=len(images), width=8, blocks=1, **options)
    model = AudioToImage(encoder, generator, image_size=images.shape[1], channels=images.shape[3], style_units=2)
    adapt_exemplars(model, images)
    return model


@pytest.fixture(scope="module")
def images():
    """Two scenes of three similar images each."""
    scenes = random_images(2, 32)
    noise = 0.05 * np.random.default_rng(1).standard_normal((6, 32, 32, 3))
    return np.clip(scenes.repeat(3, axis=0) + noise, -1, 1).astype(np.float32)


def _content(model, rows):
    keys = ops.convert_to_numpy(find_exemplars(model)[0].keys)
    return np.concatenate([keys.T[rows], np.zeros((len(rows), 2))], axis=1).astype(np.float32)


def _attached(objective, model):
    objective.attach(model)
    return objective


def test_matching_is_lowest_where_audio_selects_exemplars_like_its_image(images):
    model = _exemplar_model(images)
    # Keys of one scene point one way, those of the other the opposite way.
    find_exemplars(model)[0].keys.assign(np.outer([1, 1, 0, 0], [1, 1, 1, -1, -1, -1]))
    matching = _attached(ExemplarMatching(scale=50.0), model)
    right, wrong = (
        float(matching.loss(train_state(images, images, content=_content(model, rows), training=False)))
        for rows in ([0, 1, 2, 3, 4, 5], [3, 4, 5, 0, 1, 2])
    )
    # Three exemplars of the scene share the target, and all keys of a scene are equal.
    np.testing.assert_allclose(right, np.log(3), atol=0.01)
    assert wrong > 90


def test_targets_of_matching_are_a_softmax_of_distances_between_thumbnails(images):
    model = _exemplar_model(images, components=48)
    matching = _attached(ExemplarMatching(temperature=0.2), model)
    found = ops.convert_to_numpy(matching._by_image(images[:2]))
    # All components of a patch, divided by nothing, are a rotation of its pixels: distances are those of the pixels.
    distances = np.square(images[:2, None] - images[None]).sum(axis=(2, 3, 4))
    expected = np.exp(-distances / (0.2 * distances.mean()))
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=2e-3)


def test_matching_of_mixtures_needs_the_selection_of_both(images):
    model = _exemplar_model(images)
    x = np.random.default_rng(3).standard_normal((6, 6)).astype(np.float32)
    share = np.random.default_rng(5).uniform(0, 1, (6, 1)).astype(np.float32)
    mixtures = Mixtures(model.encode(share * x + (1 - share) * np.roll(x, 1, axis=0)), ops.convert_to_tensor(share))
    state = train_state(images, images, content=np.asarray(model.encode(x)), mixtures=mixtures)
    alone, mixed = (float(_attached(ExemplarMatching(mixture=m), model).loss(state)) for m in (0.0, 1.0))
    targets = ops.convert_to_numpy(_attached(ExemplarMatching(), model)._by_image(images))
    similarity = ops.convert_to_numpy(find_exemplars(model)[0].similarities(mixtures.content[:, :4]))
    log_selected = np.asarray(ops.log_softmax(10 * similarity))
    expected = -np.mean(np.sum((share * targets + (1 - share) * np.roll(targets, 1, axis=0)) * log_selected, axis=1))
    np.testing.assert_allclose(mixed, (alone + expected) / 2, rtol=1e-4)


def test_matching_of_frames_adds_their_loss_and_that_of_their_mean(images):
    x = keras.Input((6,), name="features")
    encoder = keras.Model(x, keras.layers.Dense(12)(x))
    generator = MosaicGenerator(n_exemplars=6, query_dim=4, width=8, blocks=1)
    model = AudioToImage(encoder, generator, image_size=32, channels=3, style_units=2)
    recordings = np.array([0, 0, 0, 1, 1, 1])
    adapt_exemplars(model, images, sources=recordings)
    content = np.random.default_rng(3).standard_normal((6, 12)).astype(np.float32)
    matching = _attached(ExemplarMatching(), model)
    found = float(matching.loss(train_state(images, images, content=content, training=False)))
    keys = ops.convert_to_numpy(find_exemplars(model)[0].keys)
    queries = content.reshape(6, 3, 4)
    cosine = queries @ keys / np.linalg.norm(queries, axis=2)[..., None] / np.linalg.norm(keys, axis=0)
    votes = np.exp(10 * cosine)
    votes /= votes.sum(axis=2, keepdims=True)
    targets = ops.convert_to_numpy(matching._by_image(images))

    def crossentropy(targets, votes):
        frames = -(targets[:, None] * np.log(votes)).sum(axis=2).mean()
        return frames - (targets * np.log(votes.mean(axis=1))).sum(axis=1).mean()

    assert found == pytest.approx(crossentropy(targets, votes), rel=1e-4)
    # Which recording is heard counts by itself, with the rest of the weight.
    matching.within = 0.25
    found = float(matching.loss(train_state(images, images, content=content, training=False)))
    members = np.eye(2)[recordings]
    of_recordings = crossentropy(targets @ members, votes @ members)
    assert found == pytest.approx(0.25 * crossentropy(targets, votes) + 0.75 * of_recordings, rel=1e-4)


def test_gradient_of_matching_reaches_the_encoder_and_the_keys_alone(images):
    model = _exemplar_model(images)
    matching = _attached(ExemplarMatching(), model)
    x = random_images(6, 1, 6).reshape(6, 6)
    with tf.GradientTape() as tape:
        latent = model.encoder(x, training=True)
        loss = matching.loss(train_state(images, images, content=latent, inputs=ops.convert_to_tensor(x)))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    by_name = {v.path: g is not None for v, g in zip(model.trainable_variables, gradients, strict=True)}
    assert all(reached == ("decoder" not in path) for path, reached in by_name.items())
    assert len(by_name) == 11


def test_blend_of_an_image_with_itself_is_the_image():
    image = random_images(2, 32)
    mask = np.random.default_rng(2).uniform(0, 1, (2, 4, 4, 1)).astype(np.float32)
    np.testing.assert_allclose(blend(image, image, mask), image, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_blend_under_a_mask_of_one_image_is_that_image(share):
    one, other = random_images(2, 32), random_images(2, 32, seed=1)
    mask = np.full((2, 4, 4, 1), share, np.float32)
    found = blend(one, other, mask)
    np.testing.assert_allclose(found, one if share else other, atol=1e-5)


def test_blend_of_two_grounds_has_no_seam():
    one, other = (np.full((1, 64, 64, 1), value, np.float32) for value in (-0.5, 0.5))
    mask = np.zeros((1, 8, 8, 1), np.float32)
    mask[:, :, 4:] = 1
    found = blend(one, other, mask)[0, 32, :, 0]
    assert found[0] > 0.45 and found[-1] < -0.45
    # From ground to ground within four cells, and never by more than a tenth from pixel to pixel.
    assert np.abs(np.diff(found)).max() < 0.1


def test_multi_scale_error_weighs_what_survives_averaging():
    real = np.zeros((1, 16, 16, 1), np.float32)
    checkerboard = np.indices((16, 16)).sum(axis=0)[None, :, :, None] % 2 * 2.0 - 1
    np.testing.assert_allclose(float(multi_scale_error(real, real + 0.3)), 0.3, rtol=1e-5)
    np.testing.assert_allclose(float(multi_scale_error(real, checkerboard.astype(np.float32))), 1 / 3, rtol=1e-5)


def test_blending_in_evaluation_is_the_error_of_decoded_codes_and_draws_nothing(images):
    model = _exemplar_model(images, components=8)
    blending = _attached(ExemplarBlending(seed=4), model)
    _, decoder = find_exemplars(model)
    before = ops.convert_to_numpy(blending._seed_generator.state.value)
    found = float(blending.loss(train_state(images, images, training=False)))
    assert found == pytest.approx(float(multi_scale_error(images, decoder(decoder.encode(images)))), rel=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(blending._seed_generator.state.value), before)


def test_held_out_images_are_compared_in_a_window_in_the_middle():
    images = random_images(2, 64)
    model = _exemplar_model(images, components=8)
    blending = _attached(ExemplarBlending(), model)
    _, decoder = find_exemplars(model)
    middle = images[:, 16:48, 16:48]
    found = float(blending.loss(train_state(images, images, training=False)))
    assert found == pytest.approx(float(multi_scale_error(middle, decoder(decoder.encode(middle)))), rel=1e-5)


def test_crops_are_windows_of_whole_patches():
    images = random_images(2, 64)
    blending = ExemplarBlending(seed=4)
    places = set()
    for _ in range(12):
        crops = ops.convert_to_numpy(blending._crop(ops.convert_to_tensor(images), 4))
        found = [
            (y, x)
            for y in range(0, 33, 4)
            for x in range(0, 33, 4)
            if np.array_equal(crops, images[:, y : y + 32, x : x + 32])
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 6


@pytest.mark.training
def test_blending_trains_the_decoder_alone_to_hide_seams(images):
    model = _exemplar_model(images, components=6)
    training = TrainingModel(model, [ExemplarBlending(seed=4)], total_steps=60)
    training.compile(keras.optimizers.Adam(5e-3))
    before = {v.path: ops.convert_to_numpy(v) for v in model.variables}
    x, probe = np.zeros((6, 6), np.float32), _attached(ExemplarBlending(seed=9), model)
    state = train_state(images, images)
    start = np.mean([float(probe.loss(state)) for _ in range(20)])
    for _ in range(60):
        training.train_on_batch(x, images)
    assert np.mean([float(probe.loss(state)) for _ in range(20)]) < 0.9 * start
    changed = {path for path, value in before.items() if not np.array_equal(value, _by_path(model, path))}
    assert changed and all("decoder" in path for path in changed)


def _by_path(model, path):
    return ops.convert_to_numpy(next(v for v in model.variables if v.path == path))


def test_targets_by_label_are_equal_shares_of_its_exemplars(images):
    model = _exemplar_model(images)
    adapt_exemplars(model, images, np.array([0, 0, 0, 0, 1, 2]))
    matching = _attached(ExemplarMatching(by_label=True), model)
    assert matching.needs_labels and not ExemplarMatching().needs_labels
    found = ops.convert_to_numpy(matching._by_label(ops.convert_to_tensor(np.array([1, 0, 5]))))
    # No exemplar has the last label: it has no target.
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25, 0, 0], [0, 0, 0, 0, 0, 0]])
    with pytest.raises(UsageError, match="needs labels"):
        matching.loss(train_state(images, images, content=_content(model, [0] * 6)))


@pytest.mark.parametrize("argument", [{"scale": 0}, {"temperature": 0}, {"mixture": -1}, {"within": 1.5}])
def test_argument_of_matching_out_of_range_is_refused(argument):
    with pytest.raises(UsageError, match="scale and temperature must be above 0, mixture 0 or more"):
        ExemplarMatching(**argument)


def test_images_of_another_number_than_the_exemplars_are_refused(images):
    with pytest.raises(UsageError, match=r"There must be 6 images, one for each exemplar\. Received: 4"):
        adapt_exemplars(_exemplar_model(images), images[:4])
    with pytest.raises(UsageError, match="must have a generator with exemplars"):
        adapt_exemplars(small_model(), images)


@pytest.mark.parametrize("objective", [ExemplarMatching, ExemplarBlending])
def test_objective_of_exemplars_needs_a_generator_with_exemplars(objective):
    with pytest.raises(UsageError, match="needs a generator with exemplars, such as ExemplarGenerator"):
        objective().attach(small_model())
