"""The commands evaluate, baselines and their options, in this process."""

import hashlib
import json
import re
import sys

import keras
import pytest
from click.testing import CliRunner
from support.tone_source import ToneSource, build

from keras_a2i.cli import fit, sweep
from keras_a2i.cli.evaluate import _report_folder
from keras_a2i.cli.main import cli
from keras_a2i.errors import UsageError
from keras_a2i.evaluation.cross_validation import CrossValidation
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of tones, and a model of the recipe paper beside a run's config.json."""
    home = tmp_path_factory.mktemp("commands")
    build(home / "rec", ToneSource(n_sources=2, seconds=16), split=SplitSpec(kind="block", guard=0))
    manifest = Manifest.read(home / "rec")
    inputs = keras.Input((104,))
    dense = keras.layers.Dense(16 * 16 * 3, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((16, 16, 3))(dense))
    (home / "run").mkdir()
    metadata = ModelMetadata(features=manifest.features, image=manifest.image, recipe="paper")
    save_model(model, home / "run" / "model.keras", metadata)
    config = {"recipe": {"name": "paper"}, "fingerprint": manifest.fingerprint, "epochs": 1, "batch_size": 8}
    (home / "run" / "config.json").write_text(json.dumps(config))
    return home


def invoke(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args], catch_exceptions=False)


def test_split_that_the_records_lack_is_refused_before_tensorflow_loads(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_a2i.evaluation.evaluate", None)
    with pytest.raises(UsageError, match=r"split must be one of \['val'\] in these records\. Received: 'valid'"):
        invoke("evaluate", folder / "run", folder / "rec", "--split", "valid")


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_evaluate_command_prints_and_writes_the_report(folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["keras-a2i", "evaluate", "run", "rec"])
    result = invoke("evaluate", folder / "run", folder / "rec")
    assert result.exit_code == 0
    assert "8 held-out pairs of 2 sources" in result.output and "Gains over controls and baselines:" in result.output
    for text in ("model (shuffled audio)", "real image of the pair is the nearest"):
        assert text in result.output
    report = json.loads((folder / "run" / "report.json").read_text())
    assert report["command"] == "keras-a2i evaluate run rec" and report["verdict"][0] in result.output
    assert report["configuration"] and report["configuration"] in (folder / "run" / "report.html").read_text()
    assert len((folder / "run" / "per_pair.csv").read_text().splitlines()) == 9
    assert report["model_digest"] == hashlib.sha256((folder / "run" / "model.keras").read_bytes()).hexdigest()
    assert report["records_fingerprint"] == Manifest.read(folder / "rec").fingerprint
    # The recipe is the paper's: its three figures beside the published ones.
    assert "The paper's figures:" in result.output and "0.4630" in result.output and "stand-ins" in result.output
    assert report["paper"]["MSE x 64"][0] == 4.239


@pytest.mark.parametrize(
    ("model", "folder"),
    [("run", "run"), ("run/model.keras", "run"), ("run/small.tflite", "run/small-report"), ("m.tflite", "m-report")],
)
def test_report_of_a_file_has_a_folder_of_its_own(tmp_path, model, folder):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert _report_folder(tmp_path / model) == tmp_path / folder


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_evaluate_command_writes_where_it_is_told(folder, tmp_path):
    result = invoke("evaluate", folder / "run" / "model.keras", folder / "rec", "--out", tmp_path / "out", "--seed", 3)
    assert result.exit_code == 0 and f"{tmp_path / 'out' / 'report.html'}: written in" in result.output
    assert (tmp_path / "out" / "report.json").is_file()


def test_evaluate_command_refuses_files_of_a_user_before_it_reads_the_model(tmp_path):
    (tmp_path / "report.json").write_text("mine")
    for out, flags, message in (
        (
            tmp_path,
            [],
            r"path must not exist, unless it is a folder with an earlier report.*On the command line: --out",
        ),
        (tmp_path / "report.json", [], r"where report.json would be replaced"),
        (tmp_path / "r.pdf", ["--overwrite"], r"path must be a folder or end in .*On the command line: --out"),
    ):
        with pytest.raises(UsageError, match=message):
            invoke("evaluate", "nowhere", "nowhere", "--out", out, *flags)
    assert (tmp_path / "report.json").read_text() == "mine"
    result = invoke("evaluate", "nowhere", "nowhere", "--folds", 2, "--overwrite")
    assert result.exit_code == 2 and "--overwrite must be left out with --folds" in result.output


def test_evaluate_command_passes_options_of_cross_validation(folder, tmp_path, monkeypatch):
    calls = []

    def stand_in(*args, **options):
        calls.append((args, options))
        raise UsageError("stopped")

    monkeypatch.setattr("keras_a2i.evaluation.cross_validation.cross_validate", stand_in)
    with pytest.raises(UsageError, match="stopped"):
        invoke("evaluate", folder / "run", folder / "rec", "--folds", 3, "--by", "source", "--seeds", 2, "--seed", 5)
    (args, options) = calls[0]
    assert args == (folder / "run", folder / "rec", folder / "run" / "folds")
    assert {name: options[name] for name in ("folds", "by", "seeds", "seed")} == {
        **{"folds": 3, "by": "source", "seeds": 2, "seed": 5}
    }
    result = invoke("evaluate", folder / "run", folder / "rec", "--seeds", 2)
    assert result.exit_code == 2 and "--seeds can only be used with --folds" in result.output


def test_sweep_says_what_stands_for_each_option_of_fit_that_it_lacks():
    names = {name for option in sweep.command.params for name in option.opts}
    lacking = [option.opts[0] for option in fit.command.params if not names & set(option.opts)]
    hints = {name: invoke("sweep", "rec", "--out", "s", "--set", "a=1", name, "1").output for name in lacking}
    assert "No such option '--epochs'. A sweep accepts it as a setting: --set epochs=VALUE" in hints["--epochs"]
    assert "--set batch_size=VALUE" in hints["--batch-size"] and "--set gain_db=0" in hints["--no-augment"]
    assert "The same command continues a sweep" in hints["--resume"]
    assert all(re.search(r"No such option '--[a-z-]+'\. (It|Set|The|A) ", hint) for hint in hints.values()), hints
    assert "Did you mean" in invoke("sweep", "rec", "--out", "s", "--set", "a=1", "--sed", 1).output


def test_cross_validation_is_printed_with_what_its_intervals_cover(folder, monkeypatch):
    from support.made_up_report import make_report

    report = make_report(examples=[])
    for contender in report.contenders:
        contender.means["scaled_mse"] = 1.0
    found = CrossValidation([report], report.gains[:2], {"shuffled": "model (shuffled audio)"})
    monkeypatch.setattr("keras_a2i.evaluation.cross_validation.cross_validate", lambda *_, **__: found)
    result = invoke("evaluate", folder / "run", folder / "rec", "--folds", 2)
    assert result.exit_code == 0
    assert "the intervals cover other sources like these" in result.output
    assert "model (shuffled audio)" in result.output
    assert "+0.088 to +0.131" in result.output and "12 sources" in result.output


@pytest.mark.training
def test_baselines_command_needs_no_model(folder):
    result = invoke("baselines", folder / "rec")
    assert result.exit_code == 0
    assert "24 train, 8 held out" in result.output and "SSIM" in result.output
    assert "mean image of the label (ceiling)" in result.output
    assert "leak: " in result.output and "have a training pair of the same source" in result.output
