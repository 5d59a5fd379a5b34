"""Embeddings made elsewhere in place of MFCC: which vectors become pairs, and models that take them."""

import csv
import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.networks import tiny_network
from support.vector_files import FEATURES, IMAGE, source_of, write_vector_files

import keras_a2i
from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ConfigError, KerasA2IError, RecordsError, SourceError, UsageError
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.recipes.default_recipe import choose_recipe
from keras_a2i.records.build import build_records
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import Records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.serving.predictor import load
from keras_a2i.sources.embeddings_csv import EmbeddingsCsvSource
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.vectors import read_vectors

COLOURS = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 30]], np.uint8)
N, LENGTH = 96, 12


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def refused(*args):
    """The sentence that a command ends with."""
    result = run(*args)
    assert isinstance(result.exception, KerasA2IError), result.output
    return str(result.exception)


def colour_pairs(n, seed=0):
    """Vectors whose first four numbers tell, in noise, which of four colours the image has."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 4
    vectors = rng.normal(0, 0.15, (n, LENGTH)).astype(np.float32)
    vectors[np.arange(n), kinds] += 1
    return vectors, kinds


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A pairs.csv whose embeddings are the rows of one file, and a few other vectors beside it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "png").mkdir()
    vectors, kinds = colour_pairs(N)
    np.save(folder / "clap.npy", vectors)
    rows = []
    for i, kind in enumerate(kinds):
        Image.new("RGB", (16, 16), tuple(COLOURS[kind].tolist())).save(folder / "png" / f"{i}.png")
        rows.append((f"clap.npy:{i}", f"png/{i}.png", f"colour{kind}", "val" if i >= 72 else "train"))
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("embedding", "image", "label", "split"), *rows])
    return folder


@pytest.fixture(scope="module")
def records(data):
    result = run("build-records", data / "pairs.csv", "--out", data / "rec", "--image-size", 16, "--workers", 1,
                 "--embedding-name", "CLAP")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "72 train, 24 val" in result.output and "features: embeddings of 12 numbers (CLAP)" in result.output
    return data / "rec"


@pytest.fixture(scope="module")
def trained(records, data):
    args = ("--recipe", "features", "--size", "tiny", "--epochs", 30, "--batch-size", 16)
    result = run("fit", records, "--out", data / "run", *args)
    assert result.exit_code == 0, result.output
    assert f"keras-a2i generate {data / 'run'} FILE" in result.output
    return data / "run"


@pytest.fixture
def folder(tmp_path):
    return write_vector_files(tmp_path / "data")


@pytest.mark.training
def test_records_of_embeddings_hold_the_vectors_and_their_name(records, data):
    manifest = Manifest.read(records)
    assert manifest.features == FeatureConfig(embedding=12, embedding_name="CLAP") and not manifest.waveform
    assert manifest.features.n_features == 12
    assert manifest.features.description == "embeddings of 12 numbers (CLAP)"
    vectors, kinds = colour_pairs(N)
    seen = 0
    for split in ("train", "val"):
        for batch in Records(records).stream(split):
            for name, features, image in zip(batch.ids, batch.features, batch.images, strict=True):
                row = int(name.removeprefix("clap.npy:"))
                np.testing.assert_array_equal(features, vectors[row])
                assert (image == COLOURS[kinds[row]]).all()
                seen += 1
    assert seen == N
    inputs, images = next(iter(Records(records).dataset(batch_size=8)))
    assert inputs.shape == (8, 12) and images.shape == (8, 16, 16, 3)
    twice = run("build-records", data / "pairs.csv", "--out", records, "--image-size", 16, "--embedding-name", "CLAP")
    assert "complete already" in twice.output


def test_configurations_of_audio_have_no_embedding_fields(records, tmp_path):
    assert "embedding" not in json.dumps(FEATURES.to_dict()) + ModelMetadata().to_json()
    values = json.loads((records / "records.json").read_text())
    assert values["features"]["embedding"] == 12 and values["features"]["embedding_name"] == "CLAP"
    del values["features"]["embedding"], values["features"]["embedding_name"]
    (tmp_path / "records.json").write_text(json.dumps(values))
    assert Manifest.read(tmp_path).features == FEATURES and FEATURES.n_features == 104
    (old,) = [json.loads(ModelMetadata().to_json())]
    assert ModelMetadata.from_json(json.dumps(old)) == ModelMetadata()
    new = ModelMetadata(features=FeatureConfig(embedding=3, embedding_name="BEATs"))
    assert ModelMetadata.from_json(new.to_json()) == new and new.n_inputs == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"embedding": -1}, "embedding must be a whole number from 1 to 16384"),
        ({"embedding": 16_385}, "embedding must be a whole number from 1 to 16384"),
        ({"embedding": True}, "embedding must be a whole number"),
        ({"embedding": 8.0}, "embedding must be a whole number"),
        ({"embedding_name": "CLAP"}, "requires an embedding"),
        ({"embedding": 8, "embedding_name": "a\nb"}, "embedding_name must be printable text of at most 80"),
        ({"embedding": 8, "embedding_name": "x" * 81}, "embedding_name must be printable text of at most 80"),
    ],
)
def test_feature_config_with_an_invalid_embedding_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        FeatureConfig(**values)


def test_audio_and_embeddings_together_are_refused(records, folder, tmp_path):
    np.save(folder / "short.npy", np.zeros(7))
    config = {"features": FEATURES, "image": IMAGE}
    sources = [source_of(folder, "embedding,image\none.npy,a.png\n"), *open_sources(["synthetic:surf:4"], **config)]
    message = "one kind. Received: embeddings of 8 numbers and 104 MFCC of audio. Build separate records"
    with pytest.raises(UsageError, match=message):
        build_records(sources, tmp_path / "rec", image=IMAGE, workers=1)
    with pytest.raises(UsageError, match=r"^embedding_name can only be used with a csv of embeddings"):
        open_sources(["synthetic:surf:4"], **config, embedding_name="CLAP")
    with pytest.raises(
        UsageError, match=r"^sample_rate and n_mfcc can only be used with videos or AVSpeech's csv .* or a csv of pairs"
    ):
        open_sources([folder / "pairs.csv"], features=FeatureConfig(sample_rate=8000, n_mfcc=20), image=IMAGE)
    with pytest.raises(SourceError, match="Vectors need their images"):
        open_sources([folder / "one.npy"], **config)
    with pytest.raises(RecordsError, match=r"hold embeddings of 12 numbers \(CLAP\), no waveform"):
        Records(records).dataset(input="waveform")
    message = "The recipe 'scenes' requires audio. Received: records of embeddings of 12 numbers (CLAP) without audio"
    assert message in refused("fit", records, "--out", tmp_path / "run", "--recipe", "scenes", "--epochs", 1)


@pytest.mark.training
def test_inspect_and_baselines_of_embeddings(records, data):
    result = run("inspect", records, "--sheet", data / "sheet.png")
    assert result.exit_code == 0, result.output
    assert "features          embeddings of 12 numbers (CLAP)" in result.output
    assert "silent clips      none: embeddings have no audio" in result.output
    assert (data / "sheet.png").is_file()
    assert "image of nearest audio" in run("baselines", records).output


@pytest.mark.training
def test_trained_model_generates_by_the_embedding(trained, records):
    predictor = load(trained)
    assert predictor.metadata.features == Manifest.read(records).features
    vectors, kinds = colour_pairs(40, seed=1)
    real = COLOURS[kinds][:, None, None].astype(np.float32) / 127.5 - 1
    drawn = predictor.predict(vectors)
    own, other = (np.square(drawn[rows] - real).mean() for rows in (np.arange(40), np.roll(np.arange(40), 1)))
    assert own < 0.05 and own < 0.1 * other
    np.testing.assert_array_equal(predictor.predict(vectors[0]), predictor.predict(vectors[:1]))


def test_default_recipe_of_embeddings_is_features(records):
    assert choose_recipe(Records(records))[0] == "features"


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_evaluate_of_embeddings_notes_them_and_has_no_silence(trained, records, data, tmp_path, monkeypatch):
    import keras_a2i.evaluation.evaluate as evaluation

    monkeypatch.setattr(evaluation, "mfcc", None)
    result = run("evaluate", trained, records, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert "silence" not in [scores["id"] for scores in report["contenders"]]
    # By squared error: SSIM tells little about images of one colour.
    gains = {(gain["against"], gain["metric"]): gain for gain in report["gains"]}
    for rival in ("shuffled", "training-mean"):
        gain = gains[rival, "scaled_mse"]
        assert gain["mean"] > 10 and all(interval["p_value"] < 0.01 for interval in gain["intervals"])
    assert report["notes"] == [
        "The model's inputs are embeddings of 12 numbers (CLAP). In this report, audio means these inputs."
    ]
    # As long, but made by something else.
    assert run("build-records", data / "pairs.csv", "--out", tmp_path / "rec", "--image-size", 16, "--workers", 1,
               "--embedding-name", "BEATs").exit_code == 0  # fmt: skip
    message = (
        "must have the model's features, embeddings of 12 numbers (CLAP). Received: embeddings of 12 numbers (BEATs)"
    )
    assert message in refused("evaluate", trained, tmp_path / "rec", "--out", tmp_path)
    assert FeatureConfig(embedding=12).is_like(FeatureConfig(embedding=12, embedding_name="CLAP"))


@pytest.mark.training
@pytest.mark.parametrize("name", ["model.tflite", "saved"])
def test_exported_model_accepts_vectors(trained, tmp_path, name):
    result = run("export", trained, "--out", tmp_path / name)
    assert result.exit_code == 0 and "24 pairs of" in result.output, result.output
    predictor, vectors = load(tmp_path / name), colour_pairs(5, seed=2)[0]
    assert predictor.metadata.features == FeatureConfig(embedding=12, embedding_name="CLAP")
    np.testing.assert_allclose(predictor.predict(vectors), load(trained).predict(vectors), atol=1e-4)


@pytest.mark.training
def test_model_without_metadata_has_the_length_of_its_input(tmp_path):
    model = tiny_network(n_features=12)
    keras_a2i.export(model, tmp_path / "m.tflite")
    model.save(tmp_path / "m.keras")
    for name in ("m.tflite", "m.keras"):
        assert load(tmp_path / name).metadata.features == FeatureConfig(embedding=12)


@pytest.mark.training
def test_generate_writes_an_image_for_every_vector(trained, tmp_path):
    vectors, kinds = colour_pairs(40, seed=3)
    np.save(tmp_path / "v.npy", vectors)
    np.savez(tmp_path / "named.npz", red=vectors[0], green=vectors[1])
    np.save(tmp_path / "short.npy", vectors[:, :5])
    result = run("generate", trained, *(tmp_path / n for n in ("v.npy", "named.npz", "short.npy")), "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'v'}: 40 images" in result.output and f"{tmp_path / 'named'}: 2 images" in result.output
    expected = "The vectors of a file must be embeddings of 12 numbers (CLAP). Received: short.npy with vectors of 5"
    assert expected in result.output and "1 of 3 embedding files skipped" in result.output
    for row in (0, 1, 39):
        drawn = np.asarray(Image.open(tmp_path / "v" / f"{row:04d}.png")).mean(axis=(0, 1))
        assert np.abs(COLOURS.astype(float) - drawn).sum(axis=1).argmin() == kinds[row]
    assert (tmp_path / "v.png").is_file() and (tmp_path / "named.png").is_file()
    np.testing.assert_array_equal(load(trained).predict(tmp_path / "v.npy"), load(trained).predict(vectors))
    np.savez(tmp_path / "mine.npz", embeddings=vectors, images=np.zeros(3))
    np.testing.assert_array_equal(read_vectors(tmp_path / "mine.npz"), vectors)
    for name, array in {"cube": np.zeros((2, 2, 2)), "none": np.zeros((0, 12))}.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(SourceError, match=r"must hold vectors of one length|holds no vectors"):
            load(trained).predict(tmp_path / f"{name}.npy")


@pytest.mark.training
def test_audio_for_a_model_of_embeddings_is_refused(trained, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    sentence = r"must be embeddings of 12 numbers \(CLAP\), not audio\. Received: "
    predictor = load(trained)
    for call in (
        lambda: predictor.predict(tmp_path / "a.wav"),
        lambda: predictor.predict(np.zeros(16_000), sample_rate=16_000),
        lambda: list(predictor.stream(tmp_path / "a.wav")),
    ):
        with pytest.raises(UsageError, match=sentence):
            call()
    message = r"must be finite embeddings of 12 numbers \(CLAP\), \(batch, 12\). Received: shape \(1, 5\)"
    for vectors in (np.zeros(5), np.zeros((1, 5))):
        with pytest.raises(UsageError, match=message):
            predictor.predict(vectors)
    for args in (
        ("generate", trained, tmp_path / "a.wav", "--out", tmp_path),
        ("generate", trained, tmp_path / "a.wav", "--out", tmp_path, "--video"),
        ("live", trained, "--input", tmp_path / "a.wav", "--to", tmp_path / "live"),
        ("export", trained, "--out", tmp_path / "m.tflite", "--input", "waveform"),
    ):
        assert "The input of this model must be embeddings of 12 numbers (CLAP), not audio. Received: " in refused(
            *args
        )
    model = tiny_network(features=predictor.metadata.features)
    assert model.input_shape == (None, 12)
    with pytest.raises(UsageError, match="model must be a model of MFCC"):
        keras_a2i.with_frontend(model, predictor.metadata.features)
    with pytest.raises(UsageError, match="not audio"):
        ModelMetadata(features=predictor.metadata.features, input="waveform")


@pytest.mark.training
def test_records_of_embeddings_are_independent_of_the_workers(data, tmp_path):
    source = EmbeddingsCsvSource(data / "pairs.csv", features=FEATURES, image=IMAGE)
    for workers in (1, 2):
        build_records([source], tmp_path / str(workers), image=IMAGE, split=SplitSpec(kind="column"), workers=workers)
    one, two = (sorted((tmp_path / name).glob("*.tfrecord")) for name in "12")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
