"""Guided images: nearer to audio or an image, exactly the model's own without steps, and what is refused."""

import keras
import numpy as np
import pytest
import soundfile
from PIL import Image
from support.aligned_runs import aligned_run
from support.styled_models import exemplar_model, prototype_model
from support.training_states import small_model

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.media.conversion import to_uint8
from keras_a2i.models import AudioToImage, DenseEncoder, ResidualGenerator
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.models.styles import draw_styles
from keras_a2i.serving.guidance import guide
from keras_a2i.serving.images import generate_images
from keras_a2i.serving.predictor import Predictor, as_predictor
from keras_a2i.serving.search import Searcher, load_searcher
from keras_a2i.serving.video import generate_video

FEATURES = (10 * np.random.default_rng(0).standard_normal((3, 104))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that aligned audio and images, an image, and audio of two and a half seconds."""
    folder = tmp_path_factory.mktemp("guidance")
    aligned_run(folder / "aligned")
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8).repeat(4, 0).repeat(4, 1)).save(folder / "image.png")
    soundfile.write(folder / "a.wav", rng.uniform(-0.3, 0.3, 40_000), 16_000)
    return folder


@pytest.fixture(scope="module")
def model():
    return prototype_model()


@pytest.fixture(scope="module")
def guided(folder, model):
    return guide(model, steps=8, by=folder / "aligned", step_size=0.2)


def similarities(searcher: Searcher, images, inputs):
    return (searcher.embed_images(images) * searcher.embed_inputs(inputs)).sum(axis=1)


@pytest.mark.training
def test_guided_images_are_nearer_to_the_audio_by_the_guides_own_embeddings(folder, model, guided):
    searcher = load_searcher(folder / "aligned")
    # What 32-pixel images are to an encoder of 16 pixels.
    found = guided.guide_inputs(FEATURES)
    small = [
        images.reshape(3, 16, 2, 16, 2, 3).mean(axis=(2, 4))
        for images in (as_predictor(model).predict_inputs(FEATURES), found.images)
    ]
    before, after = (1 - similarities(searcher, images, FEATURES) for images in small)
    np.testing.assert_allclose(found.before, before, atol=1e-4)
    np.testing.assert_allclose(found.after, after, atol=1e-4)
    assert (after < before - 0.01).all()
    np.testing.assert_array_equal(guided.predict(FEATURES), found.images)


@pytest.mark.training
def test_no_steps_are_exactly_the_model_itself(folder, model):
    own = as_predictor(model)
    for options in ({"by": folder / "aligned"}, {"towards": folder / "image.png", "latent": True, "starts": 4}):
        guided = guide(model, steps=0, **options)
        np.testing.assert_array_equal(guided.predict(FEATURES), own.predict(FEATURES))
        np.testing.assert_array_equal(guided.sample(FEATURES, 3, seed=5), own.sample(FEATURES, 3, seed=5))
        np.testing.assert_array_equal(guided.predict(folder / "a.wav"), own.predict(folder / "a.wav"))


def test_samples_start_at_their_styles_and_differ(folder, model, guided):
    images = guided.sample(FEATURES, 2, seed=3)
    styles = draw_styles(4, 2, 1.0, 3)
    for k in range(2):
        alone = guided.guide_inputs(FEATURES, np.tile(styles[k], (3, 1)))
        np.testing.assert_array_equal(images[:, k], alone.images)
        own = as_predictor(model).predict_inputs(FEATURES, np.tile(styles[k], (3, 1)))
        assert (alone.after < alone.before).all() and np.abs(own - alone.images).mean() > 0.01
    assert np.abs(images[:, 0] - images[:, 1]).mean() > 0.01


@pytest.mark.training
def test_same_arguments_give_the_same_images_and_change_nothing_of_the_model(folder):
    model = exemplar_model()
    weights = [np.array(weight) for weight in model.weights]
    options = {"steps": 3, "by": folder / "aligned", "latent": True}
    first, again, other = (guide(model, seed=seed, **options).predict(FEATURES) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01, "Exemplars start at the nearest of several random styles."
    assert model.trainable_weights and all(layer.trainable for layer in model.generator.layers)
    for weight, before in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(np.array(weight), before)


@pytest.mark.training
def test_best_of_the_starts_is_the_nearest_of_their_images(folder):
    model = exemplar_model()
    searcher = load_searcher(folder / "aligned")
    # Steps of no length: what remains is the choice of the start.
    found = guide(model, steps=1, by=searcher, starts=6, seed=2, step_size=1e-9, prior=0).guide_inputs(FEATURES)
    styles = draw_styles(4, 5, 1.0, 2)
    # Those that are longer than is typical are scaled to that.
    styles *= np.minimum(1, 2 / np.linalg.norm(styles, axis=1, keepdims=True))
    images = [
        as_predictor(model).predict_inputs(FEATURES, np.tile(style, (3, 1))) for style in [0 * styles[0], *styles]
    ]
    small = np.stack(images).reshape(6, 3, 16, 2, 16, 2, 3).mean(axis=(3, 5))
    distances = np.stack([1 - similarities(searcher, each, FEATURES) for each in small])
    np.testing.assert_allclose(found.before, distances[0], atol=1e-4)
    np.testing.assert_allclose(found.after, distances.min(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.images, np.stack(images)[distances.argmin(axis=0), np.arange(3)], atol=1e-3)


@pytest.mark.training
def test_model_without_a_style_moves_its_latent_vector_and_can_guide_itself(folder):
    guided = guide(folder / "aligned", steps=8)
    found = guided.guide_inputs(FEATURES)
    assert (found.after < found.before - 0.005).all() and not guided.can_sample and not guided.can_encode
    with pytest.raises(UsageError, match="latent must not be False for a model without a style: nothing is left"):
        guide(folder / "aligned", latent=False)
    with pytest.raises(UsageError, match=r"starts must be 1 for a model without a style. Received: starts=2"):
        guide(folder / "aligned", starts=2)


@pytest.mark.training
def test_towards_an_image_by_thumbnails_where_nothing_embeds_images(folder, model, tmp_path):
    save_model(model, tmp_path / "model.keras", model.metadata)
    found = guide(tmp_path / "model.keras", steps=8, towards=folder / "image.png").guide_inputs(FEATURES)
    target = np.asarray(Image.open(folder / "image.png").resize((32, 32), Image.Resampling.LANCZOS))
    thumbnails = [
        images.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4)) for images in (found.images, target[None] / 127.5 - 1)
    ]
    np.testing.assert_allclose(found.after, np.square(thumbnails[0] - thumbnails[1]).mean(axis=(1, 2, 3)), atol=2e-3)
    assert (found.after < found.before).all()
    embedded = guide(tmp_path / "model.keras", steps=0, by=folder / "aligned", towards=folder / "image.png")
    searcher = load_searcher(folder / "aligned")
    small = [part.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4)) for part in (found.images, target[None] / 127.5 - 1)]
    own = as_predictor(model).predict_inputs(FEATURES).reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    expected = 1 - searcher.embed_images(own) @ searcher.embed_images(small[1].astype(np.float32))[0]
    np.testing.assert_allclose(embedded.guide_inputs(FEATURES).before, expected, atol=5e-3)


@pytest.mark.training
def test_guide_of_waveforms_guides_a_model_of_features(folder, model, tmp_path):
    """The two receive the same clips, each in its own form."""
    searcher = load_searcher(aligned_run(tmp_path / "waveforms", input="waveform"))
    guided = guide(model, steps=4, by=searcher)
    assert guided.metadata.input == "waveform" and model.metadata.input == "features"
    clips = np.concatenate(list(guided.stream_inputs(folder / "a.wav")))
    assert clips.shape == (3, 16_000)
    found = guided.guide_inputs(clips)
    own = as_predictor(model).predict(folder / "a.wav").reshape(3, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found.before, 1 - similarities(searcher, own, clips), atol=1e-4)
    np.testing.assert_array_equal(guided.predict(folder / "a.wav"), found.images)
    assert (found.after < found.before).all()
    expected = as_predictor(model).label_logits(folder / "a.wav")
    np.testing.assert_array_equal(guided.label_logits(folder / "a.wav"), expected)
    assert (
        guided.predict_labels(folder / "a.wav").answers == as_predictor(model).predict_labels(folder / "a.wav").answers
    )
    # The other way round, too.
    other = guide(tmp_path / "waveforms", steps=1, by=folder / "aligned")
    assert other.metadata.input == "waveform" and len(other.predict(folder / "a.wav")) == 3


@pytest.mark.training
def test_model_of_embeddings_is_guided_by_one_of_the_same_embeddings(tmp_path):
    config = FeatureConfig(embedding=6)
    run = aligned_run(tmp_path / "run", features=config)
    guided = guide(run, steps=3)
    vectors = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    found = guided.guide_inputs(vectors)
    assert (found.after < found.before).all()
    aligned_run(tmp_path / "other", features=FeatureConfig(embedding=7))
    with pytest.raises(
        UsageError, match=r"by must be a run whose inputs are .* Received: embeddings of 7 numbers for embeddings of 6"
    ):
        guide(run, by=tmp_path / "other")


@pytest.mark.training
def test_generate_images_and_videos_of_a_guided_model(folder, guided, tmp_path):
    paths = generate_images(guided, folder / "a.wav", tmp_path / "images", samples=2, seed=1)
    assert [path.name for path in paths] == [f"000{i}-{j}.png" for i in range(3) for j in (1, 2)]
    expected = to_uint8(guided.sample(folder / "a.wav", 2, seed=1))
    np.testing.assert_array_equal(np.asarray(Image.open(paths[3])), expected[1, 1])
    pytest.importorskip("av")
    summary = generate_video(guided, folder / "a.wav", tmp_path / "a.mp4", fps=2, style_walk=1.0)
    assert summary.frames == 5 and summary.flicker > 0
    with pytest.raises(UsageError, match="smooth must be 0 for a model without latent vectors"):
        generate_video(guided, folder / "a.wav", tmp_path / "b.mp4", smooth=1.0)


@pytest.mark.training
def test_report_receives_the_distances_of_every_batch(folder, model):
    received = []
    guided = guide(
        model, steps=1, by=folder / "aligned", report=lambda *distances: received.append([len(d) for d in distances])
    )
    guided.predict(np.tile(FEATURES, (12, 1)))
    assert received == [[32, 32], [4, 4]]
    assert guided.guide_inputs(FEATURES[:0]).images.shape == (0, 32, 32, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, r"steps must be a whole number between 0 and 1,000. Received: steps=-1"),
        ({"steps": 1001}, r"Received: steps=1001"),
        ({"steps": 2.5}, r"Received: steps=2.5"),
        ({"steps": True}, r"Received: steps=True"),
        ({"starts": 0}, r"starts must be a whole number between 1 and 64. Received: starts=0"),
        ({"starts": 65}, r"Received: starts=65"),
        ({"step_size": 0}, r"step_size must be a number above 0. Received: step_size=0"),
        ({"step_size": float("nan")}, r"Received: step_size=nan"),
        ({"prior": -0.1}, r"prior must be a number from 0. Received: prior=-0.1"),
        ({"by": None}, r"by must be a run folder whose training aligned .* unless .* Received: by=None. Train one"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message, folder, model):
    with pytest.raises(UsageError, match=message):
        guide(model, **({"by": folder / "aligned"} | options))


def test_models_that_cannot_be_guided_are_refused(folder, model, tmp_path):
    by = folder / "aligned"
    metadata = ModelMetadata(features=FeatureConfig(), image=model.image)
    function = Predictor(lambda inputs: np.zeros((len(inputs), 32, 32, 3), np.float32), metadata)
    with pytest.raises(
        UsageError,
        match=r"model must have an encoder and a generator .* Received: a function, or a TFLite, SavedModel or ONNX "
        r"file. Pass the run that it was exported from, or leave guidance out",
    ):
        guide(function, by=by)
    x = keras.Input((104,), name="features")
    plain = keras.Model(x, keras.layers.Reshape((16, 16, 1))(keras.layers.Dense(256, activation="tanh")(x)))
    with pytest.raises(UsageError, match=r"model must have .* Received: another Keras model"):
        guide(plain, by=by)
    with pytest.raises(
        UsageError, match=r"latent must be False for a model whose custom generator .*Received: .*, without a style to"
    ):
        guide(small_model(n_labels=3), towards=folder / "image.png")
    with pytest.raises(UsageError, match=r"latent must be False .*Received: .*, which has a style to guide"):
        guide(small_model(n_labels=3, style_units=2), towards=folder / "image.png", latent=True)
    with pytest.raises(ModelError, match=r"by must be a run folder whose training aligned .* which doesn't exist"):
        guide(model, by=tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"A model must be a run folder"):
        guide(tmp_path / "nowhere", by=by)
    with pytest.raises(SourceError, match=r"none\.png"):
        guide(model, towards=tmp_path / "none.png")


@pytest.mark.training
def test_guide_of_other_clips_is_refused(folder, tmp_path):
    features = FeatureConfig(duration=0.5)
    model = AudioToImage(DenseEncoder(units=(8,)), ResidualGenerator(channels=(8,)), image_size=16, features=features)
    with pytest.raises(
        UsageError,
        match=r"by must be a run whose inputs .* Received: clips of 1 s at 16,000 Hz for clips of 0.5 s at 16,000 Hz",
    ):
        guide(model, by=folder / "aligned")
    # The audio doesn't count where an image is the target.
    assert (
        len(guide(model, steps=1, by=folder / "aligned", towards=folder / "image.png").predict(folder / "a.wav")) == 5
    )
