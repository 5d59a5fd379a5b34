"""`runs`: run folders side by side, evaluated or not, finished or still training."""

import base64
import io
import json
import re

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from support.made_up_report import make_report

from keras_a2i.cli.main import cli
from keras_a2i.errors import ModelError
from keras_a2i.evaluation.report_plots import curve_limits
from keras_a2i.evaluation.run_overview import run_overview
from keras_a2i.training.run_folder import RunConfig, RunFolder


def write_run(path, epochs, *, seed=0, asked=4, sheets=(), history=True):
    """Writes a run folder as a training leaves it after some epochs."""
    folder = RunFolder(path)
    folder.path.mkdir(parents=True)
    config = {"recipe": {"name": "scenes"}, "records": "data/shore", "fingerprint": "f", "batch_size": 8}
    folder.create(RunConfig(**config, epochs=asked, monitor="val_ssim", seed=seed, finished=epochs == asked))
    folder.samples.mkdir(exist_ok=True)
    rows = [{"epoch": i + 1, "seconds": 30.0, "val_mse": 1 / (i + 1), "val_ssim": 0.1 * (i + 1)} for i in range(epochs)]
    folder.write_history(rows if history else [])
    for epoch, colour in sheets:
        PIL.Image.new("RGB", (24, 16), colour).save(folder.samples / f"epoch_{epoch:04d}.png")
    return path


@pytest.fixture
def runs(tmp_path):
    """A finished and evaluated run, and one that is being trained, a level deeper."""
    write_run(tmp_path / "runs" / "a", 4, sheets=[(2, "red"), (4, (0, 200, 40)), (10_000, (10, 20, 250))])
    write_run(tmp_path / "runs" / "more" / "b", 2, seed=1)
    make_report(examples=[]).save(tmp_path / "runs" / "a" / "report.json")
    # The configuration of another tool is no run.
    (tmp_path / "runs" / "preset").mkdir()
    (tmp_path / "runs" / "preset" / "config.json").write_text("{}")
    return tmp_path / "runs"


def test_runs_are_found_with_their_epochs_scores_and_verdict(runs):
    overview = run_overview([runs, runs / "a"])
    assert [run.name for run in overview.runs] == ["a", "more/b"] and overview.skipped == []
    a, b = ([cell.text for cell in row.cells] for row in overview.to_table().rows)
    report = make_report(examples=[])
    assert a[:5] == ["a", "scenes on shore", "4 of 4", "2.0", "0.400"]
    assert a[5] == f"{report.contenders[0].means['ssim']:.3f}" and a[6].startswith("+0.110 [")
    assert b == ["more/b", "scenes on shore", "2 of 4, not finished", "1.0", "0.200", "", "", "", "not evaluated"]
    assert overview.runs[0].curve("val_mse") == ([0.5, 1.0, 1.5, 2.0], pytest.approx([1, 1 / 2, 1 / 3, 1 / 4]))
    assert overview.runs[0].curve("val_psnr") == ([], [])


def test_run_without_an_epoch_is_listed(tmp_path):
    write_run(tmp_path / "new", 0, history=False)
    (row,) = run_overview([tmp_path]).to_table().rows
    assert [cell.text for cell in row.cells][2:5] == ["0 of 4, not finished", "0.0", ""]
    page = run_overview([tmp_path]).save(tmp_path / "runs.html").read_text()
    assert "Curves" not in page and "Newest sample sheets" not in page


def test_page_shows_curves_and_the_newest_sheets(runs, tmp_path):
    result = CliRunner().invoke(cli, ["runs", str(runs), "--out", str(tmp_path / "runs.html")], catch_exceptions=False)
    assert result.exit_code == 0 and "scenes on shore" in result.output and "runs.html" in result.output
    page = (tmp_path / "runs.html").read_text()
    assert "://" not in page and "<script" not in page
    plots = [base64.b64decode(found).decode() for found in re.findall(r"image/svg\+xml;base64,([^\"]+)", page)]
    assert len(plots) == 2 and all("minutes of training" in plot and "more/b" in plot for plot in plots)
    (sheet,) = re.findall(r"image/webp;base64,([^\"]+)", page)
    image = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB"), int)
    assert image.shape == (16, 24, 3) and np.abs(image - (10, 20, 250)).max() < 12


def test_curves_show_every_last_and_best_value():
    long, short = [0.9, *[0.5] * 239], [0.7, 0.84]
    low, high = curve_limits([long, short], "higher")
    assert low < 0.5 and high > 0.9
    low, high = curve_limits([[50.0, *[1.0] * 239], [3.0, 2.0]], "lower")
    assert low < 1 and 2 < high < 5


def test_run_whose_report_is_outdated_is_listed(runs):
    (runs / "a" / "report.json").write_text('{"schema_version": 1}')
    overview = run_overview([runs])
    cells = list(overview.to_table().rows[0].cells)
    assert cells[2].text == "4 of 4" and cells[-1].text == "unusable report"
    assert "schema version" in cells[-1].note and overview.skipped == []


def test_scores_of_the_model_before_a_retraining_are_not_listed(runs):
    make_report(examples=[], model_digest="0" * 64).save(runs / "a" / "report.json")
    (runs / "a" / "model.keras").write_bytes(b"trained since")
    cells = list(run_overview([runs]).to_table().rows[0].cells)
    assert [cell.text for cell in cells[5:]] == ["", "", "", "unusable report"]
    assert "of another model than" in cells[-1].note


def test_damaged_run_is_named_and_skipped(runs):
    (runs / "more" / "b" / "history.csv").write_text("epoch,val_ssim\none,2\n")
    result = CliRunner().invoke(cli, ["runs", str(runs)], catch_exceptions=False)
    assert result.exit_code == 0 and "not finished" not in result.output
    assert re.search(r"skipped .*b: history.csv must hold a row of numbers for every epoch", result.output)
    (runs / "a" / "samples" / "epoch_10000.png").write_bytes(b"no image")
    assert "epoch_10000.png isn't a PNG or JPEG image" in run_overview([runs]).save(
        runs / "all.html"
    ).read_text().replace("&#39;", "'")
    (runs / "a" / "config.json").write_text(json.dumps({"recipe": 3}))
    with pytest.raises(ModelError, match=r"at least one run folder, as fit writes it. Received: none. .*history.csv"):
        run_overview([runs])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere"], 1, "Each path must be a folder. Received: nowhere, which doesn't exist"),
        (["file"], 2, "Each path must be a folder. Received: file, which is a file"),
        ([".", "--out", "runs.pdf"], 2, "path must end in .html. Received: runs.pdf"),
        ([], 1, "paths must hold at least one run folder, as fit writes it. Received: none"),
        (["."], 1, "paths must hold at least one run folder, as fit writes it. Received: none"),
    ],
)
def test_runs_command_names_what_is_wrong(arguments, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = CliRunner().invoke(cli, ["runs", *arguments])
    assert result.exception.exit_status == status and message in str(result.exception)
