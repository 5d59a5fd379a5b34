"""What trains generators with exemplars to tell familiar audio from rendered audio of other kinds."""

import numpy as np
import pytest
from keras import ops
from support.training_states import random_images, small_model, train_state

from keras_a2i.config import FeatureConfig
from keras_a2i.datasets.foreign_audio import foreign_audio
from keras_a2i.errors import UsageError
from keras_a2i.models import AudioToImage, ExemplarGenerator, FrameEncoder, MosaicGenerator, adapt_exemplars
from keras_a2i.models.exemplar_generator import find_exemplars, measure_hubness, rendered_clips, reset_measured
from keras_a2i.objectives import Familiarity, Mixtures

FEATURES = FeatureConfig(sample_rate=8000, duration=0.5)


BY_LABEL = {"n_exemplars": 4, "field_size": 1, "label_first": True, "width": 8, "blocks": 1}


def _model(generator=None, n_labels=2):
    encoder = FrameEncoder(channels=(4, 4, 4), units=4, latent_dim=4)
    generator = generator or MosaicGenerator(n_exemplars=3, query_dim=4, width=8, blocks=1)
    model = AudioToImage(encoder, generator, image_size=16, features=FEATURES, style_units=2, n_labels=n_labels)
    adapt_exemplars(model, random_images(generator.n_exemplars, 16), np.arange(generator.n_exemplars) % 2)
    return model


def _softplus(x):
    return np.log1p(np.exp(ops.convert_to_numpy(x)))


@pytest.mark.training
@pytest.mark.parametrize("generator", [None, ExemplarGenerator(balance_labels=True, **BY_LABEL)])
def test_loss_is_the_crossentropy_of_clips_mixtures_and_rendered_audio(generator):
    model, objective = _model(generator), Familiarity(seed=3)
    objective.attach(model)
    exemplars, _ = find_exemplars(model)
    rng = np.random.default_rng(0)
    clips, mixed = (rng.standard_normal((2, exemplars.content_dim)).astype(np.float32) for _ in range(2))
    rendered = foreign_audio(30, 4000, 1_000_720), foreign_audio(30, 4000, 1_000_721)[:18]
    unfamiliar = _softplus(exemplars.familiarity_logit(model.encode(np.concatenate(rendered))[:, :-2])).mean()
    for mixtures, known in ((None, clips), (Mixtures(mixed, None), np.concatenate([clips, mixed]))):
        state = train_state(None, None, content=clips, mixtures=mixtures, training=False)
        expected = _softplus(-exemplars.familiarity_logit(known)).mean() + unfamiliar
        assert float(objective.loss(state)) == pytest.approx(float(expected), rel=1e-3)
    drawn = {float(objective.loss(train_state(None, None, content=clips, training=True))) for _ in range(3)}
    assert len(drawn) == 3


@pytest.mark.parametrize(
    "model",
    [
        lambda: _model(ExemplarGenerator(**BY_LABEL)),
        lambda: _model(ExemplarGenerator(balance_labels=True, **BY_LABEL), n_labels=0),
        small_model,
    ],
)
def test_other_generators_are_refused(model):
    message = "'familiarity' needs a MosaicGenerator, or an ExemplarGenerator with balance_labels for a model with two"
    with pytest.raises(UsageError, match=message):
        Familiarity().attach(model())


@pytest.mark.training
def test_balance_of_labels_is_measured_by_rendered_audio_and_forgotten_at_the_start_of_a_training():
    model = _model(ExemplarGenerator(balance_labels=True, **BY_LABEL))
    exemplars, _ = find_exemplars(model)
    exemplars.familiar_offset.assign(1e3)
    assert measure_hubness(model)
    clips = np.concatenate(list(rendered_clips(4000, seed=1)))
    counts = np.bincount(ops.convert_to_numpy(exemplars.label_logits(model.encode(clips), 2)).argmax(axis=1))
    assert counts.min() > 0.35 * len(clips) and np.any(ops.convert_to_numpy(exemplars.label_balance))
    reset_measured(model)
    np.testing.assert_array_equal(ops.convert_to_numpy(exemplars.label_balance), 0)
