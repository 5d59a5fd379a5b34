"""Cross-validation: a run's recipe is trained on each fold, by blocks or by sources, with one or several seeds."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.evaluation.evaluate import compared, evaluate
from keras_a2i.evaluation.report import Report
from keras_a2i.evaluation.report_blocks import Column, Table
from keras_a2i.evaluation.report_data import Gain
from keras_a2i.evaluation.report_format import number
from keras_a2i.evaluation.report_sections import table
from keras_a2i.evaluation.statistics import BLOCK_PAIRS, MIN_SOURCES, gain_over_seeds
from keras_a2i.evaluation.verdict import LEVELS
from keras_a2i.metrics import METRICS
from keras_a2i.records.manifest import FILE_NAME, Manifest
from keras_a2i.records.resplit import is_resplit, read_keys, resplit
from keras_a2i.remote.address import Location, local_path
from keras_a2i.sources.pair import PairKey
from keras_a2i.training.fit import fit
from keras_a2i.training.job import check_same_settings, training_options
from keras_a2i.training.run_folder import RunConfig, RunFolder, read_recipe

GUARD = 2.0
BY = ("block", "source")


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """The reports of all trainings, and gains over all held-out pairs together.

    Attributes:
        reports: one per fold and seed, the seeds of the first fold first.
        gains: with intervals over sources (or blocks, where there are few sources) and seeds.
        titles: id of a contender -> title.
    """

    reports: list[Report]
    gains: list[Gain]
    titles: dict[str, str]

    def table(self) -> Table:
        """One row per training: the model's scores beside those of the best baseline and of shuffled audio."""
        columns = (
            *(Column("Training"), Column("Pairs", True), Column("SSIM", True), Column("MSE x 64", True)),
            *(Column("Best baseline", True), Column("Shuffled audio", True), Column("Verdict")),
        )
        rows = []
        for report in self.reports:
            model, best, shuffled = report.contenders[0].means, *report.gains[:2]
            figures = [model["ssim"], model["scaled_mse"], model["ssim"] - best.mean, model["ssim"] - shuffled.mean]
            texts = [number(figure, 3) for figure in figures]
            name = "/".join(pathlib.Path(report.model).parts[-2:])
            rows.append((name, f"{report.n_pairs:,}", *texts, LEVELS[report.level].heading))
        return table(columns, rows)


def cross_validate(
    run: str | pathlib.Path,
    records: str | Location,
    out: str | Location,
    *,
    folds: int,
    by: str = "block",
    seeds: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> CrossValidation:
    """Trains the recipe of a run on each fold, with the options of its training, and evaluates it on the held-out
    pairs.

    Args:
        run: the run folder whose recipe is used.
        records: the records; their own splits are ignored.
        out: a folder for the folds' records and runs; finished trainings in it aren't repeated, and it must not contain
            other runs.
        folds: number of folds, 2 to 20.
        by: "block" holds out one contiguous block of every source per fold, "source" whole sources.
        seeds: number of trainings per fold, with the seeds `seed`, `seed` + 1 and so on; 1 to 20.
        seed: random seed of the first training and of the evaluation.
        progress: called with a description of the current step.

    Raises:
        UsageError: if an argument is out of range, there are fewer sources than folds, `out` contains folds of other
            records or of another training, or the run trained a custom model, of which no untrained copy can be made.
    """
    for name, value, low in (("folds", folds, 2), ("seeds", seeds, 1)):
        if not low <= value <= 20:
            raise UsageError(f"{name} must lie between {low} and 20. Received: {value}")
    if by not in BY:
        raise UsageError(f"by must be one of {', '.join(BY)}. Received: {by!r}")
    out = local_path(out, "out")
    config, manifest = RunFolder(run).read_config(), Manifest.read(records)
    if config.own_model:
        raise UsageError(
            f"Cross-validation needs a run of a recipe. Received: {run}, which trained a custom model. Train it on "
            "each fold yourself and compare the reports"
        )
    keys = [key for key, _ in read_keys(records)]
    reports = []
    for fold in range(folds):
        folder = out / f"{by}-{fold + 1}-of-{folds}"
        if by == "block":
            splits = fold_splits(keys, folds, fold, manifest.features.duration)
        else:
            splits = source_fold_splits(keys, folds, fold)
        _split(records, manifest, folder / "records", splits, f"{by} {fold + 1} of {folds}")
        for own_seed in range(seed, seed + seeds):
            tell = _prefixed(progress, f"fold {fold + 1} of {folds}, seed {own_seed}: ")
            run_folder = _train(config, folder, own_seed, tell)
            reports.append(evaluate(run_folder, folder / "records", seed=seed, progress=tell))
    titles = {contender.id: contender.title for contender in reports[0].contenders}
    return CrossValidation(reports, pooled_gains(reports, seeds, seed), titles)


def _split(records: str | Location, manifest: Manifest, out: pathlib.Path, splits: dict[str, str], kind: str) -> None:
    """Writes the records of a fold, unless an earlier call has."""
    if not (out / FILE_NAME).is_file():
        resplit(records, out, splits, kind)
    elif not is_resplit(Manifest.read(out), manifest, kind):
        raise UsageError(
            f"The folds of an earlier call must be of the same records. Received: {out}, whose folds are of others. "
            "Choose another folder with out (--out), or remove this one"
        )


def fold_splits(
    keys: Sequence[PairKey], folds: int, fold: int, duration: float, guard: float = GUARD
) -> dict[str, str]:
    """The splits of one fold: the `fold`-th of `folds` equal blocks of every source is held out.

    Args:
        keys: all pairs.
        folds: number of blocks, 2 or more.
        fold: which one is held out, from 0.
        duration: seconds that a pair lasts.
        guard: seconds before and after the block that are left out of the training pairs.

    Returns:
        id -> "train" or "val".
    """
    groups: dict[str, list[PairKey]] = {}
    for key in keys:
        groups.setdefault(key.source_id, []).append(key)
    splits: dict[str, str] = {}
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


def source_fold_splits(keys: Sequence[PairKey], folds: int, fold: int) -> dict[str, str]:
    """The splits of one fold by sources: every source is held out in one fold, folds have about equally many pairs.

    Args:
        keys: all pairs.
        folds: number of folds, at most the number of sources.
        fold: which one is held out, from 0.

    Returns:
        id -> "train" or "val".

    Raises:
        UsageError: if there are fewer sources than folds.
    """
    counts: dict[str, int] = {}
    for key in keys:
        counts[key.source_id] = counts.get(key.source_id, 0) + 1
    if len(counts) < folds:
        raise UsageError(f"folds must be at most the number of sources, {len(counts)}. Received: {folds}")
    # The largest first, each into the fold with the fewest pairs; the order of equal ones is drawn by their names.
    order = sorted(counts, key=lambda name: (-counts[name], hashlib.sha256(name.encode()).hexdigest()))
    sizes, held_out = [0] * folds, set()
    for name in order:
        smallest = sizes.index(min(sizes))
        sizes[smallest] += counts[name]
        if smallest == fold:
            held_out.add(name)
    return {key.id: "val" if key.source_id in held_out else "train" for key in keys}


def pooled_gains(reports: Sequence[Report], seeds: int, seed: int = 0) -> list[Gain]:
    """Gains over the pairs of all folds, with intervals over sources and seeds.

    Args:
        reports: one per fold and seed, the seeds of the first fold first.
        seeds: trainings per fold.
        seed: of the resampling.
    """
    everywhere = set.intersection(*({contender.id for contender in report.contenders} for report in reports))
    shown = [(m, other.id) for m, other in compared(reports[0].contenders) if other.id in everywhere]
    units, over = _units(reports[::seeds])
    pooled = []
    for metric, against in shown:
        sign = 1 if METRICS[metric].better == "higher" else -1
        gains = np.stack([_gains_of(reports[i::seeds], metric, against) * sign for i in range(seeds)], axis=1)
        sums = np.stack([gains[rows].sum(axis=0) for rows in units])
        sizes = np.repeat([[len(rows)] for rows in units], seeds, axis=1)
        mean, interval = gain_over_seeds(sums, sizes, over, seed)
        pooled.append(Gain(against=against, metric=metric, mean=mean, intervals=[interval]))
    return pooled


def _units(reports: Sequence[Report]) -> tuple[list[np.ndarray], str]:
    """Rows of all folds together by source, or by blocks of neighbours where there are few sources."""
    sources = [source for report in reports for source in report.held_out.sources]
    names, numbers = np.unique(sources, return_inverse=True)
    if len(names) >= MIN_SOURCES:
        return [np.flatnonzero(numbers == i) for i in range(len(names))], "sources"
    blocks, start = [], 0
    for report in reports:
        # Pairs are ordered by source and time within a report, so that neighbours stand together.
        n_blocks = max(report.n_sources, -(-report.n_pairs // BLOCK_PAIRS))
        blocks += [rows for rows in np.array_split(np.arange(start, start + report.n_pairs), n_blocks) if len(rows)]
        start += report.n_pairs
    return blocks, "blocks"


def _gains_of(reports: Sequence[Report], metric: str, against: str) -> np.ndarray:
    differences = []
    for report in reports:
        other = report.contender(against)
        assert other is not None
        differences.append(np.array(report.contenders[0].values[metric]) - np.array(other.values[metric]))
    return np.concatenate(differences)


def _train(config: RunConfig, folder: pathlib.Path, seed: int, tell: Callable[[str], None]) -> pathlib.Path:
    """The run folder of a fold's training with one seed: trained now, resumed, or finished by an earlier call.

    The training is that of the run, but for `data_parts`: a fold is trained in one process, and its records may have
    fewer shards than the run's processes.
    """
    run_folder = folder / f"run-seed-{seed}"
    tell("training")
    before = RunFolder(run_folder)
    if before.exists:
        kept = before.read_config()
        check_same_settings(
            before,
            dataclasses.replace(
                config, fingerprint=kept.fingerprint, data_parts=kept.data_parts, jit_compile=kept.jit_compile
            ),
        )
        fit(folder / "records", run_folder, resume=True, verbose=0)
        return run_folder
    options = training_options(config) | {"data_parts": None}
    if keras.backend.backend() not in config.versions:
        # How steps may be compiled depends on the backend: a fold on another one has its default.
        options["jit_compile"] = None
    fit(
        folder / "records",
        run_folder,
        recipe=read_recipe(config),
        objectives=config.make_objectives(),
        seed=seed,
        verbose=0,
        **options,
    )
    return run_folder


def _prefixed(progress: Callable[[str], None] | None, prefix: str) -> Callable[[str], None]:
    return lambda step: progress(prefix + step) if progress else None
