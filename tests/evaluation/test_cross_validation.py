"""Cross-validation: folds by blocks and by sources, several seeds, resumed where it was interrupted."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from support.made_up_report import make_report
from support.tone_source import ToneSource, build

from keras_a2i.errors import UsageError
from keras_a2i.evaluation import cross_validation
from keras_a2i.evaluation.cross_validation import cross_validate, fold_splits, pooled_gains, source_fold_splits
from keras_a2i.recipes import get_recipe
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.resplit import resplit
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import PairKey
from keras_a2i.training.fit import fit
from keras_a2i.training.run_folder import RunConfig, RunFolder


def test_block_folds_hold_every_pair_out_once_behind_gaps():
    keys = [PairKey(f"{s}@{k}", s, float(k)) for s in ("a", "b") for k in range(20)]
    folds = [fold_splits(keys, 4, fold, duration=1.0) for fold in range(4)]
    held_out = [name for splits in folds for name, split in splits.items() if split == "val"]
    assert sorted(held_out) == sorted(key.id for key in keys)
    assert [name for name, split in folds[1].items() if split == "train" and name.startswith("a")] == [
        f"a@{k}" for k in (0, 1, 2, *range(12, 20))
    ]


def test_source_folds_hold_every_source_out_once_whole():
    keys = [
        PairKey(f"{s}@{k}", s, float(k))
        for s, n in zip("abcdefg", (9, 8, 5, 4, 4, 3, 1), strict=True)
        for k in range(n)
    ]
    folds = [source_fold_splits(keys, 3, fold) for fold in range(3)]
    held_out = [{key.source_id for key in keys if splits[key.id] == "val"} for splits in folds]
    assert set.union(*held_out) == set("abcdefg") and sum(map(len, held_out)) == 7
    sizes = [sum(split == "val" for split in splits.values()) for splits in folds]
    assert sum(sizes) == 34 and max(sizes) - min(sizes) <= 2
    for sources, splits in zip(held_out, folds, strict=True):
        assert all((splits[key.id] == "val") == (key.source_id in sources) for key in keys)
    assert folds == [source_fold_splits(keys[::-1], 3, fold) for fold in range(3)]
    with pytest.raises(UsageError, match=r"folds must be at most the number of sources, 7. Received: 8"):
        source_fold_splits(keys, 8, 0)


@pytest.mark.parametrize(("backend", "compiled"), [(keras.backend.backend(), "auto"), ("other", None)])
def test_a_fold_is_trained_with_the_options_of_the_run(tmp_path, monkeypatch, backend, compiled):
    build(tmp_path / "records", ToneSource(n_sources=2, seconds=8), split=SplitSpec(guard=0))
    options = {
        **{"epochs": 7, "batch_size": 6, "monitor": "val_ssim", "patience": 2, "restore_best_weights": True},
        **{"dtype_policy": "mixed_bfloat16", "image_folder": "images"},
    }
    recipe = get_recipe("features", units=(4,))
    stated = {"recipe": recipe.to_dict(), "records": "", "fingerprint": "", "versions": {backend: "1"}}
    config = RunConfig(**stated, **options, jit_compile="auto", data_parts=3)
    RunFolder(tmp_path / "run").create(config)
    trained = []
    monkeypatch.setattr(cross_validation, "fit", lambda *folders, **given: trained.append(given))
    monkeypatch.setattr(cross_validation, "evaluate", lambda *_, **__: make_report())
    monkeypatch.setattr(cross_validation, "pooled_gains", lambda *_: [])
    cross_validate(tmp_path / "run", tmp_path / "records", tmp_path / "folds", folds=2, seed=4)
    others = {"jit_compile": compiled, "data_parts": None, "objectives": None, "verbose": 0}
    assert trained == 2 * [options | others | {"recipe": recipe, "seed": 4}]


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_cross_validation_trains_every_fold_and_seed_and_repeats_none(tmp_path, monkeypatch):
    build(tmp_path / "records", ToneSource(n_sources=2, seconds=24), split=SplitSpec(guard=0))
    settings = {"units": (4,), "base_channels": 4, "generator.channels": (4,)}
    fit(tmp_path / "records", tmp_path / "run", recipe="features", settings=settings, epochs=1)
    monkeypatch.setattr("keras_a2i.evaluation.evaluate.compute_measures", lambda *_: ([], {}))
    arguments = (tmp_path / "run", tmp_path / "records", tmp_path / "folds")
    steps = []
    found = cross_validate(*arguments, folds=2, seeds=2, progress=steps.append)
    assert [report.n_pairs for report in found.reports] == [24] * 4
    assert all(report.leak.count == 0 for report in found.reports)
    means = [report.contenders[0].means for report in found.reports]
    assert means[0] != means[1] and "fold 2 of 2, seed 1: training" in steps
    pooled = next(gain for gain in found.gains if gain.against == "shuffled")
    own = [report.gain("shuffled").mean for report in found.reports]
    assert pooled.mean == pytest.approx(np.mean(own), abs=1e-6)
    assert pooled.widest.covers == "other moments of the same sources, and other random seeds of the training"
    configurations = {report.configuration for report in found.reports}
    assert len(configurations) == 2 and "" not in configurations
    assert [row.cells[0].text for row in found.table().rows][1] == "block-1-of-2/run-seed-1"
    models = sorted((tmp_path / "folds").glob("*/*/model.keras"))
    written = [path.stat().st_mtime_ns for path in models]
    evaluated, reports = [], iter(found.reports)
    monkeypatch.setattr(cross_validation, "evaluate", lambda run, *_, **__: evaluated.append(run) or next(reports))
    again = cross_validate(*arguments, folds=2, seeds=2)
    assert again.gains == found.gains and evaluated == [path.parent for path in models]
    assert len(models) == 4 and [path.stat().st_mtime_ns for path in models] == written
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"own_model": True}))
    with pytest.raises(UsageError, match=r"needs a run of a recipe\. Received: .*, which trained a custom model"):
        cross_validate(*arguments, folds=2)
    with pytest.raises(UsageError, match=r"holds records\. Choose another folder"):
        resplit(tmp_path / "records", tmp_path / "folds" / "block-1-of-2" / "records", {}, "again")


@pytest.fixture
def folds(tmp_path, monkeypatch):
    """Untrained folds of a run of two epochs; the arguments of `cross_validate` for them."""
    build(tmp_path / "records", ToneSource(n_sources=2, seconds=8), split=SplitSpec(guard=0))
    options = {"epochs": 2, "batch_size": 4, "monitor": "val_mse"}
    stated = {"recipe": get_recipe("features").to_dict(), "records": "", "fingerprint": "", "versions": {}}
    RunFolder(tmp_path / "run").create(RunConfig(**stated, **options))

    def train(records, out, *, recipe=None, verbose=0, resume=False, **given):
        if not resume:
            kept = {name: given[name] for name in options}
            fingerprint = Manifest.read(records).fingerprint
            RunFolder(out).create(RunConfig(**(stated | {"fingerprint": fingerprint}), **kept, seed=given["seed"]))

    monkeypatch.setattr(cross_validation, "fit", train)
    monkeypatch.setattr(cross_validation, "evaluate", lambda *_, **__: make_report())
    monkeypatch.setattr(cross_validation, "pooled_gains", lambda *_: [])
    arguments = (tmp_path / "run", tmp_path / "records", tmp_path / "folds")
    cross_validate(*arguments, folds=2)
    return arguments


def test_folds_of_the_same_training_are_used_again(folds):
    assert len(cross_validate(*folds, folds=2).reports) == 2


def test_folds_of_another_training_are_refused(folds):
    run = folds[0]
    config = json.loads((run / "config.json").read_text())
    config["recipe"]["learning_rate"] = 0.5
    (run / "config.json").write_text(json.dumps(config | {"epochs": 3}))
    message = r"must have the same settings and records to be resumed\. Received: .*run-seed-0 with others "
    with pytest.raises(UsageError, match=message + r"\(epochs 2, now 3; learning_rate 0\.001, now 0\.5\)"):
        cross_validate(*folds, folds=2)


def test_folds_of_other_records_are_refused(folds):
    run, records, out = folds
    build(records.parent / "others", ToneSource(n_sources=3, seconds=8), split=SplitSpec(guard=0))
    with pytest.raises(UsageError, match=r"folds of an earlier call must be of the same records\. Received: .*-1-of-2"):
        cross_validate(run, records.parent / "others", out, folds=2)


@pytest.mark.training
def test_pooled_gains_resample_sources_where_there_are_enough():
    reports = [make_report(seed, examples=[]) for seed in (0, 1, 2, 3)]
    reports = [rename(report) for report in reports]
    gains = pooled_gains(reports, seeds=2)
    assert {gain.widest.over for gain in gains} == {"sources and seeds"} and gains[0].widest.n == 6
    assert gains[1].against == "shuffled"
    own = [np.subtract(r.contenders[0].values["ssim"], r.contenders[1].values["ssim"]).mean() for r in reports]
    assert gains[1].mean == pytest.approx(np.mean(own)) and gains[1].widest.low < np.mean(own) < gains[1].widest.high
    assert {gain.widest.over for gain in pooled_gains(reports, seeds=1)} == {"sources"}


def rename(report):
    """With the metric that gains are computed of under its own name."""
    contenders = [
        dataclasses.replace(c, values=c.values | {"scaled_mse": c.values["mse"]}, means=c.means | {"scaled_mse": 0.0})
        for c in report.contenders
    ]
    return dataclasses.replace(report, contenders=contenders)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, r"folds must lie between 2 and 20. Received: 1"),
        ({"folds": 2, "seeds": 0}, r"seeds must lie between 1 and 20. Received: 0"),
        ({"folds": 2, "by": "label"}, r"by must be one of block, source. Received: 'label'"),
    ],
)
def test_cross_validation_names_what_is_wrong(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        cross_validate(tmp_path, tmp_path, tmp_path, **options)
