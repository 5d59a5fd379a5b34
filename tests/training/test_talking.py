"""The recipe talking: its data, its objectives, a short training, and every command with its run."""

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.reference_models import FEATURES, SMALL, audio_and_references, reference_model
from support.tone_source import ToneSource
from support.tone_source import build as build_tones
from support.training_states import small_model

import keras_a2i as a2i
from keras_a2i.cli.main import cli
from keras_a2i.config import ImageConfig
from keras_a2i.datasets.faces.source import face_with_mouth
from keras_a2i.errors import ConfigError, UsageError
from keras_a2i.evaluation.contenders import donor_rows
from keras_a2i.evaluation.evaluate import evaluate
from keras_a2i.evaluation.foreign_measures import ONE_REFERENCE
from keras_a2i.evaluation.measures import MEASURES
from keras_a2i.media.conversion import to_uint8
from keras_a2i.media.image import save_png, to_pillow
from keras_a2i.metrics import METRICS
from keras_a2i.models import ResidualGenerator
from keras_a2i.objectives import Identity, TemporalDifference
from keras_a2i.objectives.objective import TrainState
from keras_a2i.recipes import get_recipe
from keras_a2i.records.orders import Neighbours, Shuffled, reference_rows
from keras_a2i.records.split_cache import SplitCache
from keras_a2i.training.fit import fit
from keras_a2i.training.networks import Epoch
from keras_a2i.training.run_folder import RunFolder

IMAGE = ImageConfig(size=16)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "records"
    sources = a2i.open_sources(["synthetic:faces:80"], features=FEATURES, image=IMAGE)
    split = a2i.SplitSpec(kind="source", val_fraction=0.5)
    a2i.build_records(sources, folder, features=FEATURES, image=IMAGE, workers=1, split=split)
    return a2i.Records(folder)


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("talking") / "run"
    fit(records, folder, recipe="talking", settings=SMALL, epochs=2, batch_size=8, verbose=0)
    return folder


def test_default_split_holds_out_whole_faces(tmp_path):
    sources = a2i.open_sources(["synthetic:faces:8"], features=FEATURES, image=IMAGE)
    a2i.build_records(sources, tmp_path / "records", features=FEATURES, image=IMAGE, workers=1)
    records = a2i.Records(tmp_path / "records")
    assert set(records.table("train").sources).isdisjoint(records.table("val").sources)


def test_references_are_other_images_of_the_source_and_all_equally_often():
    import tensorflow as tf

    sources = np.array(["b", "a", "b", "c", "b", "a", "b"])
    draw = reference_rows(sources, 3)
    rows = tf.range(7, dtype=tf.int64)
    drawn = np.array(
        [draw(rows, tf.constant(e, tf.int64), tf.constant(b, tf.int64)) for e in range(40) for b in (0, 1)]
    )
    assert (sources[drawn] == sources).all()
    assert (drawn[:, 3] == 3).all() and (drawn[:, [0, 1, 2, 4, 5, 6]] != [0, 1, 2, 4, 5, 6]).all()
    assert {0: {2, 4, 6}, 1: {5}, 4: {0, 2, 6}} == {row: set(drawn[:, row]) for row in (0, 1, 4)}
    counts = np.unique(drawn[:, 0], return_counts=True)[1]
    assert counts.min() > 12
    again = draw(rows, tf.constant(1, tf.int64), tf.constant(0, tf.int64))
    np.testing.assert_array_equal(again, drawn[2])


def test_dataset_yields_references_of_the_same_source(records):
    train = records.decoded("train", "waveform")
    known = {image.tobytes(): source for image, source in zip(train.images, train.sources, strict=True)}
    data = records.dataset("train", 8, input="waveform", references=True, seed=1)
    for (audio, references), images in data.as_numpy_iterator():
        assert audio.shape == (len(images), FEATURES.n_samples) and references.dtype == np.float32
        names = [
            [known[np.rint((image + 1) * 127.5).astype(np.uint8).tobytes()] for image in batch]
            for batch in (references, images)
        ]
        assert names[0] == names[1]


def test_references_of_an_epoch_are_the_same_whenever_it_is_read(records):
    epoch, found = Epoch(0), []
    data = records.dataset("train", 8, input="waveform", references=True, order=Shuffled(1, epoch), seed=1)
    for epoch.value in (0, 1, 0):
        found.append(np.concatenate([references for (_, references), _ in data.as_numpy_iterator()]))
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])


def test_reference_images_are_the_first_of_each_source(records):
    val = records.decoded("val")
    first = {s: val.images[np.flatnonzero(val.sources == s)[val.times[val.sources == s].argmin()]] for s in val.sources}
    found = records.reference_images("val", val.sources[::-1])
    np.testing.assert_array_equal(found, [first[source] for source in val.sources[::-1]])
    with pytest.raises(UsageError, match=r"sources must be sources of the split 'val'. Received: 'nobody'"):
        records.reference_images("val", ["nobody"])


def test_streamed_records_have_no_references(records):
    with pytest.raises(UsageError, match=r"References need the split in memory: cache must be large enough"):
        records.dataset("train", 8, input="waveform", references=True, cache=False)


def test_curriculum_shuffles_singles_before_neighbours(records):
    split = SplitCache(records._reader("train")).decoded("features")
    epoch = Epoch(0)
    order = Neighbours(0, epoch, from_epoch=2)

    def share_of_neighbours():
        rows = np.array([row for row, _ in order.rows(split).as_numpy_iterator()]).reshape(-1, 2)
        assert len(rows) == len(split) // 2
        gaps = np.abs(np.diff(split.times[rows], axis=1))[:, 0]
        return np.mean((split.sources[rows[:, 0]] == split.sources[rows[:, 1]]) & (gaps < 0.11))

    shares = []
    for epoch.value in range(4):
        shares.append(share_of_neighbours())
    assert max(shares[:2]) < 0.3 and shares[2:] == [1, 1]
    with pytest.raises(UsageError, match=r"from_epoch must be 0 without an epoch. Received: from_epoch=2"):
        Neighbours(0, from_epoch=2)


def test_temporal_difference_counts_after_the_singles():
    objective = TemporalDifference(start=0.5)
    assert [float(objective.ramp(progress)) for progress in (0.0, 0.49, 0.5, 1.0)] == [0, 0, 1, 1]
    assert TemporalDifference.from_config(objective.get_config()).start == 0.5
    with pytest.raises(UsageError, match=r"start must be a number in \[0, 1\). Received: start=1"):
        TemporalDifference(start=1)


def _state(real, reference, generated):
    return TrainState(None, real, None, None, generated, generated, None, 0.0, references=reference)


def test_identity_prefers_the_image_of_the_reference_and_moves_the_generated_image_alone():
    model, objective = reference_model(), Identity()
    objective.attach(model)
    _, images = audio_and_references(8, model)
    right, wrong = (
        float(objective.loss(_state(images, images, generated))) for generated in (images, np.roll(images, 1, axis=0))
    )
    assert right < wrong
    # A neighbour of the same source isn't a different identity.
    doubled = np.repeat(images[:4], 2, axis=0)
    assert float(objective.loss(_state(doubled, doubled, doubled))) < 2.0
    with pytest.raises(UsageError, match="a new instance: this one has been attached to a model before"):
        objective.attach(model)
    with pytest.raises(UsageError, match="needs a model with a reference image, such as the recipe talking trains"):
        Identity().attach(small_model())


@pytest.mark.training
def test_training_reports_every_objective_and_sheets(run):
    history = RunFolder(run).read_history()
    assert {"mse_loss", "ssim_loss", "temporal_loss", "identity_loss", "val_identity_loss", "val_mse"} <= set(
        history[0]
    )
    assert history[1]["mse_loss"] < history[0]["mse_loss"]
    sheet = Image.open(run / "samples" / "epoch_0002.png")
    assert sheet.width > sheet.height > 3 * IMAGE.size


def test_settings_that_do_not_fit_are_refused():
    recipe = get_recipe("talking")
    assert recipe.weights == {"mse": 1.0, "ssim": 1.0, "temporal": 0.5, "identity": 0.1}
    with pytest.raises(ConfigError, match="The objective identity needs a generator with a reference image"):
        get_recipe("talking", generator=ResidualGenerator())
    with pytest.raises(ConfigError, match="autoencoder_epochs must be 0 and shuffle_within_label false"):
        get_recipe("talking", autoencoder_epochs=1)


def test_sources_of_one_pair_are_refused(tmp_path):
    build_tones(tmp_path / "records", ToneSource(n_sources=6, seconds=1), split=None)
    with pytest.raises(
        UsageError, match=r"needs sources of two pairs or more, such as videos.*Received: records with on"
    ):
        fit(tmp_path / "records", tmp_path / "run", recipe="talking", settings=SMALL, verbose=0)
    assert not (tmp_path / "run" / "config.json").exists()


def test_audio_is_shuffled_within_the_source():
    sources = np.array(["a", "a", "b", "a", "b", "c"])
    rows = donor_rows(sources, 0, within=True)
    assert (sources[rows] == sources).all() and sorted(rows) == list(range(6))
    assert (rows[:5] != np.arange(5)).all() and rows[5] == 5


@pytest.mark.training
def test_evaluation_gives_each_face_its_own_reference(records, run, monkeypatch):
    chosen = ("swapped", "gallery", "two-sample-foreign", "cross-fade", "identity", "flicker")
    monkeypatch.setattr("keras_a2i.evaluation.measures.MEASURES", {id: MEASURES[id] for id in chosen})
    monkeypatch.setattr("keras_a2i.evaluation.scoring.METRICS", {id: METRICS[id] for id in ("ssim", "scaled_mse")})
    monkeypatch.setattr("keras_a2i.evaluation.probes.FACTOR_STEPS", 4)
    monkeypatch.setattr("keras_a2i.evaluation.reference_measures.SOURCE_STEPS", 4)
    report = evaluate(run, records)
    measures = {each.id: each for each in report.measures}
    assert set(measures) == {"swapped", "identity", "flicker"} and measures["flicker"].reference == 1
    assert report.skipped["gallery"] == "the reference image of the model reveals the source"
    assert report.skipped["cross-fade"] == report.skipped["two-sample-foreign"] == ONE_REFERENCE
    assert report.retrieval.chance_r1 == pytest.approx(1 / 20)
    contenders = {each.id: each for each in report.contenders}
    # The reference is the target of the first pair of its source.
    assert contenders["reference"].values["scaled_mse"][0] == 0 and "silence" in contenders
    assert any(note.startswith("The model receives a reference image") for note in report.notes)
    assert {each.name for each in report.factors} == {"opening", "width", "lids", "tone", "face"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    soundfile.write(folder / "speech.wav", random.normal(0, 0.1, 4_000), 8_000)
    save_png(to_pillow(face_with_mouth("face-0001", 0, 0.5, 0.5, ImageConfig(size=64))), folder / "face.png")
    return folder


def _call(*arguments):
    return CliRunner().invoke(cli, [str(each) for each in arguments])


@pytest.mark.training
def test_generate_moves_the_reference(run, inputs, tmp_path):
    done = _call("generate", run, inputs / "speech.wav", "--out", tmp_path / "out", "--reference", inputs / "face.png")
    assert done.exit_code == 0, done.output
    paths = sorted((tmp_path / "out" / "speech").glob("*.png"))
    predictor = a2i.load(run).with_reference(inputs / "face.png")
    expected = predictor.predict(inputs / "speech.wav")
    assert len(paths) == len(expected) == 2
    np.testing.assert_array_equal([np.asarray(Image.open(path)) for path in paths], to_uint8(expected))


@pytest.mark.training
def test_film_moves_the_reference(run, inputs, tmp_path):
    arguments = ("--video", "--fps", 5, "--codec", "gif", "--smooth", 0.1, "--reference", inputs / "face.png")
    done = _call("generate", run, inputs / "speech.wav", "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "speech.gif").is_file()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "reference must be an image for this model, which changes a reference image"),
        (("--video",), "reference must be an image for this model"),
        (("--guide", 3), "model must generate from audio alone to be guided"),
        (("--guide", 3, "--reference", "face.png"), "--reference must be left out with --guide"),
        (("--reference", "nowhere.png"), "nowhere.png"),
    ],
)
@pytest.mark.training
def test_generate_states_what_is_missing(run, inputs, tmp_path, arguments, message):
    done = _call("generate", run, inputs / "speech.wav", "--out", tmp_path / "out", *arguments)
    assert done.exit_code != 0 and message in str(done.exception or done.output) + done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.training
def test_live_and_pages_state_what_is_missing(run, inputs, tmp_path):
    for arguments, message in (
        (("live", run, "--input", inputs / "speech.wav", "--to", tmp_path / "out"), "reference must be an image"),
        (("demo", run, "--runtime", "cdn", "--no-browser", "--port", 0), "must accept audio alone"),
        (("search", run, inputs / "face.png", inputs), "whose training aligned audio and images"),
    ):
        done = _call(*arguments)
        assert done.exit_code != 0 and message in str(done.exception or "") + done.output


@pytest.mark.training
def test_live_moves_the_reference(run, inputs, tmp_path):
    arguments = ("--input", inputs / "speech.wav", "--to", tmp_path / "out", "--seconds", 0.4)
    done = _call("live", run, *arguments, "--reference", inputs / "face.png")
    assert done.exit_code == 0, done.output
    assert list((tmp_path / "out").glob("*.png"))
