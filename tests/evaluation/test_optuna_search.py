"""A search by Optuna: it finds a good region, resumes where it was interrupted, and refuses what doesn't fit."""

import math
import sys

import pytest
from support.sweep_runs import Trainings, score_of
from support.tone_source import ToneSource, build

import keras_a2i as a2i
from keras_a2i.errors import MissingPackageError, TrainingInterrupted, UsageError
from keras_a2i.evaluation.optuna_search import OptunaSearch
from keras_a2i.recipes.ranges import Range
from keras_a2i.records.splits import SplitSpec

RATES = {"learning_rate": (Range(1e-5, 1.0, log=True),), "batch_size": (8, 16)}


@pytest.fixture(scope="module")
def optuna():
    return pytest.importorskip("optuna")


def searched(folder, values, trials, value_of, **options):
    """All combinations of a search, with the values that it was told."""
    search, found = OptunaSearch(folder, values, trials, **{"by": "val_mse", "better": "lower"} | options), []
    while combinations := search.ask():
        for each in combinations:
            found.append((each, value_of(each)))
            search.tell(*found[-1])
    return found


def error_of(combination):
    return score_of(combination["learning_rate"], combination["batch_size"], 0)


@pytest.mark.training
@pytest.mark.usefixtures("optuna")
def test_search_of_a_range_comes_near_the_best_and_is_repeatable(tmp_path):
    found, again = (searched(tmp_path / name, RATES, 30, error_of) for name in make(tmp_path, "a", "b"))
    assert found == again and len(found) == 30
    rates = [each["learning_rate"] for each, _ in found]
    assert all(1e-5 <= rate <= 1 and rate == float(f"{rate:.4g}") for rate in rates)
    early, late = ([abs(math.log10(rate / 2e-3)) for rate in part] for part in (rates[:10], rates[20:]))
    assert sum(late) / 10 < 0.5 * sum(early) / 10
    other = searched(make(tmp_path, "c")[0], RATES, 3, error_of, seeds=(1,))
    assert other[0] != found[0]


@pytest.mark.usefixtures("optuna")
def test_search_goes_on_with_more_trials_and_refuses_another_search(tmp_path):
    whole = searched(tmp_path, RATES, 4, error_of)
    (later,) = make(tmp_path, "later")
    searched(later, RATES, 2, error_of)
    more = searched(later, RATES, 4, error_of)
    assert more == whole
    # Fewer trials than before: those are all there are.
    fewer = OptunaSearch(later, RATES, 1, by="val_mse", better="lower")
    assert fewer.total == 4 and len(fewer.ask()) == 4 and fewer.ask() == []
    for options in ({"by": "val_ssim"}, {"seeds": (0, 1)}, {"values": {"learning_rate": RATES["learning_rate"]}}):
        with pytest.raises(UsageError, match=r"must have the same settings, seeds and score. Received: .*later"):
            OptunaSearch(later, **{"values": RATES, "trials": 5, "by": "val_mse", "better": "lower"} | options)
    with pytest.raises(UsageError, match=r"A range must be the only value of a setting. Received: 2 values of warmup"):
        OptunaSearch(make(tmp_path, "x")[0], {"warmup": (Range(0.0, 0.5), 0.7)}, 3, by="val_mse", better="lower")


@pytest.mark.usefixtures("optuna")
def test_values_keep_their_types_and_failed_combinations_are_told(tmp_path, optuna):
    values = {"units": ((64, 32), (16,)), "flag": (True, False), "epochs": (Range(2, 9),), "size": ("tiny", "base")}
    found = searched(tmp_path, values, 6, lambda each: None if each["flag"] else 0.1, better="higher", at_once=3)
    assert all(each["units"] in ((64, 32), (16,)) and type(each["flag"]) is bool for each, _ in found)
    assert all(type(each["epochs"]) is int and 2 <= each["epochs"] <= 9 for each, _ in found)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna.journal"))
    )
    study = optuna.load_study(study_name="sweep", storage=storage)
    assert study.direction.name == "MAXIMIZE" and len(study.trials) == 6
    assert {trial.state.name for trial in study.trials if trial.params["flag"] == "true"} <= {"FAIL"}
    assert {trial.state.name for trial in study.trials if trial.params["flag"] == "false"} <= {"COMPLETE"}


def make(folder, *names):
    paths = [folder / name for name in names]
    for path in paths:
        path.mkdir()
    return paths


@pytest.mark.training
@pytest.mark.usefixtures("optuna")
def test_interrupted_sweep_by_optuna_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    build(tmp_path / "rec", ToneSource(n_sources=2), split=SplitSpec(kind="block", val_fraction=0.25, guard=0))
    options = {"recipe": "features", "settings": {name: list(each) for name, each in RATES.items()}, "evaluate": False}
    runs, told = [], []
    options |= {"searcher": "optuna", "trials": 4, "seeds": 2, "progress": told.append}
    for name, stop_at in (("whole", 0), ("parts", 4)):
        trainings = Trainings(stop_at)
        monkeypatch.setattr("keras_a2i.evaluation.sweep.train_job", trainings)
        if stop_at:
            with pytest.raises(TrainingInterrupted):
                a2i.sweep(tmp_path / "rec", tmp_path / name, **options)
            trainings.stop_at = 0
        runs.append(a2i.sweep(tmp_path / "rec", tmp_path / name, **options).runs_frame())
        assert len(trainings.names) == 8 + bool(stop_at)
    begun = [line.rpartition(": ")[2] for line in told if ": run " in line]
    assert begun[:8] == [f"run {i} of 8" for i in range(1, 9)] and begun[-1] == "run 8 of 8"
    assert runs[0].equals(runs[1]) and len(runs[0]) == 8


def test_search_without_optuna_names_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r'needs the package optuna.*pip install "keras-a2i\[optuna\]"'):
        OptunaSearch(tmp_path, RATES, 3, by="val_mse", better="lower")
