"""Sweeps: what is trained in which order, refused, skipped, resumed and noted as failed, and the tables."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from support.sweep_runs import Trainings, score_of
from support.tone_source import ToneSource, build
from support.training_runs import SMALL

import keras_a2i as a2i
from keras_a2i.cli.main import cli
from keras_a2i.errors import KerasA2IError, LockedError, RunsFailedError, TrainingInterrupted, UsageError
from keras_a2i.evaluation.compare import compare
from keras_a2i.evaluation.report import read_report
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.recipes.ranges import Range
from keras_a2i.records.splits import SplitSpec

GRID = {"learning_rate": [1e-3, 2e-3], "batch_size": [16, 8]}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "rec"
    build(path, ToneSource(n_sources=2), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    return path


@pytest.fixture
def trainings(monkeypatch):
    trained = Trainings()
    monkeypatch.setattr("keras_a2i.evaluation.sweep.train_job", trained)
    return trained


def sweep(records, folder, **options):
    """A sweep of the recipe features whose runs aren't evaluated."""
    return a2i.sweep(records, folder, **{"recipe": "features", "settings": GRID, "evaluate": False} | options)


def states(folder):
    return {run["folder"]: run["state"] for run in json.loads((folder / "sweep.json").read_text())["runs"]}


def test_every_combination_and_seed_is_trained_in_order(records, tmp_path, trainings):
    found = sweep(records, tmp_path / "out", seeds=(0, 2))
    assert trainings.names == [
        f"learning_rate={rate},batch_size={size}/seed-{seed}"
        for rate in (0.001, 0.002)
        for size in (16, 8)
        for seed in (0, 2)
    ]
    assert [run.name for run in found.runs] == trainings.names and set(states(tmp_path / "out").values()) == {
        "finished"
    }
    config = json.loads((tmp_path / "out" / trainings.names[3] / "config.json").read_text())
    assert (config["batch_size"], config["seed"], config["recipe"]["learning_rate"]) == (8, 2, 1e-3)
    assert found.best.settings == {"learning_rate": 2e-3, "batch_size": 8} and found.by == "val_mse"
    assert a2i.get_recipe("features", **found.best.settings).batch_size == 8


def test_tables_hold_means_and_student_s_intervals_over_seeds(records, tmp_path, trainings):
    found, out = sweep(records, tmp_path / "out", seeds=3), tmp_path / "out"
    runs = pd.read_csv(out / "runs.csv")
    expected = [
        score_of(rate, size, seed)
        for rate, size, seed in zip(runs.learning_rate, runs.batch_size, runs.seed, strict=True)
    ]
    assert runs["val_mse"].tolist() == pytest.approx(expected) and (runs["state"] == "finished").all()
    means = runs.groupby(["learning_rate", "batch_size"])["val_mse"].agg(["mean", "std", "sem", "count"])
    means = means.sort_values("mean").reset_index()
    frame = pd.read_csv(out / "table.csv")
    pd.testing.assert_frame_equal(frame, found.to_frame().astype({"rank": "int64"}))
    assert frame["rank"].tolist() == [1, 2, 3, 4] and frame["n_seeds"].tolist() == [3] * 4
    for name in ("learning_rate", "batch_size"):
        assert frame[name].tolist() == means[name].tolist()
    low, high = stats.t.interval(0.95, means["count"] - 1, means["mean"], means["sem"])
    for column, values in (("", means["mean"]), ("_std", means["std"]), ("_low", low), ("_high", high)):
        np.testing.assert_allclose(frame[f"val_mse{column}"], values)
    cells = f"| 1 | 0.002 | 8 | 3 | {means['mean'][0]:.5f} [{low[0]:.5f}, {high[0]:.5f}] |".replace("[", r"\[").replace(
        "]", r"\]"
    )
    markdown = (out / "table.md").read_text()
    assert (
        markdown.startswith(r"|  | learning\_rate | batch\_size | Seeds | val\_mse ↓ | val\_ssim ↑ |")
        and cells in markdown
    )
    assert r"Ranked by val\_mse (lower is better); means over seeds, with 95 % intervals in brackets." in markdown
    latex = (out / "table.tex").read_text()
    assert r"val\_mse $\downarrow$ & val\_ssim $\uparrow$" in latex and f"{means['mean'][0]:.5f} [{low[0]:.5f}" in latex
    assert "val_mse ↓" in (out / "table.html").read_text() and "://" not in (out / "table.html").read_text()
    assert re.search(r"^1 +0\.002 +8 +3 +0\.0", found.render_text(), re.M)
    assert ("overlap" in found.note) == (high[0] >= low[1])


def test_rank_by_a_score_where_higher_is_better(records, tmp_path, trainings):
    lower, higher = (sweep(records, tmp_path / "out", by=by, settings=GRID) for by in ("val_mse", "val_ssim"))
    assert [each.name for each in lower.combinations] == [each.name for each in higher.combinations]
    assert (lower.better, higher.better) == ("lower", "higher") and len(trainings.names) == 4
    assert list(higher.to_frame().columns)[:6] == [
        "rank",
        "learning_rate",
        "batch_size",
        "n_seeds",
        "n_failed",
        "val_ssim",
    ]
    # One seed: no interval is invented.
    assert "[" not in higher.render_text() and "one seed, without intervals" in higher.caption and not higher.note
    assert higher.to_frame()[["val_ssim_std", "val_ssim_low", "val_ssim_high"]].isna().all(axis=None)


@pytest.mark.training
def test_interrupted_sweep_trains_the_rest_and_a_larger_one_adds_to_it(records, tmp_path, trainings):
    trainings.stop_at = 3
    out, told = tmp_path / "out", []
    with pytest.raises(TrainingInterrupted, match=rf"Stopped\. Finished runs.*are saved in {out}\. The same command"):
        sweep(records, out, seeds=2)
    assert list(states(out).values()) == ["finished"] * 2 + ["waiting"] * 6
    assert pd.read_csv(out / "table.csv")["n_seeds"].tolist() == [2, 0, 0, 0]
    first, trainings.names, trainings.stop_at = trainings.names, [], 0
    sweep(records, out, seeds=2, progress=told.append)
    assert (
        first[2] == trainings.names[0] and len(trainings.names) == 6 and told[0] == "2 of 8 runs had finished already"
    )
    trainings.names = []
    found = sweep(records, out, settings=GRID | {"batch_size": [16, 8, 4]}, seeds=3)
    assert len(trainings.names) == 18 - 8 and len(found.to_frame()) == 6
    with pytest.raises(UsageError, match=r"must have the same settings.*batch_size=16/seed-0 with others \(epochs"):
        sweep(records, out, epochs=7)


def test_failed_run_is_noted_and_the_others_are_trained(records, tmp_path, trainings):
    settings, out, told = {"learning_rate": [1e-3, 10, 2e-3]}, tmp_path / "out", []
    found = sweep(records, out, settings=settings, seeds=2, progress=told.append)
    assert [run.state for run in found.runs] == ["finished"] * 2 + ["failed"] * 2 + ["finished"] * 2
    assert [run.name for run in found.failed] == ["learning_rate=10/seed-0", "learning_rate=10/seed-1"]
    assert found.failed[0].reason == "The loss must stay finite. Received: nan in epoch 1"
    assert [each.settings["learning_rate"] for each in found.combinations] == [2e-3, 1e-3, 10]
    frame = pd.read_csv(out / "table.csv")
    assert frame["rank"].isna().tolist() == [False, False, True] and frame["n_failed"].tolist() == [0, 0, 2]
    assert r"0 of 2, 2 failed" in (out / "table.md").read_text() and "Received: nan" in (out / "table.html").read_text()
    assert pd.read_csv(out / "runs.csv")["reason"].dropna().unique().tolist() == [found.failed[0].reason]
    trainings.names = []
    # They are tried again, and nothing else is.
    with pytest.raises(
        RunsFailedError, match=r"learning_rate=10/seed-0 failed, and strict=True \(--strict\) stops at it: The"
    ):
        sweep(records, out, settings=settings, seeds=2, strict=True)
    assert trainings.names == ["learning_rate=10/seed-0"] and states(out)["learning_rate=10/seed-1"] == "waiting"


def test_combination_that_does_not_fit_is_noted_before_training(records, tmp_path, trainings):
    settings = {"style_units": [0, 4], "variational": [0, 0.1]}
    with pytest.raises(UsageError, match="style_units must be above 0 for the objective variational"):
        sweep(records, tmp_path / "out", settings=settings, strict=True)
    assert not (tmp_path / "out").exists()
    found = sweep(records, tmp_path / "out", settings=settings)
    assert [run.state for run in found.runs] == ["finished", "failed", "failed", "finished"] and len(
        trainings.names
    ) == 2
    assert "style_units must be above 0" in found.failed[0].reason and "must be 0 without" in found.failed[1].reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"settings": {"learning_rat": [1]}},
            r"no such setting. Received: 'learning_rat'. Did you mean 'learning_rate'",
        ),
        (
            {"settings": {"learning_rate": [1e-3, 0]}},
            r"learning_rate must be a number in \(0, 10\]. Received: learning_rate=0",
        ),
        ({"settings": GRID | {"size": ["tiny", "huge"]}}, r"size must be one of .*Received: size='huge'"),
        ({"settings": {"label_sharpness": [0, 4]}}, r"label_sharpness must be 0 without the objective labels"),
        ({"settings": {}}, r"settings must hold at least one setting with its values. Received: none"),
        (
            {"settings": {"learning_rate": [Range(1e-4, 1e-2)]}},
            r"A range needs a searcher. Received: a range of learning_rate",
        ),
        ({"settings": {"batch_size": range(1, 1002)}}, r"at most 1,000 combinations. Received: 1,001. trials=N draws"),
        (
            {"settings": {"batch_size": [8]}, "batch_size": 4},
            r"batch_size must be given once, as a setting or as an arg",
        ),
        ({"searcher": "random"}, r"searcher must be one of grid, optuna. Received: searcher='random'"),
        ({"searcher": "optuna"}, r"trials must be a number of combinations with searcher='optuna'"),
        ({"trials": 0}, r"trials must be 1 or more combinations. Received: trials=0"),
        ({"seeds": []}, r"seeds must be a number of seeds from 1.*Received: seeds=\[\]"),
        ({"jobs": 0}, r"jobs must be 1 or more"),
        ({"recipe": "feature"}, r"Did you mean 'features'"),
        (
            {"recipe": "words-aligned", "settings": {"autoencoder_epochs": [0, 1]}, "image_folder": "x"},
            "image_folder|autoenc",
        ),
        (
            {"by": "val_sim"},
            r"by must be a score that the runs will have. Received: by='val_sim'. The nearest is val_ssim",
        ),
        ({"by": "zzz"}, r"Received: by='zzz'. There are val_loss, val_mse"),
        ({"by": "ssim"}, r"by must be a score of the training's history without an evaluation. Received: by='ssim'"),
        ({"by": "best_baseline_ssim", "evaluate": True}, r"by must be a score that the runs will have"),
        ({"patience": 0}, r"patience must be 1 epoch or more"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(records, tmp_path, trainings, options, message):
    with pytest.raises(UsageError, match=message):
        sweep(records, tmp_path / "out", **options)
    assert trainings.names == [] and not (tmp_path / "out").exists()


def test_folders_of_others_are_left_alone(records, tmp_path, trainings):
    (tmp_path / "note.txt").write_text("mine")
    for folder, message in (
        (tmp_path, r"new or empty folder, or that of an earlier sweep. Received: .*, which holds other files"),
        (tmp_path / "note.txt", r"folder must be a folder. Received: the file"),
    ):
        with pytest.raises(UsageError, match=message):
            sweep(records, folder)
    with folder_lock(tmp_path / "out"), pytest.raises(LockedError):
        sweep(records, tmp_path / "out")
    build(tmp_path / "rec", split=SplitSpec(kind="block", val_fraction=0))
    with pytest.raises(
        UsageError, match=r"held-out scores. Received: .*rec, which has no split val. Build .*val-fraction"
    ):
        sweep(tmp_path / "rec", tmp_path / "out")
    assert trainings.names == [] and sorted(path.name for path in tmp_path.iterdir()) == ["note.txt", "rec"]


def test_trials_are_drawn_and_more_of_them_begin_with_the_same(records, tmp_path, trainings):
    settings = {"learning_rate": list(np.linspace(1e-3, 5e-3, 5)), "batch_size": [4, 8, 16]}
    sweep(records, tmp_path / "out", settings=settings, trials=3)
    first, trainings.names = trainings.names, []
    found = sweep(records, tmp_path / "out", settings=settings, trials=5)
    assert len(first) == 3 and len(trainings.names) == 2 and [run.name for run in found.runs] == first + trainings.names


def test_command_prints_the_table_and_its_status_tells_of_failures(records, tmp_path, trainings):
    out = tmp_path / "out"
    arguments = ["sweep", str(records), "--out", str(out), "--recipe", "features", "--no-evaluate", "--seed", "4"]
    good = [*arguments, "--set", "learning_rate=1e-3,2e-3", "--set", "units=16,8", "--set", "units=4", "--seeds", "2"]
    result = CliRunner().invoke(cli, [*good, "--patience", "3"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert trainings.names[2:4] == [f"learning_rate=0.001,encoder.units=4/seed-{seed}" for seed in (4, 5)]
    assert re.search(r"^ +learning_rate +encoder.units +Seeds +val_mse ↓ +val_ssim ↑$", result.output, re.M)
    assert re.search(r"^1 +0\.002 +16,8 +2 +0\.0\d+ \[", result.output, re.M)
    assert "Best: --set learning_rate=0.002 --set encoder.units=16,8\n" in result.output
    folder = out / "learning_rate=0.001,encoder.units=16-8" / "seed-5"
    own = f"keras-a2i fit {records} --out {folder} --recipe features --set learning_rate=0.001 --set encoder.units=16,8"
    assert json.loads((folder / "config.json").read_text())["command"] == f"{own} --seed 5 --patience 3"
    result = CliRunner().invoke(cli, [*arguments, "--set", "learning_rate=10"], catch_exceptions=False)
    assert result.exit_code == 1 and "failed learning_rate=10/seed-4: The loss must stay finite." in result.output
    assert "can't be ranked, because no run has the score val_mse" in result.output
    for options, message in (
        (["--set", "epohcs=1"], "Did you mean 'epochs'"),
        (["--set", "epochs"], "--set must be given NAME=VALUE"),
        (["--set", "batch_size=1..8"], r"a range of batch_size with searcher='grid'.*On the command line: --searcher"),
        (
            ["--set", "learning_rate=1e-2..1e-3:log"],
            r"ends of a range must be numbers and above 0, the lower one first",
        ),
        (["--set", "batch_size=8", "--by", "x"], r"by='x'.*On the command line: --by"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(cli, [*arguments, *options], catch_exceptions=False)


def test_command_points_to_a_finished_run_of_the_best_combination(records, tmp_path, trainings, monkeypatch):
    def fail_first(job, *arguments):
        if job.name.endswith("seed-0"):
            raise KerasA2IError("It broke")
        trainings(job, *arguments)

    monkeypatch.setattr("keras_a2i.evaluation.sweep.train_job", fail_first)
    options = ["--recipe", "features", "--no-evaluate", "--set", "learning_rate=1e-3", "--seeds", "2"]
    result = CliRunner().invoke(cli, ["sweep", str(records), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 1 and "failed learning_rate=0.001/seed-0: It broke" in result.output
    assert f"keras-a2i generate {tmp_path / 'out' / 'learning_rate=0.001' / 'seed-1'} FILE" in result.output


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_real_runs_are_trained_evaluated_and_one_fails_late(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.evaluation.evaluate.compute_measures", lambda *_: ([], {}))
    settings = {"monitor": ["val_beauty", "val_ssim"]} | {name: [value] for name, value in SMALL.items()}
    options = {"settings": settings, "epochs": 1, "patience": 5, "batch_size": 8}
    found = sweep(records, tmp_path / "out", evaluate=True, by="ssim", **options)
    failed, done = found.runs
    assert failed.state == "failed" and failed.reason.startswith("monitor must be one of val_loss, val_mse")
    report = a2i.compare([done.folder])
    assert done.scores["ssim"].value == report.to_frame()["ssim"][0] and done.level and found.best.runs == (done,)
    assert {"val_ssim", "val_mse", "gain_over_shuffled"} <= set(done.scores) and (done.folder / "report.html").is_file()
    assert [column.title for column in found.to_table().columns][-1] == "Verdict"
    assert "SSIM ↑" in found.render_text() and "Verdict" not in found.render_text()
    assert not {"val_ssim ↑", "Verdict", "epochs"} & set((tmp_path / "out" / "table.md").read_text().split(" | "))
    # What is trained and not yet evaluated is evaluated only.
    stored = read_report(done.folder)
    (done.folder / "report.json").unlink()
    monkeypatch.setattr("keras_a2i.evaluation.evaluate.evaluate", lambda *_, **__: stored)
    monkeypatch.setattr("keras_a2i.evaluation.sweep.train_job", lambda *_: pytest.fail("trained again"))
    again = sweep(
        records,
        tmp_path / "out",
        evaluate=True,
        by="ssim",
        **options | {"settings": settings | {"monitor": ["val_ssim"]}},
    )
    assert again.runs[0].scores == done.scores and compare([done.folder]).runs == [[str(done.folder)]]
