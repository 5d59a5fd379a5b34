"""Objectives of latent vectors, styles and discriminators: their values, and which weights they train."""

import keras
import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
from keras import ops
from support.training_states import attached, random_images, train_state

from keras_a2i.errors import UsageError
from keras_a2i.layers import LabelHead
from keras_a2i.objectives import (
    Adversarial,
    Contrastive,
    FeatureConsistency,
    ImageAutoencoder,
    LabelCrossentropy,
    Perceptual,
    Variational,
)


def test_label_crossentropy_smooths_the_labels_predicted_from_the_content():
    objective = attached(LabelCrossentropy(), latent_dim=3, n_labels=4)
    content, labels = np.eye(3, dtype=np.float32), np.array([0, 3, 1], np.int32)
    kernel, bias = objective.head.get_weights()
    logits = content @ kernel + bias
    for smoothing in (0.1, 0.3):
        objective_of = LabelCrossentropy(label_smoothing=smoothing)
        objective_of.attach(_with_head(objective.head))
        target = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
        expected = tf.nn.softmax_cross_entropy_with_logits(target, logits).numpy().mean()
        found = objective_of.loss(train_state(None, None, content=content, labels=labels))
        assert float(found) == pytest.approx(expected, rel=1e-5)


def _with_head(head):
    import types

    return types.SimpleNamespace(encoder=object(), label_head=head)


def test_label_crossentropy_of_an_ensemble_trains_each_head_alone():
    objective = attached(LabelCrossentropy(), latent_dim=6, n_labels=4, ensemble=2)
    content = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    labels = np.array([0, 3, 1], np.int32)
    alone = []
    for i in range(2):
        one = attached(LabelCrossentropy(), latent_dim=3, n_labels=4)
        one.head.set_weights(objective.head.get_weights()[2 * i : 2 * i + 2])
        alone.append(float(one.loss(train_state(None, None, content=content[:, 3 * i : 3 * i + 3], labels=labels))))
    found = float(objective.loss(train_state(None, None, content=content, labels=labels)))
    assert found == pytest.approx(np.mean(alone), rel=1e-5)


def test_label_crossentropy_trains_the_head_of_the_model_if_it_has_one():
    head = LabelHead(4)
    head.build((None, 3))
    objective = attached(LabelCrossentropy(), latent_dim=3, n_labels=4, label_head=head)
    assert objective.trainable_variables == head.trainable_variables


def test_variational_is_the_divergence_of_normal_distributions():
    mean, log_variance = 0.7, -0.9
    deviation = np.exp(0.5 * log_variance)

    def integrand(x):
        log_p = -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation)
        return np.exp(log_p) / np.sqrt(2 * np.pi) * (log_p + 0.5 * x**2)

    expected, _ = scipy.integrate.quad(integrand, -10, 10)
    objective = attached(Variational(), style_units=3)
    style = np.full((5, 3), mean, np.float32), np.full((5, 3), log_variance, np.float32)
    assert float(objective.loss(train_state(None, None, style=style))) == pytest.approx(3 * expected, rel=1e-5)
    many = np.full((20_000, 3), mean, np.float32), np.full((20_000, 3), log_variance, np.float32)
    samples = objective.sample_style(*many)
    assert float(ops.mean(samples)) == pytest.approx(mean, abs=0.02)
    assert float(ops.std(samples)) == pytest.approx(deviation, abs=0.02)


def test_ramp_follows_warmup_and_start():
    variational = Variational(warmup=0.4)
    assert [round(float(variational.ramp(p)), 3) for p in (0.0, 0.1, 0.4, 0.9)] == [0, 0.25, 1, 1]
    assert Variational(warmup=0.0).ramp(0.0) == 1
    adversarial = Adversarial(start=0.3)
    assert [float(adversarial.ramp(p)) for p in (0.0, 0.29, 0.3, 1.0)] == [0, 0, 1, 1]


@pytest.mark.training
def test_adversarial_trains_discriminator_and_generator_each_on_its_own_part():
    objective = attached(Adversarial(smoothness=0.0), latent_dim=4)
    discriminator = objective.discriminator
    real = random_images(size=16, channels=1)
    content = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    fake, latent = tf.Variable(random_images(size=16, channels=1, seed=1)), tf.Variable(content)
    with tf.GradientTape(persistent=True) as tape:
        loss = objective.loss(train_state(real, fake, content=latent))
        on_real = discriminator([tf.constant(real), tf.constant(content)])
        on_fake = discriminator([fake.value(), tf.constant(content)])
        critic = tf.reduce_mean(tf.nn.relu(1 - on_real)) + tf.reduce_mean(tf.nn.relu(1 + on_fake))
        realism = -tf.reduce_mean(discriminator([fake.value(), tf.constant(content)]))
    weights = [v.value for v in discriminator.trainable_variables]
    with tf.GradientTape() as alone:
        expected = tf.reduce_mean(tf.nn.relu(1 - discriminator([tf.constant(real), tf.constant(content)])))
        expected += tf.reduce_mean(tf.nn.relu(1 + discriminator([tf.constant(fake.numpy()), tf.constant(content)])))
    for found, wanted in zip(tape.gradient(loss, weights), alone.gradient(expected, weights), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, fake), tape.gradient(realism, fake), atol=1e-7)
    assert tape.gradient(loss, latent) is None
    assert float(loss) == pytest.approx(float(critic + realism), rel=1e-5)


@pytest.mark.training
def test_discriminator_of_frame_pairs_receives_consecutive_images():
    objective = attached(Adversarial(smoothness=0.0, frame_pairs=True), latent_dim=4)
    assert objective.needs_neighbours and not Adversarial().needs_neighbours
    real, fake = (random_images(n=5, size=16, channels=1, seed=seed) for seed in (0, 1))
    content = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)

    def realism(images):
        # The fifth image has no partner.
        pairs = np.concatenate([images[[0, 2]], images[[1, 3]]], axis=-1)
        contents = np.concatenate([content[[0, 2]], content[[1, 3]]], axis=-1)
        return objective.discriminator([pairs, contents]).numpy()

    on_real, on_fake = realism(real), realism(fake)
    expected = np.maximum(0, 1 - on_real).mean() + np.maximum(0, 1 + on_fake).mean() - on_fake.mean()
    found = float(objective.loss(train_state(real, fake, content=content, training=False)))
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert Adversarial.from_config(objective.get_config()).frame_pairs
    with pytest.raises(UsageError, match=r"frame_pairs must be true or false. Received: frame_pairs=1"):
        Adversarial(frame_pairs=1)


@pytest.mark.training
def test_adversarial_smoothness_estimates_the_squared_gradient_at_real_images():
    objective, plain = attached(Adversarial(smoothness=2.0)), attached(Adversarial(smoothness=0.0))
    plain.discriminator.set_weights(objective.discriminator.get_weights())
    real, content = random_images(n=64, size=16, channels=1), np.ones((64, 4), np.float32)
    images = tf.Variable(real)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(objective.discriminator([images.value(), tf.constant(content)]))
    expected = float(tf.reduce_sum(tape.gradient(total, images) ** 2)) / 64
    with_penalty = np.mean([float(objective.loss(train_state(real, real, content=content))) for _ in range(30)])
    without = float(plain.loss(train_state(real, real, content=content)))
    assert with_penalty - without == pytest.approx(expected, rel=0.2)
    held_out = float(objective.loss(train_state(real, real, content=content, training=False)))
    assert held_out == pytest.approx(without, rel=1e-6)


@pytest.fixture(scope="module")
def autoencoder():
    keras.utils.set_random_seed(0)
    generator = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16 * 16), keras.layers.Reshape((16, 16, 1))])
    return ImageAutoencoder(generator, n_labels=2, batch_size=8)


def test_contrastive_is_infonce_of_audio_and_images(autoencoder):
    real = random_images(size=16, channels=1)
    images = autoencoder.encoder.predict(real, verbose=0)
    audio = np.random.default_rng(1).standard_normal(images.shape).astype(np.float32)

    def expected(audio, positive, temperature):
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (audio, images))
        similarity = a @ b.T / temperature
        total = 0
        for side in (similarity, similarity.T):
            logs = side - np.log(np.exp(side).sum(axis=1, keepdims=True))
            total -= np.mean((positive / positive.sum(axis=1, keepdims=True) * logs).sum(axis=1)) / 2
        return total

    labels = np.array([0, 1, 0, 1], np.int32)
    for temperature in (0.1, 0.5):
        objective = attached(Contrastive(temperature=temperature), autoencoder, latent_dim=8)
        found = float(objective.loss(train_state(real, None, content=audio)))
        assert found == pytest.approx(expected(audio, np.eye(4), temperature), rel=1e-4)
        found = float(objective.loss(train_state(real, None, content=audio, labels=labels)))
        positive = (labels[:, None] == labels[None]).astype(float)
        assert found == pytest.approx(expected(audio, positive, temperature), rel=1e-4)
        aligned = float(objective.loss(train_state(real, None, content=images)))
        assert aligned < expected(audio, np.eye(4), temperature)
        assert not objective.trainable_variables


def test_perceptual_compares_the_features_of_the_frozen_autoencoder(autoencoder):
    objective, real = attached(Perceptual(), autoencoder), random_images(size=16, channels=1)
    assert float(objective.loss(train_state(real, real))) == 0
    other = random_images(size=16, channels=1, seed=5)
    features = [layer.output for layer in autoencoder.encoder.layers if layer.name.startswith("features_")]
    maps = keras.Model(autoencoder.encoder.inputs, features)
    pairs = zip(keras.tree.flatten(maps(real)), keras.tree.flatten(maps(other)), strict=True)
    expected = np.mean([np.mean((a - b) ** 2) / (np.mean(np.square(a)) + 1e-6) for a, b in pairs])
    assert float(objective.loss(train_state(real, other))) == pytest.approx(expected, rel=1e-4)
    labels = np.array([0, 1, 1, 0], np.int32)
    logits = autoencoder.head(autoencoder.encoder(real))
    crossentropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy().mean()
    assert float(objective.loss(train_state(real, real, labels=labels))) == pytest.approx(crossentropy, rel=1e-4)
    assert not objective.trainable_variables


def test_consistency_is_the_error_of_what_an_encoder_recovers():
    objective = attached(FeatureConsistency(), latent_dim=5, style_units=2)
    images = random_images(size=16, channels=1)
    rng = np.random.default_rng(1)
    content, style = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    found = np.asarray(objective.encoder(images))
    expected = np.square(found[:, :3] - content).mean() / content.var(axis=0).mean()
    expected += np.square(found[:, 3:] - style).mean()
    state = {"content": content, "sampled": images, "sampled_style": style}
    assert float(objective.loss(train_state(None, None, training=False, **state))) == pytest.approx(expected, rel=1e-4)
    # In training, the encoder sees noisy images.
    noisy = float(objective.loss(train_state(None, None, **state)))
    assert noisy != pytest.approx(expected, rel=1e-4) and noisy == pytest.approx(expected, rel=0.5)
    with pytest.raises(UsageError, match="'consistency' needs the objective variational in the same training"):
        objective.loss(train_state(None, None, content=content, sampled=images))


@pytest.mark.parametrize(
    ("objective", "model", "message"),
    [
        (LabelCrossentropy(), {"n_labels": 1}, "'labels' needs a model with two labels or more. Received: n_labels=1"),
        (LabelCrossentropy(), {"encoder": None}, "'labels' needs a model with an encoder and a generator"),
        (Variational(), {"style_units": 0}, "'variational' needs a model with style_units above 0"),
        (FeatureConsistency(), {"style_units": 0}, "'consistency' needs a model with style_units above 0"),
        (Perceptual(), {}, r"'perceptual' needs an image autoencoder. Pass autoencoder=ImageAutoencoder\(...\)"),
        (Contrastive(), {}, "'contrastive' needs an image autoencoder"),
    ],
)
def test_attach_to_a_model_that_lacks_what_is_needed_is_refused(objective, model, message):
    with pytest.raises(UsageError, match=message):
        attached(objective, **model)


def test_contrastive_with_latents_of_another_length_than_the_autoencoder_is_refused(autoencoder):
    with pytest.raises(UsageError, match=r"latent vectors of one length from audio and images.* Received: 4 and 8"):
        attached(Contrastive(), autoencoder, latent_dim=4)


def test_attach_of_an_objective_that_belongs_to_another_training_is_refused():
    objective = attached(Adversarial())
    with pytest.raises(UsageError, match="'adversarial' needs a new instance"):
        attached(objective)
