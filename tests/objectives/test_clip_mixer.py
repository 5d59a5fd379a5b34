"""Mixtures of clips: what is mixed, by which shares, and which objectives and steps receive them."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.training_states import attached, random_images, small_model, train_state

from keras_a2i.errors import UsageError
from keras_a2i.layers import FrameAugmentation
from keras_a2i.models import AudioToImage, ResidualGenerator, WordEncoder
from keras_a2i.objectives import LabelCrossentropy, MeanSquaredError, Mixtures, Objective, TrainingModel
from keras_a2i.objectives.clip_mixer import ClipMixer

CLIPS = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
IMAGES = random_images(4, 16, 1)


class Seen(Objective):
    """Keeps the state of the last step; its loss is 0 but for what keeps the gradients defined."""

    id = "seen"

    def __init__(self, mixture=1.0):
        super().__init__()
        self.mixture = mixture

    def loss(self, state):
        self.state = state
        return ops.mean(state.generated)


def _shares(seed, n=4):
    return ops.convert_to_numpy(keras.random.uniform((n, 1), seed=keras.random.SeedGenerator(seed)))


def test_inputs_are_mixed_in_front_of_an_encoder_without_frames():
    encoder = small_model().encoder
    latent, shares = ClipMixer(encoder, seed=5)(CLIPS)
    np.testing.assert_allclose(ops.convert_to_numpy(shares), _shares(5), rtol=1e-6)
    mixed = _shares(5) * CLIPS + (1 - _shares(5)) * np.roll(CLIPS, 1, axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(latent), ops.convert_to_numpy(encoder(mixed)), atol=1e-5)


def test_waveforms_are_mixed_at_the_loudness_of_the_quieter_one():
    encoder = small_model().encoder
    factors = np.array([[1.0], [0.1], [5.0], [0.0]], np.float32)
    waveforms = factors * np.array([[1, -1] * 3, [2, -2, 0] * 2, [1, 1, -1] * 2, [1] * 6], np.float32)
    latent, _ = ClipMixer(encoder, seed=5, of_waveforms=True)(waveforms)
    loudness = np.sqrt(np.square(waveforms).mean(axis=1, keepdims=True))
    lower = np.minimum(loudness, np.roll(loudness, 1, axis=0))
    level = waveforms / np.maximum(loudness, 1e-9)
    # Silence is the third clip's partner and the first one's: both mixtures are silent.
    mixed = lower * (_shares(5) * level + (1 - _shares(5)) * np.roll(level, 1, axis=0))
    assert not mixed[3].any() and not mixed[0].any() and mixed[1:3].any()
    np.testing.assert_allclose(ops.convert_to_numpy(latent), ops.convert_to_numpy(encoder(mixed)), atol=1e-5)


@pytest.mark.parametrize(("kind", "of_waveforms"), [("waveform", True), ("features", False)])
def test_training_mixes_by_loudness_what_is_a_waveform(kind, of_waveforms):
    model = small_model()
    model.input_kind = kind
    assert TrainingModel(model, [Seen()])._mixer._of_waveforms is of_waveforms


def test_augmented_frames_are_mixed_in_every_encoder_of_an_ensemble():
    x = keras.Input((6,))
    options = {"f_min": 0.0, "f_max": 4000.0, "warp": 0.0, "time_mask": 0, "band_mask": 0}
    branches = []
    for factor in (1.0, 2.0):
        frames = FrameAugmentation(**options)(layers.Reshape((3, 2))(layers.Rescaling(factor)(layers.ReLU()(x))))
        branches.append(layers.Flatten()(layers.Activation("softplus" if factor == 1 else "exponential")(frames)))
    latent, shares = ClipMixer(keras.Model(x, layers.Concatenate()(branches)), seed=1)(CLIPS)
    shares, frames = ops.convert_to_numpy(shares), np.maximum(CLIPS, 0)
    mixed = shares * frames + (1 - shares) * np.roll(frames, 1, axis=0)
    expected = np.concatenate([np.log1p(np.exp(mixed)), np.exp(2 * mixed)], axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(latent), expected, rtol=1e-5)


def test_augmented_frames_of_a_single_encoder_are_mixed():
    x = keras.Input((6,))
    frames = FrameAugmentation(f_min=0.0, f_max=4000.0, warp=0.0, time_mask=0, band_mask=0)(layers.Reshape((3, 2))(x))
    encoder = keras.Model(x, layers.Flatten()(layers.Activation("exponential")(frames)))
    latent, _ = ClipMixer(encoder, seed=1)(CLIPS)
    shares = _shares(1)
    mixed = shares * CLIPS + (1 - shares) * np.roll(CLIPS, 1, axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(latent), np.exp(mixed), rtol=1e-5)


def test_word_encoder_is_trained_on_mixed_frames():
    generator = ResidualGenerator(channels=(4,) * 5, base_channels=4)
    model = AudioToImage(WordEncoder(channels=(4,) * 5, latent_dim=4), generator, image_size=32)
    mixer = ClipMixer(model.encoder)
    assert len(mixer._frames.value.outputs) == 2
    latent, _ = mixer(np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32))
    assert latent.shape == (2, 8) and np.isfinite(ops.convert_to_numpy(latent)).all()
    assert {v.path for v in mixer.trainable_variables} == set()


def test_targets_are_mixed_like_the_clips():
    found = Mixtures(None, ops.convert_to_tensor([[0.25], [1.0]])).mix(ops.convert_to_tensor([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(ops.convert_to_numpy(found), [[0.25, 0.75], [0.0, 1.0]])


def test_label_crossentropy_of_mixtures_has_the_mixture_of_the_labels_as_target():
    objective = attached(LabelCrossentropy(mixture=3.0, label_smoothing=0.0), latent_dim=3, n_labels=4)
    content, labels = np.eye(3, dtype=np.float32), np.array([0, 3, 1], np.int32)
    mixtures = Mixtures(ops.convert_to_tensor(content[::-1].copy()), ops.convert_to_tensor([[0.2], [0.5], [0.9]]))
    clips = train_state(None, None, content=content, labels=labels)
    both = train_state(None, None, content=content, labels=labels, mixtures=mixtures)
    kernel, bias = objective.head.get_weights()
    log_p = ops.convert_to_numpy(ops.log_softmax(content[::-1] @ kernel + bias))
    share = np.array([[0.2], [0.5], [0.9]])
    target = share * np.eye(4)[labels] + (1 - share) * np.eye(4)[np.roll(labels, 1)]
    expected = (float(objective.loss(clips)) - 3.0 * np.mean(np.sum(target * log_p, axis=1))) / 4.0
    assert float(objective.loss(both)) == pytest.approx(expected, rel=1e-5)


def test_negative_mixture_of_labels_is_refused():
    with pytest.raises(UsageError, match=r"mixture must be 0 or more\. Received: mixture=-1"):
        LabelCrossentropy(mixture=-1)


def _seen_mixtures(model, *, mixture=1.0, training=True, step=0, **options):
    seen = Seen(mixture)
    trained = TrainingModel(model, [seen], total_steps=4, **options)
    trained.enter_step(step)
    trained.compute_loss(CLIPS, IMAGES, trained(CLIPS, training=training), training=training)
    return seen.state.mixtures


def test_state_of_a_step_has_mixtures_without_the_style():
    found = _seen_mixtures(small_model(style_units=2), seed=3)
    assert found.content.shape == (4, 8)
    np.testing.assert_allclose(ops.convert_to_numpy(found.shares), _shares(3), rtol=1e-6)


@pytest.mark.parametrize(
    ("why", "options"),
    [
        ("no objective trains on them", {"mixture": 0.0}),
        ("evaluation", {"training": False}),
        ("the encoder is frozen", {"freeze_encoder_after": 0.5, "step": 2}),
    ],
)
def test_state_has_no_mixtures(why, options):
    model = small_model()
    assert _seen_mixtures(model, **options) is None, why


@pytest.mark.training
def test_seed_of_mixtures_is_kept_when_the_model_is_saved(tmp_path):
    model = TrainingModel(small_model(n_labels=2), [MeanSquaredError(), LabelCrossentropy(mixture=1.0)], seed=7)
    model.compile("adam")
    model.fit(CLIPS, (IMAGES, np.array([0, 1, 0, 1], np.int32)), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.seed == 7
    assert loaded.objectives[1].mixture == 1.0
