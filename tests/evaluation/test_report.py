"""Reports: saved by suffix, read again, as a table of pairs; compared, and as a model card."""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.metrics import confusion_matrix
from support.made_up_report import LABELS, N_PAIRS, make_report

from keras_a2i.cli.evaluate import show_report
from keras_a2i.cli.main import cli
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import ModelError, UsageError
from keras_a2i.evaluation.card import model_card
from keras_a2i.evaluation.card_metadata import card_metadata
from keras_a2i.evaluation.compare import compare
from keras_a2i.evaluation.environment import configuration_hash, describe_environment
from keras_a2i.evaluation.report import check_report_path, model_digest, read_report
from keras_a2i.models.model_file import ModelMetadata


@pytest.fixture(scope="module")
def report():
    return make_report(examples=[])


@pytest.mark.training
def test_save_writes_by_suffix_and_into_folders(report, tmp_path):
    assert report.save(tmp_path / "all") == tmp_path / "all" / "report.html"
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["per_pair.csv", "report.html", "report.json"]
    for name in ("a.html", "a.json", "a.csv"):
        assert report.save(tmp_path / name).read_bytes() != b""
    assert (tmp_path / "a.json").read_text() == (tmp_path / "all" / "report.json").read_text()
    with pytest.raises(UsageError, match=r"path must be a folder or end in .html, .json or .csv. Received: .*a.pdf"):
        report.save(tmp_path / "a.pdf")


def test_report_read_again_is_equal(report, tmp_path):
    report.save(tmp_path / "report.json")
    again = read_report(tmp_path)
    assert again.to_dict() == report.to_dict() and again.gains == report.gains and again.paper == report.paper
    assert again.contender("shuffled").kind == "control" and again.measure("swapped").value == 0.874
    assert again.gain("shuffled").mean == 0.1103 and again.gain("shuffled", "mse").mean == -0.0121
    assert again.gain("nobody") is again.contender("nobody") is again.measure("nothing") is None


def test_read_report_names_what_is_wrong(report, tmp_path):
    with pytest.raises(ModelError, match=r"Received: .*report.json, which doesn't exist. Evaluate the model first"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ModelError, match="isn't JSON"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict() | {"schema_version": 1}))
    with pytest.raises(ModelError, match=r"must have schema version 2\. Received: 1"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(ModelError, match="must be one of this version"):
        read_report(tmp_path)


def test_report_of_another_model_than_that_of_its_run_is_refused(runs, tmp_path):
    run = shutil.copytree(runs / "a0", tmp_path / "run")
    (run / "model.keras").write_bytes(b"first")
    digest = hashlib.sha256(b"first").hexdigest()
    assert model_digest(run) == model_digest(run / "model.keras") == digest and model_digest(tmp_path) == ""
    dataclasses.replace(read_report(run), model_digest=digest).save(run / "report.json")
    assert compare([run]).runs == [[str(run)]] and "# scenes on surf" in model_card(run)
    (run / "model.keras").write_bytes(b"resumed")
    for read in (read_report, model_card, lambda run: compare([run])):
        with pytest.raises(ModelError, match=r"must be of the model in its folder\. .*Evaluate the model again"):
            read(run)


def test_pairs_has_one_row_per_held_out_pair(report, tmp_path):
    pairs = report.pairs()
    assert list(pairs.columns) == [
        *("id", "label", "source", "time", "ssim", "mse", "sharpness", "hss", "rank", "named")
    ]
    assert len(pairs) == N_PAIRS and pairs["ssim"].tolist() == report.contenders[0].values["ssim"]
    assert pairs.loc[7, ["id", "label", "source", "time", "rank", "named"]].tolist() == [
        *("surf@7", "barrel", "surf-0", 7.0, 1.0, "calm")
    ]
    report.save(tmp_path / "pairs.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "pairs.csv"), pairs)
    assert "named" not in dataclasses.replace(report, labels=None).pairs()


def test_confusion_equals_scikit_learn(report):
    confusion, pairs = report.confusion(), report.pairs()
    names = sorted(LABELS)
    assert list(confusion.index) == list(confusion.columns) == names
    np.testing.assert_array_equal(confusion, confusion_matrix(pairs["label"], pairs["named"], labels=names))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one recipe, and another recipe, each with a run's config.json and a report."""
    home = tmp_path_factory.mktemp("runs")
    for name, recipe, seed in (("a0", "scenes", 0), ("a1", "scenes", 1), ("b0", "feat_ures", 0)):
        (home / name).mkdir()
        config = {"recipe": {"name": recipe, "epochs": 3}, "fingerprint": "f" * 64, "epochs": 3, "batch_size": 8}
        config |= {"seed": seed, "command": f"keras-a2i fit rec --seed {seed}", "records": "rec"}
        (home / name / "config.json").write_text(json.dumps(config))
        report = make_report(seed, examples=[], configuration=configuration_hash(config))
        report.save(home / name / "report.json")
    return home


def test_configuration_hash_ignores_the_seed_alone():
    config = {"recipe": {"name": "scenes"}, "fingerprint": "f", "epochs": 3, "batch_size": 8, "seed": 0}
    assert configuration_hash(config) == configuration_hash(config | {"seed": 1, "command": "x"})
    for change in ({"epochs": 4}, {"recipe": {"name": "paper"}}, {"fingerprint": "g"}, {"batch_size": 9}):
        assert configuration_hash(config | change) != configuration_hash(config)
    assert len(configuration_hash(config)) == 12
    assert int(describe_environment()["threads"]) >= 1


def test_compare_takes_seeds_as_replicates(runs):
    comparison = compare([runs / name for name in ("a0", "b0", "a1")])
    frame = comparison.to_frame()
    assert frame["name"].tolist() == ["scenes on surf", "feat_ures on surf"] and frame["n_runs"].tolist() == [2, 1]
    values = [read_report(runs / name).contenders[0].means["ssim"] for name in ("a0", "a1")]
    assert frame["ssim"][0] == pytest.approx(np.mean(values))
    assert frame["ssim_std"][0] == pytest.approx(np.std(values, ddof=1)) and np.isnan(frame["ssim_std"][1])
    assert frame["gain_over_shuffled"][0] == pytest.approx(0.1103) and frame["r1"][1] == pytest.approx(0.1417)
    low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    assert [frame["ssim_low"][0], frame["ssim_high"][0]] == pytest.approx([low, high])
    assert frame.loc[1, ["ssim_low", "ssim_high"]].isna().all() and "hss" not in frame
    text = comparison.render_text()
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in text and "scenes on surf" in text
    assert "± the sample standard deviation" in text


def test_compare_keeps_evaluations_on_different_records_apart(runs, tmp_path):
    copies = {name: shutil.copytree(runs / "a0", tmp_path / name) for name in ("a", "b", "c", "d")}
    changes = {"a": {"records_fingerprint": "f" * 64}, "b": {"records_fingerprint": "f" * 64, "records": "moved/surf"}}
    changes |= {"c": {"records_fingerprint": "0" * 64}, "d": {"records_fingerprint": "f" * 64, "split": "test"}}
    for name, change in changes.items():
        dataclasses.replace(read_report(runs / "a0"), **change).save(copies[name] / "report.json")
    comparison = compare(copies.values())
    assert [[pathlib.Path(run).name for run in row] for row in comparison.runs] == [["a", "b"], ["c"], ["d"]]
    assert comparison.names == [
        f"scenes on surf (split val) ({'f' * 12})",
        f"scenes on surf (split val) ({'0' * 12})",
        "scenes on surf (split test)",
    ]
    card = model_card(copies["c"])
    assert "surf, fingerprint 000000000000 |" in card and "| rec, fingerprint ffffffffffff |" in card
    assert "records of the training" not in model_card(copies["a"])


def test_run_that_is_given_twice_is_no_replicate(runs, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(runs / "a0")
    monkeypatch.chdir(runs)
    comparison = compare(["a0", "./a0/", "a1", runs / "a0", tmp_path / "link", "a0/report.json"])
    assert comparison.runs == [["a0", "a1"]] and comparison.to_frame()["n_runs"].tolist() == [2]


def test_compare_command_writes_html_csv_markdown_and_latex(runs, tmp_path):
    args = ["compare", *(str(runs / name) for name in ("a0", "a1", "b0"))]
    for suffix in ("html", "csv", "md", "tex"):
        result = CliRunner().invoke(cli, [*args, "--out", str(tmp_path / f"t.{suffix}")], catch_exceptions=False)
        assert result.exit_code == 0 and "scenes on surf" in result.output
    page = (tmp_path / "t.html").read_text()
    assert "scenes on surf" in page and "://" not in page and "<script" not in page
    frame = pd.read_csv(tmp_path / "t.csv")
    assert frame["n_runs"].tolist() == [2, 1]
    head, rule, first, second, _, caption = (tmp_path / "t.md").read_text().splitlines()
    assert head.startswith("| Recipe on records | Runs | SSIM |") and rule.startswith("|---|---:|---:|")
    assert first.startswith(f"| scenes on surf | 2 | {frame['ssim'][0]:.3f} ± {frame['ssim_std'][0]:.3f} |")
    assert second.startswith(r"| feat\_ures on surf | 1 |") and caption.startswith("Means over runs")
    assert {line.count(" | ") for line in (head, first, second)} == {rule.count("|") - 2}
    latex = (tmp_path / "t.tex").read_text()
    assert latex.startswith(r"\begin{tabular}{lrrrr") and r"feat\_ures on surf & 1 &" in latex and r"$\pm$" in latex
    columns = latex.splitlines()[2].count("&")
    assert all(line.count(" & ") == columns for line in latex.splitlines() if line.startswith(("scenes", "feat")))


@pytest.mark.parametrize(
    ("command", "flag", "name"),
    [
        (["compare", "nowhere"], "--out", "t.html"),
        (["runs", "nowhere"], "--out", "t.html"),
        (["card", "nowhere"], "--out", "t.md"),
        (["inspect", "nowhere"], "--sheet", "t.png"),
        (["search", "nowhere", "a.wav", "."], "--sheet", "t.png"),
    ],
)
def test_file_of_a_user_is_refused_before_anything_is_read(command, flag, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("mine")
    for arguments, message in (
        ([flag, name], f"path must not exist. Received: {name}. Choose another, or pass overwrite=True."),
        ([flag, "t.doc", "--overwrite"], f"path must end in .*Received: t.doc. On the command line: {flag}"),
        ([flag, "d.png", "--overwrite"], f"path must .*. On the command line: {flag}"),
        (["--overwrite"], f"--overwrite must be left out without {flag}, whose file it replaces"),
    ):
        (tmp_path / "d.png").mkdir(exist_ok=True)
        error = CliRunner().invoke(cli, [*command, *arguments]).exception
        assert isinstance(error, UsageError) and re.match(message, str(error)), error
    assert (tmp_path / name).read_text() == "mine"
    # With --overwrite the next thing that is wrong is named.
    error = CliRunner().invoke(cli, [*command, flag, name, "--overwrite"]).exception
    assert error is not None and "must not exist" not in str(error) and (tmp_path / name).read_text() == "mine"


def test_compare_replaces_a_table_on_request(runs, tmp_path):
    (tmp_path / "t.md").write_text("mine")
    args = ["compare", str(runs / "a0"), "--out", str(tmp_path / "t.md")]
    assert isinstance(CliRunner().invoke(cli, args).exception, UsageError)
    assert (tmp_path / "t.md").read_text() == "mine"
    assert CliRunner().invoke(cli, [*args, "--overwrite"], catch_exceptions=False).exit_code == 0
    assert "scenes on surf" in (tmp_path / "t.md").read_text()


def test_place_of_a_report_is_checked_before_the_evaluation(report, tmp_path):
    (tmp_path / "earlier").mkdir()
    report.save(tmp_path / "earlier" / "report.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "per_pair.csv").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a.csv").write_text("mine")
    place = {"model": report.model, "overwrite": False, "is_own": False}
    for name in ("new", "new.html", "earlier"):
        check_report_path(tmp_path / name, **place)
    for name, changes in (
        *(("earlier", {"model": "other"}), ("mine", {}), ("mine", {"is_own": True}), ("a.csv", {})),
        ("a.csv", {"is_own": True}),
    ):
        with pytest.raises(UsageError, match=r"path must not exist, unless it .* Received: .* would be replaced"):
            check_report_path(tmp_path / name, **place | changes)
        check_report_path(tmp_path / name, **place | changes | {"overwrite": True})
    check_report_path(tmp_path / "earlier", **place | {"model": "other", "is_own": True})
    for name in ("file", "new.pdf"):
        with pytest.raises(UsageError, match=r"path must be a folder or end in .html, .json or .csv"):
            check_report_path(tmp_path / name, **place | {"overwrite": True})
        with pytest.raises(UsageError, match=r"path must be a folder or end in .html, .json or .csv"):
            report.save(tmp_path / name)


@pytest.mark.parametrize(
    ("runs_given", "out", "message"),
    [
        ([], None, "at least one run folder"),
        (["nowhere"], None, "A run folder or a report.json must exist. Received: .*nowhere"),
    ],
)
def test_compare_names_what_is_wrong(runs_given, out, message, tmp_path):
    with pytest.raises((UsageError, ModelError), match=message):
        compare([tmp_path / name for name in runs_given])


def test_compare_refuses_an_unknown_suffix(runs, tmp_path):
    with pytest.raises(UsageError, match=r"path must end in one of .html, .csv, .md, .tex. Received: .*t.xlsx"):
        compare([runs / "a0"]).save(tmp_path / "t.xlsx")


def test_card_holds_command_data_scores_confusion_and_limits(runs):
    card = model_card(runs / "a0")
    assert "\n---\n\n# scenes on surf\n" in card
    for text in (
        *("keras-a2i fit rec --seed 0", "keras-a2i evaluate runs/surf-default", "120 pairs of 6 sources"),
        *("breaking 30", "| mean of the source | baseline |", "## Confusion matrix", "| calm | 0 | 0 | 30 | 0 |"),
        *("## Limits", "made-up stand-in", "the interval covers other sources like these", "Not measured: variety"),
        "The images follow the audio",
    ):
        assert text.replace("_", "\\_") in card, text
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert all(line.endswith(" |") for line in rows)


def test_hub_reads_license_tags_and_scores_of_a_card(runs):
    hub = pytest.importorskip("huggingface_hub")
    report, data = read_report(runs / "a0"), hub.ModelCard(model_card(runs / "a0")).data
    assert (data.license, data.library_name, data.model_name) == ("unknown", "keras", "scenes")
    assert "audio-to-image" in data.tags
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    assert scores["ssim"] == pytest.approx(report.contenders[0].means["ssim"], abs=1e-4)
    assert scores["accuracy"] == pytest.approx(report.labels.generated, abs=1e-4)
    assert {(r.task_type, r.dataset_name, r.dataset_split) for r in data.eval_results} == {
        ("audio-to-image", pathlib.Path(report.records).name, report.split)
    }


@pytest.mark.parametrize(
    ("license", "fields"),
    [
        ("CC-BY-SA-4.0", {"license": "cc-by-sa-4.0"}),
        ("", {"license": "unknown"}),
        ("My own: 'terms'", {"license": "other", "license_name": "my-own-terms"}),
    ],
)
def test_card_metadata_names_the_license_as_the_hub_does(license, fields):
    config = {"recipe": {"name": "a: b\n---"}}
    head = card_metadata(config, make_report(), ModelMetadata(license=license)).splitlines()
    assert head[0] == head[-1] == "---" and "---" not in head[1:-1]
    values = {name: json.loads(value) for name, _, value in (line.partition(": ") for line in head[1:-1])}
    assert {name: values[name] for name in fields} == fields
    assert values["model-index"][0]["name"] == "a: b\n---"


def test_card_of_exemplars_says_that_the_model_stores_training_images(runs, tmp_path):
    assert "which the model stores" not in model_card(runs / "a0")
    shutil.copytree(runs / "a0", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["recipe"]["generator"] = {"class_name": "keras_a2i>ExemplarGenerator"}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert "composed of training images, which the model stores" in model_card(tmp_path / "run")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (ModelMetadata(features=FeatureConfig(embedding=8, embedding_name="clap")), "embeddings of 8 numbers (clap)"),
        (ModelMetadata(), "104 MFCC of audio, of 1 s of audio at 16000 Hz"),
        (ModelMetadata(input="waveform"), "a waveform, of 1 s of audio at 16000 Hz"),
    ],
)
def test_card_tells_of_audio_where_the_input_is_audio(runs, monkeypatch, metadata, said):
    monkeypatch.setattr("keras_a2i.evaluation.card.read_metadata", lambda path: metadata)
    (row,) = [line for line in model_card(runs / "a0").splitlines() if line.startswith("| input |")]
    assert row.replace("\\", "") == f"| input | {said} |"


def test_card_escapes_markdown(runs, tmp_path):
    evil = "<b>|`*[x](y)\n# head"
    report = make_report(examples=[], notes=[evil], command=evil)
    (tmp_path / "config.json").write_text((runs / "a0" / "config.json").read_text())
    report.save(tmp_path / "report.json")
    card = model_card(tmp_path)
    assert "<b>" not in card.replace("\\<b\\>", "") and "\n# head" not in card
    assert "\\<b\\>\\|\\`\\*\\[x\\](y) \\# head" in card


def test_card_command_writes_beside_the_run(runs, tmp_path):
    result = CliRunner().invoke(cli, ["card", str(runs / "b0")], catch_exceptions=False)
    assert result.exit_code == 0 and result.output.strip() == str(runs / "b0" / "card.md")
    assert (runs / "b0" / "card.md").read_text() == model_card(runs / "b0")
    with pytest.raises(ModelError, match=r"run must be a run folder, as made by fit. Received: "):
        model_card(tmp_path)


def test_verdict_is_printed_once(runs, capsys):
    report = read_report(runs / "a0")
    show_report(report)
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"✓ {report.verdict[0]}"
    assert all(out.count(sentence) == 1 for sentence in report.verdict)
