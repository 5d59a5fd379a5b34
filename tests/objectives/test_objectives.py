"""Objectives: their values against hand and library computations, and what each may teach whom."""

import keras
import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers import LabelHead, LabelPrototypes
from keras_a2i.models.network import encoder_generator
from keras_a2i.models.recipes import get_recipe
from keras_a2i.objectives import (
    Adversarial,
    Contrastive,
    ImageAutoencoder,
    LabelCrossentropy,
    MeanSquaredError,
    MultiScaleSSIM,
    Objective,
    Perceptual,
    Spectrum,
    Step,
    TemporalDifference,
    TrainingModel,
    Variational,
)
from keras_a2i.objectives.image_autoencoder import NO_LABEL
from keras_a2i.objectives.pixel_losses import _rolled


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def pictures(n=4, size=32, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, size, size, channels)).astype(np.float32)


def step(real, generated, **values):
    known = {"labels": None, "content": None, "sampled": generated, "style": None, "progress": 0.5}
    values = known | values | {"images": real, "generated": generated}
    arrays = {name: tf.constant(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    return Step(**(values | arrays))


def test_pixels_are_the_papers_loss():
    real, generated = pictures(seed=1), pictures(seed=2)
    expected = 64 * np.mean((real - generated) ** 2)
    assert float(MeanSquaredError(batch_size=64).loss(step(real, generated))) == pytest.approx(expected, rel=1e-6)


def test_structure_is_the_mean_of_tensorflows_ssim_on_every_scale_that_fits():
    real = pictures(size=64)
    generated = np.clip(real + 0.3 * pictures(size=64, seed=1), -1, 1)
    scales = [(real, generated)]
    for _ in range(2):
        scales.append(tuple(tf.nn.avg_pool2d(x, 2, 2, "VALID").numpy() for x in scales[-1]))
    expected = np.mean([np.mean(1 - tf.image.ssim(a + 1, b + 1, 2.0)) for a, b in scales])
    assert float(MultiScaleSSIM().loss(step(real, generated))) == pytest.approx(expected, abs=2e-5)
    small = pictures(size=16), pictures(size=16, seed=1)
    expected = np.mean(1 - tf.image.ssim(small[0] + 1, small[1] + 1, 2.0))
    assert float(MultiScaleSSIM().loss(step(*small))) == pytest.approx(expected, abs=2e-5)


@pytest.fixture
def unmoved(monkeypatch):
    """Blocks that begin at the corner."""
    monkeypatch.setattr("keras.random.randint", lambda *_, **__: tf.constant([0, 0]))


@pytest.mark.usefixtures("unmoved")
def test_spectrum_compares_log_amplitudes_of_windowed_blocks():
    real, generated = pictures(size=32), 0.5 * pictures(size=32, seed=1)
    window = np.hanning(18)[1:-1, None] * np.hanning(18)[None, 1:-1]

    def logs(x):
        shifted = np.roll(x, (-8, -8), axis=(1, 2))
        blocks = [y[:, i : i + 16, j : j + 16] for y in (x, shifted) for i in (0, 16) for j in (0, 16)]
        amplitudes = np.abs(np.fft.fft2(np.stack(blocks) * window[..., None], axes=(2, 3)))
        return 0.5 * np.log(amplitudes**2 / 0.16**2 + 1)

    expected = np.mean(np.abs(logs(real) - logs(generated)))
    assert float(Spectrum().loss(step(real, generated))) == pytest.approx(expected, rel=1e-4)
    assert float(Spectrum().loss(step(real, real))) == 0


def test_blocks_of_the_spectrum_lie_elsewhere_each_time():
    real, generated = pictures(size=32), 0.5 * pictures(size=32, seed=1)
    objective, same = Spectrum(seed=3), Spectrum(seed=3)
    values = [float(objective.loss(step(real, generated))) for _ in range(4)]
    assert len(set(values)) > 2
    assert [float(same.loss(step(real, generated))) for _ in range(4)] == values
    shift = tf.constant([3, 5])
    np.testing.assert_array_equal(_rolled(tf.constant(real), shift), np.roll(real, (-3, -5), axis=(1, 2)))


@pytest.mark.usefixtures("unmoved")
def test_a_speckle_does_not_pass_for_sharpness():
    real = 0.3 * np.random.default_rng(0).standard_normal((2, 64, 64, 1)).astype(np.float32)
    blurred = tf.nn.avg_pool2d(real, 5, 1, "SAME").numpy()
    speckled = blurred.copy()
    speckled[:, 31:33, 31:33] += np.float32([[3, -3], [-3, 3]])[None, ..., None]
    without, with_speckle = (float(Spectrum().loss(step(real, drawn))) for drawn in (blurred, speckled))
    assert with_speckle > 0.9 * without


def test_spectrum_prefers_a_moved_picture_to_a_blurred_one_where_pixels_do_not():
    real = pictures(size=32)
    moved, blurred = np.roll(real, 1, axis=2), tf.nn.avg_pool2d(real, 3, 1, "SAME").numpy()
    assert Spectrum().loss(step(real, moved)) < 0.8 * Spectrum().loss(step(real, blurred))
    assert MeanSquaredError().loss(step(real, moved)) > MeanSquaredError().loss(step(real, blurred))


def test_labels_are_named_from_the_content():
    objective = LabelCrossentropy(1.0, n_content=3, n_labels=4)
    content, labels = np.eye(3, dtype=np.float32), np.array([0, 3, 1], np.int32)
    kernel, bias = objective.head.get_weights()
    logits = content @ kernel + bias
    wanted = 0.9 * np.eye(4)[labels] + 0.1 / 4
    expected = tf.nn.softmax_cross_entropy_with_logits(wanted, logits).numpy().mean()
    found = objective.loss(step(None, None, content=content, labels=labels))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_each_of_an_ensemble_learns_labels_by_itself():
    objective = LabelCrossentropy(1.0, n_content=6, n_labels=4, ensemble=2)
    content = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    labels = np.array([0, 3, 1], np.int32)
    alone = []
    for i in range(2):
        one = LabelCrossentropy(1.0, n_content=3, n_labels=4)
        one.head.set_weights(objective.head.get_weights()[2 * i : 2 * i + 2])
        alone.append(float(one.loss(step(None, None, content=content[:, 3 * i : 3 * i + 3], labels=labels))))
    found = float(objective.loss(step(None, None, content=content, labels=labels)))
    assert found == pytest.approx(np.mean(alone), rel=1e-5)


def test_a_head_of_the_model_s_own_is_what_learns_labels():
    head = LabelHead(4)
    head.build((None, 3))
    assert LabelCrossentropy(1.0, n_content=3, n_labels=4, head=head).trainable_variables == head.trainable_variables


def test_divergence_is_that_of_normal_distributions():
    mean, log_variance = 0.7, -0.9
    deviation = np.exp(0.5 * log_variance)

    def integrand(x):
        log_p = -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation)
        return np.exp(log_p) / np.sqrt(2 * np.pi) * (log_p + 0.5 * x**2)

    expected, _ = scipy.integrate.quad(integrand, -10, 10)
    objective = Variational(1.0, 16, 1, style_units=3)
    style = np.full((5, 3), mean, np.float32), np.full((5, 3), log_variance, np.float32)
    assert float(objective.loss(step(None, None, style=style))) == pytest.approx(3 * expected, rel=1e-5)
    drawn = objective.draw_style(np.full((20_000, 3), mean, np.float32), np.full((20_000, 3), log_variance, np.float32))
    assert float(ops.mean(drawn)) == pytest.approx(mean, abs=0.02)
    assert float(ops.std(drawn)) == pytest.approx(deviation, abs=0.02)


def test_objectives_come_in_when_they_are_told_to():
    variational = Variational(1.0, 16, 1, style_units=2, warmup=0.4)
    assert [round(float(variational.ramp(p)), 3) for p in (0.0, 0.1, 0.4, 0.9)] == [0, 0.25, 1, 1]
    assert Variational(1.0, 16, 1, style_units=2, warmup=0.0).ramp(0.0) == 1
    adversarial = Adversarial(1.0, 16, 1, 4, start=0.3)
    assert [float(adversarial.ramp(p)) for p in (0.0, 0.29, 0.3, 1.0)] == [0, 0, 1, 1]


def test_each_side_of_the_game_learns_its_own_part():
    objective = Adversarial(1.0, 16, 1, n_content=4, smoothness=0.0)
    judge = objective.discriminator
    real, content = pictures(size=16, channels=1), np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    fake, heard = tf.Variable(pictures(size=16, channels=1, seed=1)), tf.Variable(content)
    with tf.GradientTape(persistent=True) as tape:
        loss = objective.loss(step(real, fake, content=heard))
        on_real, on_fake = judge([tf.constant(real), tf.constant(content)]), judge([fake.value(), tf.constant(content)])
        critic = tf.reduce_mean(tf.nn.relu(1 - on_real)) + tf.reduce_mean(tf.nn.relu(1 + on_fake))
        praise = -tf.reduce_mean(judge([fake.value(), tf.constant(content)]))
    weights = [v.value for v in judge.trainable_variables]
    still = tf.GradientTape()
    with still:
        alone = tf.reduce_mean(tf.nn.relu(1 - judge([tf.constant(real), tf.constant(content)])))
        alone += tf.reduce_mean(tf.nn.relu(1 + judge([tf.constant(fake.numpy()), tf.constant(content)])))
    for found, expected in zip(tape.gradient(loss, weights), still.gradient(alone, weights), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, fake), tape.gradient(praise, fake), atol=1e-7)
    assert tape.gradient(loss, heard) is None
    assert float(loss) == pytest.approx(float(critic + praise), rel=1e-5)


def test_smoothness_estimates_the_squared_gradient_at_real_pictures():
    objective = Adversarial(1.0, 16, 1, n_content=4, smoothness=2.0)
    plain = Adversarial(1.0, 16, 1, n_content=4, smoothness=0.0)
    plain.discriminator.set_weights(objective.discriminator.get_weights())
    real, content = pictures(n=64, size=16, channels=1), np.ones((64, 4), np.float32)
    given = tf.Variable(real)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(objective.discriminator([given.value(), tf.constant(content)]))
    expected = float(tf.reduce_sum(tape.gradient(total, given) ** 2)) / 64
    with_penalty = np.mean([float(objective.loss(step(real, real, content=content))) for _ in range(30)])
    without = float(plain.loss(step(real, real, content=content)))
    assert with_penalty - without == pytest.approx(expected, rel=0.2)


@pytest.fixture(scope="module")
def autoencoder():
    keras.utils.set_random_seed(0)
    recipe = get_recipe("tiny", encoder_units=(16, 8), base_channels=8, generator_channels=(8,))
    generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16 * 16), keras.layers.Reshape((16, 16, 1))])
    assert recipe.encoder_units[-1] == generator.input_shape[-1]
    return ImageAutoencoder(generator, n_labels=2, batch_size=8)


def test_alignment_is_the_contrast_of_sounds_and_pictures(autoencoder):
    objective, real = Contrastive(1.0, autoencoder), pictures(size=16, channels=1)
    seen = autoencoder.encoder.predict(real, verbose=0)
    heard = np.random.default_rng(1).standard_normal(seen.shape).astype(np.float32)

    def expected(heard, own):
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (heard, seen))
        near = a @ b.T / 0.1
        total = 0
        for side in (near, near.T):
            logs = side - np.log(np.exp(side).sum(axis=1, keepdims=True))
            total -= np.mean((own / own.sum(axis=1, keepdims=True) * logs).sum(axis=1)) / 2
        return total

    found = float(objective.loss(step(real, None, content=heard)))
    assert found == pytest.approx(expected(heard, np.eye(4)), rel=1e-4)
    labels = np.array([0, 1, 0, 1], np.int32)
    found = float(objective.loss(step(real, None, content=heard, labels=labels)))
    assert found == pytest.approx(expected(heard, (labels[:, None] == labels[None]).astype(float)), rel=1e-4)
    assert float(objective.loss(step(real, None, content=seen))) < expected(heard, np.eye(4))
    assert not objective.trainable_variables


def test_consistency_sees_what_the_autoencoder_sees_and_teaches_it_nothing(autoencoder):
    objective, real = Perceptual(1.0, autoencoder), pictures(size=16, channels=1)
    assert float(objective.loss(step(real, real))) == 0
    other = pictures(size=16, channels=1, seed=5)
    look = [layer.output for layer in autoencoder.encoder.layers if layer.name.startswith("features_")]
    maps = keras.Model(autoencoder.encoder.inputs, look)
    pairs = zip(keras.tree.flatten(maps(real)), keras.tree.flatten(maps(other)), strict=True)
    expected = np.mean([np.mean((a - b) ** 2) / (np.mean(np.square(a)) + 1e-6) for a, b in pairs])
    assert float(objective.loss(step(real, other))) == pytest.approx(expected, rel=1e-4)
    labels = np.array([0, 1, 1, 0], np.int32)
    named = autoencoder.head(autoencoder.encoder(real))
    naming = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, named).numpy().mean()
    assert float(objective.loss(step(real, real, labels=labels))) == pytest.approx(naming, rel=1e-4)
    assert not objective.trainable_variables


def test_temporal_is_the_error_of_the_change_between_neighbours():
    real = np.zeros((5, 16, 16, 1), np.float32)
    generated = real + np.array([0.1, 0.4, 0.3, 0.3, 9.0], np.float32)[:, None, None, None]
    # The pairs' changes are off by 0.3 and 0; the fifth has no neighbour.
    assert float(TemporalDifference(1.0, batch_size=10).loss(step(real, generated))) == pytest.approx(
        10 * 0.09 / 2, rel=1e-5
    )


def test_the_autoencoder_draws_pictures_again_and_names_those_that_have_labels():
    generator = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(256, "tanh"), keras.layers.Reshape((16, 16, 1))]
    )
    model = ImageAutoencoder(generator, n_labels=2, batch_size=16)
    model.compile(keras.optimizers.Adam(3e-3))
    labels = np.arange(64, dtype=np.int32) % 2
    images = np.broadcast_to(np.where(labels, 0.8, -0.8)[:, None, None, None], (64, 16, 16, 1)).astype(np.float32)
    model.fit(images, labels, batch_size=16, epochs=30, verbose=0)
    assert np.mean((model.predict(images, verbose=0) - images) ** 2) < 0.02
    assert (np.argmax(model.head(model.encoder(images)), axis=1) == labels).all()
    before = model.head.get_weights()
    model.fit(images, np.full(64, NO_LABEL, np.int32), batch_size=64, epochs=1, verbose=0)
    momentum_alone = [np.abs(a - b).max() for a, b in zip(before, model.head.get_weights(), strict=True)]
    assert max(momentum_alone) < 3e-3 and np.isfinite(momentum_alone).all()


def test_a_generator_that_decides_between_labels_learns_to_from_pictures():
    inputs = keras.Input((8,))
    decided = LabelPrototypes(2, ensemble=2, style_units=2)
    drawn = keras.layers.Reshape((16, 16, 1))(keras.layers.Dense(256, "tanh")(decided(inputs)))
    model = ImageAutoencoder(keras.Model(inputs, drawn), n_labels=2, batch_size=16)
    model.compile(keras.optimizers.Adam(3e-3))
    labels = np.arange(64, dtype=np.int32) % 2
    images = np.broadcast_to(np.where(labels, 0.8, -0.8)[:, None, None, None], (64, 16, 16, 1)).astype(np.float32)
    model.fit(images, labels, batch_size=16, epochs=30, verbose=0)
    named = np.argmax(decided.head(model.encoder(images)[:, :6]), axis=-1)
    assert named.shape == (64, 2) and (named == labels[:, None]).all()
    model.freeze()
    assert decided.head.trainable and not model.head.trainable


class Half(Objective):
    """An objective of a user's own."""

    def loss(self, step):
        return 0.5 * ops.mean(ops.square(step.images - step.generated))


def small(recipe="tiny", **values):
    values = {"encoder_units": (16, 8), "base_channels": 8, "generator_channels": (8,), "dropout": 0.0} | values
    recipe = get_recipe(recipe, feature_noise=0.0, **values)
    return encoder_generator(recipe, n_features=6, image_size=16, channels=1)


def test_the_loss_is_the_weighted_sum_and_each_part_is_reported():
    model = TrainingModel(small(), [MeanSquaredError(2.0, batch_size=8), Half(4.0, name="half")])
    model.compile(keras.optimizers.SGD(0.0))
    features = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    found = model.fit(features, pictures(8, 16, 1), batch_size=8, epochs=1, verbose=0).history
    assert found["loss"][0] == pytest.approx(2 * found["mse"][0] + 4 * found["half"][0], rel=1e-5)
    assert found["mse"][0] == pytest.approx(16 * found["half"][0], rel=1e-5)


def test_one_objective_alone_trains_as_keras_own_loss_does():
    features = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    images, results = pictures(8, 16, 1), []
    for wrap in (True, False):
        keras.utils.set_random_seed(3)
        model = small()
        trained = TrainingModel(model, [MeanSquaredError(batch_size=8)]) if wrap else model
        trained.compile(keras.optimizers.Adam(1e-2), None if wrap else MeanSquaredError(batch_size=8)._compare)
        history = trained.fit(features, images, batch_size=8, epochs=3, verbose=0, shuffle=False).history
        results.append((list(history), history["loss"], model.predict(features, verbose=0)))
    assert results[0][0] == results[1][0] == ["loss"]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)
    np.testing.assert_allclose(results[0][2], results[1][2], atol=1e-5)


def test_a_style_is_read_from_the_picture_in_training_and_is_zero_after():
    recipe = {"style_units": 2, "variational": 0.01, "encoder_units": (16, 8)}
    model = small(**recipe)
    assert model.get_layer("latent").output.shape == (None, 10)
    training = TrainingModel(
        model, [MeanSquaredError(batch_size=8), Variational(0.01, 16, 1, style_units=2, warmup=0.0)]
    )
    training.compile(keras.optimizers.Adam(1e-2))
    # One sound, dark and bright pictures: only a style tells them apart.
    features = np.ones((32, 6), np.float32)
    images = np.broadcast_to(np.tile([-0.7, 0.7], 16)[:, None, None, None], (32, 16, 16, 1)).astype(np.float32)
    history = training.fit(features, images, batch_size=8, epochs=40, verbose=0).history
    assert history["mse"][-1] < 0.3 * 8 * 0.49
    np.testing.assert_array_equal(training.encoder.predict(features, verbose=0)[:, -2:], 0)


def test_an_encoder_that_has_learnt_stands_still_and_gives_what_it_will_give_in_use():
    features, images = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32), pictures(8, 16, 1)

    def moved(done, jit):
        model = small(dropout=0.5)
        training = TrainingModel(model, [MeanSquaredError(batch_size=8)], total_steps=10, freeze_encoder_after=0.5)
        training.compile(keras.optimizers.AdamW(1e-2), jit_compile=jit)
        training.optimizer.build(training.trainable_variables)
        training.optimizer.iterations.assign(done)
        drawn = training.generator(training.encoder.predict(features, verbose=0), training=True)
        in_use = 8 * np.mean((drawn - images) ** 2)
        before = [half.get_weights() for half in (training.encoder, training.generator)]
        loss = training.fit(features, images, batch_size=8, epochs=1, verbose=0).history["loss"][0]
        after = [half.get_weights() for half in (training.encoder, training.generator)]
        changes = [
            max(np.abs(x - y).max() for x, y in zip(*halves, strict=True)) for halves in zip(before, after, strict=True)
        ]
        return *changes, abs(loss / in_use - 1)

    for jit in (False, True):
        encoder, generator, difference = moved(4, jit)
        assert encoder > 1e-3 and generator > 1e-3 and difference > 1e-3
        encoder, generator, difference = moved(5, jit)
        assert encoder == 0 and generator > 1e-3 and difference < 1e-5


def test_a_training_without_objectives_or_with_one_twice_is_refused():
    with pytest.raises(UsageError, match=r"objectives of different names. Received: \[\]"):
        TrainingModel(small(), [])
    with pytest.raises(UsageError, match=r"Received: \['mse', 'mse'\]"):
        TrainingModel(small(), [MeanSquaredError(), MeanSquaredError()])
