"""`evaluate` on whole models: what it accepts, verdicts on models that cheat or ignore the audio, memory and seeds."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest
import soundfile
from support.tone_source import ToneSource, build

import keras_a2i
from keras_a2i.errors import ModelError, RecordsError, UsageError
from keras_a2i.evaluation import contenders as contenders_module
from keras_a2i.evaluation import pairs as pairs_module
from keras_a2i.evaluation.baseline_scores import score_baselines
from keras_a2i.evaluation.evaluate import evaluate
from keras_a2i.evaluation.measures import MEASURES, NOT_GIVEN
from keras_a2i.evaluation.paper import PUBLISHED, row_fingerprint
from keras_a2i.evaluation.verdict import LEVELS
from keras_a2i.models import DenseEncoder, TransposedGenerator
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec
from keras_a2i.serving.predictor import load
from keras_a2i.sources.pair import Plan


def grey(features):
    return np.full((len(features), 32, 32, 3), 0.1, np.float32)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Small records of tones and images of 16 pixels."""
    folder = tmp_path_factory.mktemp("tones") / "rec"
    build(folder, ToneSource(n_sources=2, seconds=20), split=SplitSpec(kind="block", guard=2.0))
    return folder


def small_model(n_inputs=104, size=16):
    inputs = keras.Input((n_inputs,))
    dense = keras.layers.Dense(size * size * 3, activation="tanh")(inputs)
    return keras.Model(inputs, keras.layers.Reshape((size, size, 3))(dense))


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_model_that_ignores_its_input_is_named(shore):
    report = evaluate(grey, shore / "block")
    assert report.level == "not" and report.model == "grey"
    assert report.verdict[0] == "The model ignores the audio: other audio leads to the same images."
    gain = report.gain("shuffled")
    assert (gain.mean, gain.widest.p_value) == (0, 1)
    assert report.retrieval.r1 == pytest.approx(1 / report.n_pairs)
    assert report.measure("coverage").value < 0.5


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_model_that_remembers_is_exposed_by_the_leak_of_a_random_split(shore, nearest_images):
    report = evaluate(nearest_images(shore / "random"), shore / "random")
    assert report.level == "leak" and report.leak.share > 0.9
    assert "can't be trusted" in report.verdict[0] and "'block'" in report.verdict[0]
    assert report.measure("memorisation").value == 0


def refuse_training(*_):
    raise AssertionError("a network was trained again")


@pytest.fixture(scope="module")
def reports(shore, nearest_images):
    """Reports of one model twice, the second time with nothing kept in memory, and the steps of the first.

    The second one finds all networks in the cache folder: their initial states and data are the same.
    """
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_a2i.evaluation.probes.FACTOR_STEPS", 160)
        patch.setattr("keras_a2i.evaluation.probes.LABEL_STEPS", 320)
        patch.setattr("keras_a2i.evaluation.response_measures.SOURCE_STEPS", 40)
        patch.setattr("keras_a2i.evaluation.realism_measures.FEATURE_STEPS", 50)
        patch.setattr("keras_a2i.evaluation.two_sample_measures.STEPS", 20)
        patch.setattr("keras_a2i.evaluation.two_sample_measures.CUTS", 1)
        model = nearest_images(shore / "block", k=3)
        report = evaluate(model, shore / "block", model_name="run", progress=steps.append)
        patch.setattr(pairs_module, "MEMORY_BUDGET", 0)
        patch.setattr(contenders_module, "MEMORY_BUDGET", 0)
        patch.setattr("keras_a2i.evaluation.train_network._train", refuse_training)
        return report, evaluate(model, shore / "block", model_name="run"), steps


@pytest.mark.training
def test_same_seed_has_the_same_report_whatever_is_kept_in_memory(reports):
    report, streamed, _ = reports
    for name in ("gains", "labels", "factors", "measures", "held_out", "retrieval", "level", "skipped"):
        assert getattr(streamed, name) == getattr(report, name), name
    # A product of other matrix sizes may differ in the last bit, which rounds a pixel to its neighbour.
    for own, other in zip(report.contenders, streamed.contenders, strict=True):
        tolerance = 1e-3 if own.id == "principal-components" else 0
        assert other.means == pytest.approx(own.means, rel=tolerance, abs=0), own.id


@pytest.mark.training
def test_model_that_follows_the_audio_has_a_whole_report(reports, tmp_path):
    report, _, steps = reports
    assert report.level == "follows" and report.leak.count == 0
    assert report.verdict[0].startswith("The images follow the audio")
    assert [gain.against for gain in report.gains[:2]] == ["source-mean", "shuffled"]
    assert report.gains[1].widest.p_value < 0.01
    assert {factor.name for factor in report.factors} >= {"swell", "wave", "wind", "rain", "night", "place"}
    night = next(factor for factor in report.factors if factor.name == "night")
    assert night.measure == "accuracy" and night.real > 0.95
    assert report.labels.real > 0.95
    model, ceiling = report.contenders[0], report.contenders[-1]
    assert ceiling.kind == "ceiling" and ceiling.means["scaled_mse"] < model.means["scaled_mse"]
    assert [info.id for info in report.metrics if info.degenerate] == ["histogram_similarity_paper"]
    assert model.means["histogram_similarity_paper"] > 0.99
    assert {example.group for example in report.examples} == {"best", "median", "worst", "swapped"}
    assert any("scoring the model and the baselines" in step for step in steps)
    assert report.measure("memorisation").value > 0.2 and report.measure("density").value > 0
    assert [result.id for result in report.measures][:3] == ["swapped", "gallery", "own-source"]
    of_models_with_more = {"variety", "sample-labels", "audio-to-image", "image-to-audio", "audio-to-label"}
    # The images have the size of patches.
    assert set(report.skipped) == of_models_with_more | {
        "two-sample-whole",
        "identity",
        "flicker",
        "calibration",
        "known-foreign",
        "unknown-foreign",
    }
    report.save(tmp_path)
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["schema_version"] == 2 and values["contenders"][0]["means"] == model.means
    assert np.isfinite([v for c in report.contenders for v in c.means.values()]).all()
    assert report.pairs()["ssim"].mean() == pytest.approx(model.means["ssim"])


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_measures_that_are_given_are_those_of_a_whole_report(shore, nearest_images, reports, capsys):
    model, ids = nearest_images(shore / "block", k=3), ["gallery", "swapped"]
    found = evaluate(model, shore / "block", measures=ids, verbose=2)
    assert found.measures == [reports[0].measure(id) for id in ("swapped", "gallery")]
    assert found.skipped == {id: NOT_GIVEN for id in MEASURES if id not in ids}
    assert found.factors and found.labels is not None
    lines = capsys.readouterr().out.splitlines()
    assert lines[:1] == ["reading the records ..."] and "measuring: accuracy for swapped audio ..." in lines
    assert re.fullmatch(rf"evaluated {found.n_pairs} pairs in \d+ s", lines[-1])
    shortest = evaluate(model, shore / "block", measures=(), verbose=0)
    assert (shortest.measures, shortest.labels, shortest.factors) == ([], None, [])
    assert set(shortest.skipped) == set(MEASURES)
    assert shortest.contenders == found.contenders and shortest.retrieval == found.retrieval
    assert "Retrieval of real images by generated ones:" in str(shortest)
    # A section whose tables have no rows to show isn't printed.
    assert "Response to the audio" in str(found) and "Response to the audio" not in str(shortest)
    assert "Retrieval" in shortest._repr_html_()
    assert capsys.readouterr().out == ""


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_paths_predictors_models_and_functions_have_one_report(tones, tmp_path):
    model, manifest = small_model(), Manifest.read(tones)
    metadata = ModelMetadata(features=manifest.features, image=manifest.image, recipe="paper")
    save_model(model, tmp_path / "m.keras", metadata)
    kinds = {
        str(tmp_path / "m.keras"): tmp_path / "m.keras",
        "": load(tmp_path / "m.keras"),
        model.name: model,
        "predict_on_batch": model.predict_on_batch,
    }
    reports = {name: evaluate(kind, tones) for name, kind in kinds.items()}
    for name, report in reports.items():
        assert report.model == name
        assert report.contenders[0].means == pytest.approx(reports[model.name].contenders[0].means, abs=1e-5)
    paper = reports[""].paper
    assert {name: published for name, (published, _) in paper.items()} == PUBLISHED
    rounded = np.round(reports[""].contenders[0].values["ssim_paper"], 2).mean()
    assert paper["SSIM, paper"][1] == pytest.approx(rounded)
    notes = " ".join(reports[""].notes)
    assert "stand-ins" in notes and "360 pairs" in notes and "split pairs at random" in notes
    assert reports[model.name].paper is None
    assert len(row_fingerprint(np.arange(104, dtype=np.float32))) == 64


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_input_of_a_model_is_inferred_from_its_length(tones):
    report = evaluate(small_model(16_000), tones)
    assert report.contender("silence") is not None and report.measure("quieter") is not None
    wave = evaluate(lambda x: np.zeros((len(x), 16, 16, 3)) + x.mean(), tones, input="waveform")
    assert wave.level == "not"


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_style_is_sampled_automatically(tones, tmp_path):
    manifest = Manifest.read(tones)
    parts = DenseEncoder(units=(8,), input="waveform"), TransposedGenerator(channels=(8,), base_channels=8)
    model = keras_a2i.AudioToImage(*parts, image_size=16, style_units=2)
    metadata = ModelMetadata(features=manifest.features, image=manifest.image, input="waveform", style_units=2)
    save_model(model, tmp_path / "m.keras", metadata)
    soundfile.write(tmp_path / "other.wav", np.zeros(40_000, np.float32), 16_000)
    (tmp_path / "bad.mp3").write_bytes(b"no audio")
    report = evaluate(tmp_path / "m.keras", tones, foreign=tmp_path)
    assert report.notes[0] == "Foreign audio: 3 clips of 1 file."
    assert report.notes[1].startswith("Skipped 1 file of foreign audio: ") and "bad.mp3" in report.notes[1]
    assert report.measure("variety").value >= 0 and report.measure("sample-labels") is not None
    assert evaluate(tmp_path / "m.keras", tones, samples=0).measure("variety") is None


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_silence_is_left_out_unless_there_was_audio(tmp_path):
    source = ToneSource(n_sources=1, seconds=16)
    build(tmp_path, source, split=SplitSpec(kind="block", guard=0), waveform=False)
    report = evaluate(lambda x: np.zeros((len(x), 16, 16, 3)), tmp_path)
    assert (
        report.contender("silence") is None
        and "don't state that the features were computed from audio" in report.skipped["silence"]
    )
    manifest = json.loads((tmp_path / "records.json").read_text())
    for stated, found in ((True, True), (False, False)):
        manifest["sources"] = [{"kind": "new", "has_audio": stated}]
        (tmp_path / "records.json").write_text(json.dumps(manifest))
        report = evaluate(lambda x: np.zeros((len(x), 16, 16, 3)), tmp_path)
        assert (report.contender("silence") is not None) == found


class PartlyLabelled(ToneSource):
    """Tones of which the first clip of every source has no label."""

    def plan(self):
        units = []
        for unit in super().plan().units:
            first, *others = unit.keys
            units.append(dataclasses.replace(unit, keys=(dataclasses.replace(first, label=""), *others)))
        return Plan(tuple(units))


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_labels_that_some_pairs_lack_are_not_scored_and_it_is_said(tones, tmp_path):
    build(tmp_path, PartlyLabelled(n_sources=2, seconds=20), split=SplitSpec(kind="block", guard=2.0))
    report = evaluate(lambda features: np.zeros((len(features), 16, 16, 3)), tmp_path)
    n = sum(Manifest.read(tmp_path).counts.values())
    assert f"Labels aren't scored, because 2 of {n} pairs have no label." in report.notes
    assert report.labels is None and report.contender("label-mean") is None
    whole = evaluate(lambda features: np.zeros((len(features), 16, 16, 3)), tones)
    assert whole.labels is not None and not any("Labels" in note for note in whole.notes)


def test_evaluate_names_what_is_wrong(tones, tmp_path):
    wrong = r"Each of measures must be one of swapped, .* Received: 'denstiy'. Did you mean 'density'\?"
    with pytest.raises(UsageError, match=wrong):
        evaluate(grey, tones, measures=["swapped", "denstiy"])
    with pytest.raises(UsageError, match=r"measures must be a list of ids, or None. Received: measures='density'"):
        evaluate(grey, tones, measures="density")
    with pytest.raises(UsageError, match=r"verbose must be .auto., 0, 1 or 2\. Received: verbose=3"):
        evaluate(grey, tones, verbose=3)
    with pytest.raises(UsageError, match="must hold at least one"):
        evaluate(grey, tones, foreign=tmp_path)
    with pytest.raises(ModelError, match="which doesn't exist"):
        evaluate(tmp_path / "nothing.keras", tones)
    with pytest.raises(UsageError, match=r"must have the length of the records' features \(104\) or waveforms"):
        evaluate(small_model(7), tones)
    with pytest.raises(UsageError, match=r"output must be images \(16, 16, 3\) as in the records"):
        evaluate(small_model(size=32), tones)
    with pytest.raises(UsageError, match=r"input must be 'features' or 'waveform'\. Received: 'mel'"):
        evaluate(grey, tones, input="mel")
    with pytest.raises(UsageError, match=r"model must be a path, a model or a function\. Received: 3"):
        evaluate(3, tones)
    with pytest.raises(RecordsError, match=r"split must be one of \['val'\] in these records. Received: 'test'"):
        evaluate(grey, tones, split="test")
    build(tmp_path / "few", ToneSource(n_sources=1, seconds=4), split=SplitSpec(kind="block", guard=0))
    with pytest.raises(RecordsError, match=r"must hold at least two held-out pairs. Received: 1"):
        evaluate(lambda features: np.zeros((len(features), 16, 16, 3)), tmp_path / "few")


@pytest.mark.training
def test_baselines_are_scored_without_a_model(shore):
    found = score_baselines(shore / "block")
    assert found.n_train > 80 and found.n_held_out == 40 and found.leak.count == 0
    by_id = {contender.id: contender for contender in found.contenders}
    assert by_id["principal-components"].means["scaled_mse"] < by_id["training-mean"].means["scaled_mse"]
    assert set(LEVELS) == {"follows", "follows-but", "barely", "not", "leak"}
