"""Cross-validation over contiguous blocks: every second of every source is held out once, its neighbours left out."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.evaluation.evaluate import evaluate, headline_gains
from keras_a2i.evaluation.report_data import Gain, PredictorScores, Report
from keras_a2i.models.recipes import DESCRIPTIVE
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.resplit import read_keys, resplit
from keras_a2i.sources.pair import PairKey
from keras_a2i.training.fit import fit
from keras_a2i.training.run_folder import RunFolder

GUARD = 2.0


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """The reports of the folds, and gains over all held-out pairs together."""

    reports: list[Report]
    gains: list[Gain]


def fold_splits(
    keys: Sequence[PairKey], folds: int, fold: int, duration: float, guard: float = GUARD
) -> dict[str, str]:
    """The splits of one fold: the `fold`-th of `folds` equal blocks of every source is held out.

    Args:
        keys: all pairs.
        folds: number of blocks, 2 or more.
        fold: which one is held out, from 0.
        duration: seconds a pair lasts.
        guard: seconds before and after the block that are left out of the training pairs.

    Returns:
        id -> "train" or "val".
    """
    groups: dict[str, list[PairKey]] = {}
    for key in keys:
        groups.setdefault(key.source_id, []).append(key)
    splits = {}
    for group in groups.values():
        ordered = sorted(group, key=lambda key: key.time)
        start, stop = (len(ordered) * part // folds for part in (fold, fold + 1))
        block = ordered[start:stop]
        splits |= {key.id: "val" for key in block}
        for key in ordered[:start] + ordered[stop:]:
            before = not block or key.time + duration + guard <= block[0].time + 1e-6
            after = not block or key.time >= block[-1].time + duration + guard - 1e-6
            if before or after:
                splits[key.id] = "train"
    return splits


def cross_validate(
    run: str | pathlib.Path,
    records: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    folds: int,
    seed: int = 0,
    on_step: Callable[[str], None] | None = None,
) -> CrossValidation:
    """Trains the recipe of a run anew on each fold and evaluates it on the block held out.

    Args:
        run: the run folder whose recipe is used.
        records: the records; their own splits don't matter.
        out: a folder for the folds' records and runs; folds that are finished there are not trained again.
        folds: number of blocks, 2 to 20.
        seed: of training and evaluation.
        on_step: told what is being done.

    Raises:
        UsageError: if `folds` is out of range.
    """
    if not 2 <= folds <= 20:
        raise UsageError(f"The number of folds must lie between 2 and 20. Received: {folds}")
    config = RunFolder(run).read_config()
    duration = Manifest.read(records).features.duration
    keys = [key for key, _ in read_keys(records)]
    overrides = {name: value for name, value in config.recipe.items() if name not in DESCRIPTIVE}
    reports = []
    for fold in range(folds):
        folder = pathlib.Path(out) / f"fold-{fold + 1}-of-{folds}"
        say = _prefixed(on_step, f"fold {fold + 1} of {folds}: ")
        if not (folder / "records" / "records.json").is_file():
            splits = fold_splits(keys, folds, fold, duration)
            resplit(records, folder / "records", splits, f"fold {fold + 1} of {folds}")
        say("training")
        going_on = RunFolder(folder / "run").exists
        options = {} if going_on else {"recipe": config.recipe["name"], "overrides": overrides, "seed": seed}
        sizes = {} if going_on else {"epochs": config.epochs, "batch_size": config.batch_size}
        model = fit(folder / "records", folder / "run", resume=going_on, **options, **sizes)
        name = str(folder / "run")
        inputs = config.recipe.get("input", "features")
        reports.append(
            evaluate(model.predict_on_batch, folder / "records", inputs=inputs, seed=seed, model_name=name, on_step=say)
        )
    return CrossValidation(reports, _pooled_gains(reports, seed))


def _prefixed(on_step: Callable[[str], None] | None, prefix: str) -> Callable[[str], None]:
    return lambda step: on_step(prefix + step) if on_step else None


def _pooled_gains(reports: Sequence[Report], seed: int) -> list[Gain]:
    """Gains over the pairs of all folds; a fold's share of a source is resampled as one block."""
    names = [p.name for p in reports[0].predictors if all(p.name in {q.name for q in r.predictors} for r in reports)]
    pooled = []
    for name in names:
        parts = [next(p for p in report.predictors if p.name == name) for report in reports]
        values = {metric: [v for part in parts for v in part.values[metric]] for metric in parts[0].values}
        means = {metric: float(np.mean(row)) for metric, row in values.items()}
        pooled.append(PredictorScores(name=name, kind=parts[0].kind, explanation="", means=means, values=values))
    blocks, start = [], 0
    for report in reports:
        # Pairs are ordered by source and time within a report, so that neighbours stand together.
        edges = np.array_split(np.arange(start, start + report.n_pairs), max(report.n_sources, -(-report.n_pairs // 5)))
        blocks += [rows for rows in edges if len(rows)]
        start += report.n_pairs
    return headline_gains(pooled, blocks, seed)
