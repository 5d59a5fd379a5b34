"""Training of a recipe with exemplars: what is stored, what is drawn, and resuming."""

import shutil

import keras
import numpy as np
import pytest
from support.training_runs import assert_same

import keras_a2i as a2i
from keras_a2i.errors import ConfigError, TrainingInterrupted
from keras_a2i.media.conversion import from_uint8
from keras_a2i.models import AudioToImage, DenseEncoder, ExemplarGenerator, MosaicGenerator
from keras_a2i.models.exemplar_generator import find_exemplars, measure_hubness, measure_variation
from keras_a2i.training.balanced_rows import balanced_rows
from keras_a2i.training.fit import fit

pytestmark = pytest.mark.training


class Interrupt(keras.callbacks.Callback):
    """Simulates Ctrl-C in the first step of an epoch, or when it ends."""

    def __init__(self, epoch, at_end):
        super().__init__()
        self.epoch, self.at_end, self.current = epoch, at_end, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        if self.current == self.epoch and not self.at_end:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.current == self.epoch and self.at_end:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def recipe():
    """Has everything that is measured at the end of a training."""
    generator = ExemplarGenerator(field_frequency=1.0, subtract_hubness=True, spread=0.05, width=8, blocks=1)
    return a2i.get_recipe(
        "exemplars",
        encoder=DenseEncoder(units=(24,)),
        generator=generator,
        familiarity=0.0,
        style_units=2,
        min_steps=0,
        ema_momentum=0.0,
    )


@pytest.fixture(scope="module")
def run(records, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("exemplars") / "run"
    return out, fit(records, out, recipe=recipe, epochs=3, seed=2, verbose=0)


def test_exemplars_are_the_training_images(run, records):
    model = AudioToImage.from_preset(run[0])
    attention, decoder = find_exemplars(model)
    _, images = a2i.Records(records).sample("train", a2i.Records(records).counts["train"])
    assert attention.n_exemplars == len(images)
    grid = attention.grid_size
    codes = keras.ops.convert_to_numpy(attention.codes).transpose(1, 0, 2).reshape(len(images), grid, grid, -1)
    np.testing.assert_allclose(codes, keras.ops.convert_to_numpy(decoder.encode(from_uint8(images))), atol=1e-4)


def test_hubness_is_that_of_rendered_audio_through_the_trained_encoder(run):
    model = AudioToImage.from_preset(run[0])
    attention, _ = find_exemplars(model)
    stored = keras.ops.convert_to_numpy(attention.hubness)
    assert stored.std() > 1e-3
    attention.hubness.assign(np.zeros_like(stored))
    assert measure_hubness(model)
    np.testing.assert_allclose(attention.hubness, stored, atol=1e-5)
    measure_hubness(model, seed=1)
    other = keras.ops.convert_to_numpy(attention.hubness)
    assert 0 < np.abs(other - stored).max() < 0.5 * np.ptp(stored)
    assert not measure_hubness(model.encoder)


def test_hubness_and_variation_are_measured_anew_when_a_run_or_its_model_is_trained_further(
    run, records, recipe, tmp_path
):
    two = shutil.copytree(run[0], tmp_path / "run")
    longer = fit(records, two, resume=True, epochs=4, verbose=0)
    stored = keras.ops.convert_to_numpy(find_exemplars(longer)[0].hubness)
    measure_hubness(longer)
    np.testing.assert_allclose(find_exemplars(longer)[0].hubness, stored, atol=1e-5)
    seen, measured = [], (find_exemplars(longer)[0].hubness, find_exemplars(longer)[0].waves)
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.extend(np.array(v) for v in measured))
    fit(records, tmp_path / "own", model=longer, recipe=recipe, epochs=1, callbacks=[note], verbose=0)
    assert len(seen) == 2 and not any(values.any() for values in seen) and all(np.any(v) for v in measured)


def test_variation_is_that_of_training_clips_of_a_label(run, records):
    model, opened = AudioToImage.from_preset(run[0]), a2i.Records(records)
    attention, _ = find_exemplars(model)
    stored, pairs = np.array(attention.waves), opened.sample_pairs("train", 1000, model.input_kind)
    assert stored.any()
    queries = model.encode(pairs.inputs)[:, : attention.keys.shape[0]]
    attention.assign_waves(queries, pairs.label_numbers if opened.labels else None)
    np.testing.assert_allclose(attention.waves, stored, rtol=1e-3, atol=1e-3 * np.abs(stored).max())
    assert not measure_variation(model.encoder, pairs.inputs)


def test_style_draws_other_compositions_and_a_query_of_a_key_its_exemplar(run, records):
    model = AudioToImage.from_preset(run[0])
    attention, _ = find_exemplars(model)
    inputs, images = a2i.Records(records).sample("train", 4)
    assert model.sample(inputs, 3, seed=1).shape[:2] == (4, 3)
    keys = keras.ops.convert_to_numpy(attention.keys).T
    # Far sharper and without fields, a key shows its image.
    attention.sharpness, attention.spread = 1e5, 0.0
    drawn = keras.ops.convert_to_numpy(model.generator(np.concatenate([keys, np.zeros((len(keys), 2))], axis=1)))
    _, stored = a2i.Records(records).sample("train", len(keys))
    assert np.abs(drawn - from_uint8(stored)).mean() < 0.1
    assert images.shape[1:] == drawn.shape[1:]


def test_training_interrupted_in_its_first_epoch_and_later_resumes_to_the_same_model(run, records, recipe, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(TrainingInterrupted, match="before the first epoch was finished"):
        fit(records, out, recipe=recipe, epochs=3, seed=2, verbose=0, callbacks=[Interrupt(1, at_end=False)])
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 3"):
        fit(records, out, resume=True, verbose=0, callbacks=[Interrupt(2, at_end=True)])
    assert_same(fit(records, out, resume=True, verbose=0), run[1])


def test_mosaic_stores_images_with_their_recordings_and_measures_its_hubness(records, tmp_path):
    settings = {"channels": (4, 4, 4), "units": 8, "width": 8, "blocks": 1, "min_steps": 0}
    model = fit(records, tmp_path / "run", recipe="exemplars", epochs=1, settings=settings, verbose=0)
    attention, _ = find_exemplars(model)
    pairs = a2i.Records(records).sample_pairs("train", attention.n_exemplars)
    _, sources = np.unique(pairs.sources, return_inverse=True)
    np.testing.assert_array_equal(attention.sources, sources)
    stored = keras.ops.convert_to_numpy(attention.hubness)
    assert stored.any() and measure_hubness(model) and not measure_variation(model, pairs.inputs)
    np.testing.assert_allclose(attention.hubness, stored, atol=1e-5)
    assert isinstance(a2i.get_recipe("exemplars").generator, MosaicGenerator)


def test_own_model_with_exemplars_is_adapted_once(records, tmp_path):
    model = AudioToImage(
        DenseEncoder(units=(8,)),
        a2i.models.ExemplarGenerator(n_exemplars=5, width=8, blocks=1),
        image_size=a2i.Records(records).image.size,
        channels=a2i.Records(records).image.channels,
    )
    objectives = [a2i.objectives.ExemplarMatching(), a2i.objectives.ExemplarBlending()]
    fit(records, tmp_path / "run", model=model, objectives=objectives, epochs=1, batch_size=64, verbose=0)
    codes = keras.ops.convert_to_numpy(find_exemplars(model)[0].codes)
    pairs = a2i.Records(records).sample_pairs("train", 20)
    images = pairs.images[balanced_rows(pairs.label_numbers, 5)]
    expected = keras.ops.convert_to_numpy(find_exemplars(model)[1].encode(from_uint8(images)))
    np.testing.assert_allclose(codes.transpose(1, 0, 2).reshape(expected.shape), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("scenes", {"blending": 1.0}, "The objectives matching and blending need a generator with exemplars"),
        (
            "exemplars",
            {"generator": ExemplarGenerator()},
            r"familiarity needs a generator that shows .* an ExemplarGenerator with balance_labels; set .*"
            "Received: ExemplarGenerator",
        ),
        ("exemplars", {"matching": 0}, "A generator with exemplars needs the objective matching"),
        ("words-exemplars", {"label_sharpness": 2.0}, "a label_sharpness of 0. Received: .*label_sharpness=2.0"),
        ("words-exemplars", {"field_size": 4}, "field_size must be 1 with label_first. Received: field_size=4"),
        ("words-exemplars", {"label_first": False}, "balance_labels needs label_first. Received: label_first=False"),
    ],
)
def test_objectives_and_generators_of_exemplars_belong_together(recipe, settings, message):
    with pytest.raises(ConfigError, match=message):
        a2i.get_recipe(recipe, **settings)


def test_recipe_refuses_a_style_that_nothing_uses():
    with pytest.raises(ConfigError, match="style_units must be 0 without the objective variational"):
        a2i.get_recipe("scenes", style_units=4)
    with pytest.raises(ConfigError, match="style_units must be above 0 for the objective variational"):
        a2i.get_recipe("words-adversarial", style_units=0)
