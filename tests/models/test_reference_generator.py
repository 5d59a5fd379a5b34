"""Models with a reference image: what they compute, how they are stored, exported and served."""

import keras
import numpy as np
import pytest
from support.reference_models import FEATURES, audio_and_references, reference_model

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters.export import export
from keras_a2i.media.conversion import from_uint8, to_uint8
from keras_a2i.media.image import save_png, to_pillow
from keras_a2i.models import AudioToImage, ReferenceGenerator, ResidualGenerator, SpeechEncoder
from keras_a2i.models.model_file import ModelMetadata, check_fit, default_metadata, load_model, save_model
from keras_a2i.serving.guidance import guide
from keras_a2i.serving.predictor import as_predictor, load

MISSING = "reference must be an image for this model"


@pytest.fixture(scope="module")
def model():
    return reference_model()


@pytest.fixture(scope="module")
def data(model):
    return audio_and_references(3, model)


def test_untrained_model_returns_the_reference():
    model = AudioToImage(SpeechEncoder(), ReferenceGenerator(), image_size=16, features=FEATURES)
    audio, references = audio_and_references(2, model)
    np.testing.assert_allclose(model.predict((audio, references), verbose=0), references, atol=1e-6)


def test_image_depends_on_audio_and_reference_within_bounds(model, data):
    audio, references = data
    images = model.predict((audio, references), verbose=0)
    np.testing.assert_allclose(model.decode(model.encode(audio), references), images, atol=1e-5)
    assert np.abs(images).max() == 1 and 0.05 < np.abs(images - references).mean() < 1
    for other in ((audio[::-1], references), (audio, references[::-1])):
        assert np.abs(model.predict(other, verbose=0) - images)[::2].mean() > 1e-3


def test_encoder_uses_the_middle_of_the_clip_alone():
    encoder, features = SpeechEncoder(context=0.1), FEATURES
    model = AudioToImage(encoder, ResidualGenerator(channels=(8,), base_channels=8), image_size=16, features=features)
    audio, _ = audio_and_references(2, model)
    middle = features.n_samples // 2
    changed = audio.copy()
    changed[:, : middle - 700] = 0
    changed[:, middle + 700 :] = 0
    np.testing.assert_allclose(model.encode(changed), model.encode(audio), atol=1e-5)
    changed[:, middle - 100 : middle + 100] = 0
    assert np.abs(model.encode(changed) - model.encode(audio)).max() > 1e-3
    # What is earlier and what is later differ.
    assert np.abs(model.encode(audio[:, ::-1].copy()) - model.encode(audio)).max() > 1e-3


@pytest.mark.parametrize("size, largest", [("tiny", 200_000), ("large", 10_000_000)])
def test_sizes_and_channels(size, largest):
    encoder, generator = SpeechEncoder().scaled(size), ReferenceGenerator().scaled(size)
    model = AudioToImage(encoder, generator, image_size=64, channels=1)
    assert model.output_shape == (None, 64, 64, 1) and model.count_params() < largest
    assert [tuple(each.shape) for each in model.inputs] == [(None, 16_000), (None, 64, 64, 1)]


def test_file_holds_the_model_and_that_it_needs_a_reference(model, data, tmp_path):
    save_model(model, tmp_path / "model.keras", model.metadata)
    loaded, metadata = load_model(tmp_path / "model.keras")
    assert metadata.reference and loaded.has_reference
    np.testing.assert_allclose(loaded.predict(data, verbose=0), model.predict(data, verbose=0), atol=1e-6)
    with pytest.raises(ModelError, match="The model must have no reference images"):
        check_fit("x", ModelMetadata(features=FEATURES, input="waveform"), loaded.input_shape, loaded.output_shape)
    with pytest.raises(ModelError, match="must have a second input for reference images"):
        check_fit("x", metadata, (None, FEATURES.n_samples), loaded.output_shape)
    with pytest.raises(ModelError, match="A model must accept features"):
        default_metadata(loaded.input_shape, loaded.output_shape)


def test_wrong_combinations_are_refused(model, data):
    with pytest.raises(UsageError, match="style_units must be 0 for a generator with a reference image"):
        AudioToImage(SpeechEncoder(), ReferenceGenerator(), image_size=16, features=FEATURES, style_units=2)
    with pytest.raises(UsageError, match="reference must be given: this generator changes a reference image"):
        ReferenceGenerator().connect(keras.Input((8,)), 16, 3)
    with pytest.raises(UsageError, match="references must be given for a model with a reference image"):
        model.decode(model.encode(data[0]))
    plain = AudioToImage(SpeechEncoder(), ResidualGenerator(), image_size=16, features=FEATURES)
    with pytest.raises(UsageError, match="references must be left out for a model without a reference image"):
        plain.decode(plain.encode(data[0]), data[1])


def test_predictor_shows_the_reference_it_is_given(model, data, tmp_path):
    audio, references = data
    predictor = as_predictor(model)
    expected = model.predict((audio, np.repeat(references[:1], 3, axis=0)), verbose=0)
    shown = predictor.with_reference(references[0])
    np.testing.assert_allclose(shown.predict_inputs(audio), expected, atol=1e-5)
    np.testing.assert_allclose(shown.decode(shown.encode(audio)), expected, atol=1e-5)
    np.testing.assert_allclose(
        predictor.predict_inputs(audio, references=references), model.predict(data, verbose=0), atol=1e-5
    )
    image = to_uint8(references)[0]
    save_png(to_pillow(image), tmp_path / "face.png")
    for reference in (image, tmp_path / "face.png"):
        from_file = predictor.with_reference(reference).predict_inputs(audio)
        both = (audio, np.repeat(from_uint8(image)[None], 3, axis=0))
        np.testing.assert_allclose(from_file, model.predict(both, verbose=0), atol=1e-5)


def test_predictor_states_what_is_missing_or_given_in_vain(model, data):
    predictor = as_predictor(model)
    for call in (
        lambda: predictor.with_reference(None),
        lambda: predictor.predict_inputs(data[0]),
        lambda: predictor.predict(data[0]),
    ):
        with pytest.raises(UsageError, match=MISSING):
            call()
    with pytest.raises(UsageError, match=r"reference must be a finite image of the shape \(16, 16, 3\)"):
        predictor.with_reference(data[1][0, :8])
    shown = predictor.with_reference(data[1][0])
    assert shown.with_reference(None) is shown
    with pytest.raises(UsageError, match="reference must be left out for a model without a reference image"):
        shown.with_reference(data[1][0])
    with pytest.raises(UsageError, match="model must generate from audio alone to be guided"):
        guide(model)


@pytest.mark.training
@pytest.mark.parametrize("name, options, atol", [("m.tflite", {}, 1e-4), ("m", {}, 1e-5), ("m.onnx", {}, 1e-4)])
def test_exports_have_the_reference_as_second_input(model, data, tmp_path, name, options, atol):
    predictor = load(export(model, tmp_path / name, **options).path)
    assert predictor.metadata.reference
    found = predictor.predict_inputs(data[0], references=data[1])
    np.testing.assert_allclose(found, model.predict(data, verbose=0), atol=atol)
    shown = predictor.with_reference(data[1][0])
    np.testing.assert_allclose(shown.predict_inputs(data[0])[0], found[0], atol=atol)
    with pytest.raises(UsageError, match=MISSING):
        predictor.predict_inputs(data[0])


def test_formats_and_options_without_a_reference_are_refused(model, tmp_path):
    for name, options, message in (
        ("m.tflite", {"quantize": "int8"}, "quantize must be 'none' or 'float16' for a model with a reference image"),
        ("m.tflite", {"latents": True}, "latents must be left out for a model with a reference image"),
        ("page", {"format": "web", "runtime": "cdn"}, "The model of a page must accept audio alone"),
    ):
        with pytest.raises(UsageError, match=message):
            export(model, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())
