"""Building a records folder: plan the input, divide it into splits and shards, run the shard tasks in parallel."""

import contextlib
import dataclasses
import heapq
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.counts import counted
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.records.build_output import open_output
from keras_a2i.records.cluster import open_cluster
from keras_a2i.records.fingerprint import plan_fingerprint
from keras_a2i.records.manifest import STATED_PACKAGES, Manifest, PairCounts, Shard
from keras_a2i.records.pool import Progress, Tally, check_main_guard, run_tasks
from keras_a2i.records.splits import LEFT_OUT, SplitSpec, as_split_spec, assign_splits
from keras_a2i.records.task import Task
from keras_a2i.remote.address import Address, Location
from keras_a2i.sources.open_sources import open_sources
from keras_a2i.sources.pair import Dropped, Source, Unit
from keras_a2i.sources.pair_keys import PairKeys
from keras_a2i.version import library_versions

PAIRS_PER_SHARD = 256
MIN_SHARDS = 8

SourceOrSpec = Source | str | os.PathLike[str]
"""A source object, or what `open_sources` accepts: a path, or a name such as "synthetic:surf"."""

_Config = TypeVar("_Config", FeatureConfig, ImageConfig)
# Seconds by which times differ that are meant to be equal.
_SAME_TIME = 1e-6
_SOURCE_METHODS = ("plan", "read", "describe")


def build_records(
    sources: SourceOrSpec | Sequence[SourceOrSpec],
    out: str | os.PathLike[str] | Address,
    *,
    features: FeatureConfig | None = None,
    image: ImageConfig | None = None,
    split: SplitSpec | str | None = None,
    waveform: bool = True,
    workers: int | None = None,
    executor: Executor | None = None,
    scheduler: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Manifest:
    """Reads pairs from sources into TFRecord shards with a manifest.

    The same input and options yield the same bytes, whatever the number of workers or machines. An interrupted build
    resumes when it is started again with the same input and options: finished shards are kept.

    Args:
        sources: one or more sources: source objects, or arguments that `open_sources` accepts (such as a folder of
            videos, or a csv). Ids must differ between sources.
        out: the folder to write, or its address in an object store such as "s3://bucket/records". Shards are uploaded
            when they are finished, and the manifest last.
        features: the feature configuration; by default that of the source objects, else `FeatureConfig()`. Sources of
            embeddings define their own configuration.
        image: the image configuration; by default that of the source objects, else `ImageConfig()`.
        split: how to divide the pairs: a `SplitSpec`, or its kind, such as "source"; by default `SplitSpec()`.
        waveform: store the waveforms beside the features.
        workers: the number of processes, by default one per core; 1 builds in this process.
        executor: runs the tasks in place of a process pool.
        scheduler: the address of a Dask scheduler, such as "tcp://host:8786", whose workers run the tasks in place of
            a process pool. They read the input and write into `out` under the same paths as this process.
        strict: stop at the first input that yields no pair, or whose file is truncated or damaged.
        overwrite: replace records in `out` that were built from other input, from files that have changed since, or
            with other options, or whose shards are damaged.
        command: the command line to record in the manifest.
        progress: called with three numbers: written pairs, dropped inputs and planned pairs.

    Returns:
        The manifest, also written to `out/records.json`.

    Raises:
        UsageError: if ids collide, different times of a source are too large to be stored as different, only some
            sources state splits and `split` chooses no other kind, the sources have different kinds of features, a
            source was opened with another configuration than the one given here, `out` holds other or damaged records
            and `overwrite` is False, an argument has another type or is out of range, `scheduler` isn't an address, or
            more than one of `workers`, `executor` and `scheduler` are given.
        RecordsError: if there is no pair, the split leaves no training pairs, none of them can be read, `strict` meets
            a bad input, a finished shard was removed or cut off meanwhile, or a worker process was started that runs
            the script from its beginning.
        LockedError: if another process is writing into `out`.
        ClusterError: if the scheduler doesn't answer within 10 seconds or has no worker for a minute, the versions
            there differ from those here, a worker doesn't share the folders, or the scheduler is lost. Finished shards
            are kept.
        MissingPackageError: if `scheduler` is given and Dask isn't installed.
        RemoteError: if an object store can't be read or written to. Finished shards are kept.

    Example:
        >>> import tempfile
        >>> from keras_a2i.sources.open_sources import open_sources
        >>> sources = open_sources(["synthetic:surf:8"], image=ImageConfig(size=16))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     build_records(sources, folder, split="random", workers=1).counts
        {'train': 6, 'val': 2}
    """
    check_main_guard()
    _check_arguments(features=(features, FeatureConfig), image=(image, ImageConfig))
    split = as_split_spec(split)
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"workers must be None (one per core), or 1 or more. Received: workers={workers!r}")
    if executor is not None and workers is not None:
        raise UsageError(f"workers must be left out with executor, which has its own. Received: workers={workers!r}")
    if scheduler is not None and (workers is not None or executor is not None):
        raise UsageError(
            "scheduler must be given without workers and executor, since its own workers run the tasks. "
            f"Received: scheduler={scheduler!r}, workers={workers!r}, executor={executor!r}"
        )
    output = open_output(out)
    if scheduler is not None and isinstance(output.location, Address):
        raise UsageError(
            f"out must be a folder that the scheduler's workers share. Received: {output.location}, with "
            f"scheduler={scheduler!r}. Build into a shared folder and copy it, or leave scheduler out"
        )
    with contextlib.nullcontext() if scheduler is None else open_cluster(scheduler) as cluster:
        plan = _plan(_open(sources, features, image), features, image)
        if strict and plan.dropped:
            raise RecordsError(f"{plan.dropped[0].message}. The build stops at it (strict=True, --strict)")
        if not plan.keys:
            raise _no_pairs(plan.dropped)
        by_source = all(getattr(source, "split_by_source", False) for source in plan.sources)
        spec = split.resolve(plan.keys, by_source)
        try:
            splits = assign_splits(plan.keys, spec, plan.features.duration)
        except RecordsError as error:
            if not plan.dropped:
                raise
            n, first = counted(len(plan.dropped), "input"), plan.dropped[0].message
            raise RecordsError(f"{error}. Before that, {n} could not be used, the first: {first}") from error
        if spec.kind == "column":
            _check_every_source_has_splits(plan, splits)
        n_pairs = int(np.count_nonzero(splits != LEFT_OUT))
        fingerprint = _fingerprint(plan, splits, waveform)
        if (finished := output.find_finished(fingerprint, overwrite)) is not None:
            return _checked(finished, output.location, strict)
        with output.locked():
            # Another build may have written here before the lock was taken.
            if (finished := output.find_finished(fingerprint, overwrite)) is not None:
                return _checked(finished, output.location, strict)
            output.begin(fingerprint, overwrite)
            options = {"folder": output.folder.absolute(), "upload_to": output.upload_to}
            tasks = _make_tasks(plan, splits, waveform=waveform, strict=strict, **options)
            with output.writing():
                tally = Tally(progress, n_pairs, len(plan.dropped))
                results = run_tasks(tasks, output.load_results(tasks), workers, executor, cluster, tally)
            if not any(result["shards"] for result in results):
                output.discard()
                raise _no_pairs(_all_dropped(plan, results))
            lost = _find_lost_splits(tasks, results)
            if "train" in lost:
                output.discard()
                raise RecordsError(f"At least one training pair is needed. {lost['train']}")
            shards = output.name_shards(tasks, results)
            manifest = _make_manifest(
                plan, spec, tasks, results, shards, lost=lost, command=command, fingerprint=fingerprint
            )
            output.finish(manifest)
            return manifest


def _check_arguments(**arguments: tuple[Any, type]) -> None:
    for name, (value, expected) in arguments.items():
        if value is not None and not isinstance(value, expected):
            raise UsageError(f"{name} must be of the class {expected.__name__}, or None. Received: {name}={value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """The input of a build: every unit of every source, and the configurations of all pairs."""

    sources: list[Source]
    parts: list[tuple[Source, Unit]]
    dropped: list[Dropped]
    keys: PairKeys
    features: FeatureConfig
    image: ImageConfig


def _open(
    sources: SourceOrSpec | Sequence[SourceOrSpec], features: FeatureConfig | None, image: ImageConfig | None
) -> list[Source]:
    """The source objects as they are, then the sources of all specs."""
    listed = list(sources) if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    for each in listed:
        if not isinstance(each, str | os.PathLike) and not all(hasattr(each, name) for name in _SOURCE_METHODS):
            raise UsageError(
                f"sources must be a list of source objects (with {', '.join(_SOURCE_METHODS)}), of paths or of names "
                f"of data sets, or a single one. Received: {each!r}"
            )
    specs = [source for source in listed if isinstance(source, str | os.PathLike)]
    opened = [source for source in listed if not isinstance(source, str | os.PathLike)]
    if specs:
        opened += open_sources(specs, features=features or FeatureConfig(), image=image or ImageConfig())
    return opened


def _plan(sources: list[Source], features: FeatureConfig | None, image: ImageConfig | None) -> _Plan:
    image = _agree("image", image, sources) or ImageConfig()
    features = _agree("features", features, sources) or FeatureConfig()
    parts: list[tuple[Source, Unit]] = []
    dropped: list[Dropped] = []
    found: list[FeatureConfig] = []
    for source in sources:
        plan = source.plan()
        parts += [(source, unit) for unit in plan.units]
        dropped += plan.dropped
        if plan.units:
            found.append(plan.features or features)
    if len(set(found)) > 1:
        kinds = " and ".join(dict.fromkeys(config.description for config in found))
        raise UsageError(f"All sources must have features of one kind. Received: {kinds}. Build separate records")
    keys = PairKeys.concatenate(unit.keys for _, unit in parts)
    _check_ids(keys)
    _check_times(keys)
    return _Plan(
        sources=sources,
        parts=parts,
        dropped=dropped,
        keys=keys,
        features=found[0] if found else features,
        image=image,
    )


def _agree(name: str, given: _Config | None, sources: list[Source]) -> _Config | None:
    """The configuration that the caller passed and the sources were opened with; None where there is none."""
    agreed = given
    for source in sources:
        own = getattr(source, name, None)
        if own is not None and agreed is not None and own != agreed:
            raise UsageError(
                f"{name} must be the configuration that every source was opened with. Received: {agreed} and, for the "
                f"source {source.describe().get('kind')!r}, {own}. Pass the same to both"
            )
        agreed = own or agreed
    return agreed


def _check_ids(keys: PairKeys) -> None:
    numbers, firsts = keys.number("id")
    repeated = firsts[np.bincount(numbers) > 1]
    if len(repeated):
        name = keys[int(repeated[0])].id
        raise UsageError(
            f"Every pair must have an id of its own. Received: {len(repeated)} repeated ids, such as {name!r}. "
            "Pass each file once, and build separate records from sources with equal names"
        )


def _check_times(keys: PairKeys) -> None:
    """Raises an error where times of a source that differ are equal once they are stored."""
    sources, _ = keys.number("source_id")
    order = np.lexsort((keys.times, sources))
    sources, times = sources[order], keys.times[order]
    with np.errstate(over="ignore"):
        stored = times.astype(np.float32)
    same = (sources[1:] == sources[:-1]) & (stored[1:] == stored[:-1])
    places = np.flatnonzero(same & (np.diff(times) > _SAME_TIME))
    if len(places):
        first, second = order[places[0]], order[places[0] + 1]
        raise UsageError(
            "Times of a source must differ in float32, the precision in which records store them. Received: "
            f"{keys.times[first]:.12g} and {keys.times[second]:.12g} in {keys[int(second)].source_id!r}. Count the "
            "seconds from the start of the source, not from a date"
        )


def _check_every_source_has_splits(plan: _Plan, splits: np.ndarray) -> None:
    """Raises an error where all pairs of a source would be left out because only other sources state splits."""
    names: dict[bool, list[str]] = {True: [], False: []}
    start = 0
    for _, group in itertools.groupby(plan.parts, lambda part: id(part[0])):
        parts = list(group)
        (source, first), end = parts[0], start + sum(len(unit.keys) for _, unit in parts)
        stated = source.describe()
        name = f"{stated.get('name') or stated.get('kind')} (such as {first.keys[0].id!r})"
        names[bool((splits[start:end] != LEFT_OUT).any())].append(name)
        start = end
    if names[False]:
        raise UsageError(
            "split must be chosen where only some sources state the splits of their pairs. Received: "
            f"{', '.join(names[True])} with splits and {', '.join(names[False])} without. Choose block, source or "
            "random, pass a split file, fill the column split of every source, or build separate records"
        )


def _no_pairs(dropped: Sequence[Dropped]) -> RecordsError:
    shown = "; ".join(item.message for item in dropped[:3]) or "the sources are empty"
    more = f"; and {len(dropped) - 3} more" if len(dropped) > 3 else ""
    is_missing = [item.reason.endswith("doesn't exist") for item in dropped]
    where = ". The paths in a csv are relative to its own folder" if is_missing and all(is_missing) else ""
    return RecordsError(f"At least one pair is needed. Received none: {shown}{more}{where}")


def _fingerprint(plan: _Plan, splits: np.ndarray, waveform: bool) -> str:
    return plan_fingerprint(
        (unit for _, unit in plan.parts),
        plan.keys,
        splits,
        {
            "sources": [source.describe() for source in plan.sources],
            "features": plan.features.to_dict(),
            "image": plan.image.to_dict(),
            "waveform": waveform,
        },
    )


def _make_tasks(plan: _Plan, splits: np.ndarray, **options: Any) -> list[Task]:
    ends = itertools.accumulate(len(unit.keys) for _, unit in plan.parts)
    part_splits = [splits[start:end] for start, end in itertools.pairwise([0, *ends])]
    return [
        Task(
            index=index,
            parts=tuple(_select_parts([plan.parts[i] for i in group])),
            splits=tuple(part_splits[i] for i in group),
            features=plan.features,
            image=plan.image,
            **options,
        )
        for index, group in enumerate(_divide([unit.cost for _, unit in plan.parts], len(plan.keys)))
    ]


def _select_parts(parts: list[tuple[Source, Unit]]) -> Iterator[tuple[Source, Unit]]:
    """The parts of one task, whose sources are reduced to what these units need where they can be."""
    for _, group in itertools.groupby(parts, lambda part: id(part[0])):
        sources, units = zip(*group, strict=True)
        select = getattr(sources[0], "select", None)
        source = sources[0] if select is None else select(units)
        yield from ((source, unit) for unit in units)


def _divide(costs: list[float], n_pairs: int) -> list[list[int]]:
    """Spreads units over shards of about equal cost; depends on the plan alone, never on the number of workers."""
    n_shards = min(len(costs), max(MIN_SHARDS, round(n_pairs / PAIRS_PER_SHARD)))
    groups: list[list[int]] = [[] for _ in range(n_shards)]
    cheapest = [(0.0, number) for number in range(n_shards)]
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        cost, number = cheapest[0]
        groups[number].append(i)
        heapq.heapreplace(cheapest, (cost + costs[i], number))
    return [sorted(group) for group in sorted(groups, key=min)]


def _make_manifest(
    plan: _Plan,
    spec: SplitSpec,
    tasks: list[Task],
    results: list[dict[str, Any]],
    shards: list[Shard],
    *,
    lost: dict[str, str],
    command: str,
    fingerprint: str,
) -> Manifest:
    return Manifest(
        features=plan.features,
        image=plan.image,
        waveform=all(result["waveform"] for result in results),
        split=spec.to_dict(),
        sources=[source.describe() for source in plan.sources],
        shards=shards,
        pair_counts=_merge(result["pair_counts"] for result in results),
        left_out=sum(int(np.count_nonzero(places == LEFT_OUT)) for task in tasks for places in task.splits),
        dropped=[[item.id, item.reason] for item in _all_dropped(plan, results)],
        notes=[note for result in results for note in result["notes"]],
        command=command,
        versions=library_versions(*STATED_PACKAGES),
        fingerprint=fingerprint,
        lost_splits=[list(each) for each in lost.items()],
    )


def _checked(finished: Manifest, location: Location, strict: bool) -> Manifest:
    """Returns the manifest of finished records, unless `strict` would have stopped their build."""
    if strict and (finished.dropped or finished.notes):
        problem = Dropped(*finished.dropped[0]).message if finished.dropped else finished.notes[0][1]
        raise RecordsError(
            f"{problem}. The records in {location} were finished in spite of it. The build stops at it "
            "(strict=True, --strict)"
        )
    return finished


def _find_lost_splits(tasks: list[Task], results: list[dict[str, Any]]) -> dict[str, str]:
    """The splits of which no planned pair could be read, each with a sentence of their number and the first reason."""
    planned: Counter[str] = Counter()
    read: set[str] = set()
    first: dict[str, Dropped] = {}
    for task, result in zip(tasks, results, strict=True):
        splits = task.split_by_id()
        planned.update(splits.values())
        read.update(result["shards"])
        for id, reason in result["dropped"]:
            if id in splits:
                first.setdefault(splits[id], Dropped(id, reason))
    sentences = {}
    for split in sorted(set(planned) - read):
        n = planned[split]
        skipped = f"The only pair of {split} was skipped" if n == 1 else f"All {n:,} pairs of {split} were skipped"
        sentences[split] = f"{skipped}, the first: {first[split].message}" if split in first else skipped
    return sentences


def _all_dropped(plan: _Plan, results: list[dict[str, Any]]) -> list[Dropped]:
    return [*plan.dropped, *(Dropped(*item) for result in results for item in result["dropped"])]


def _merge(parts: Iterable[PairCounts]) -> PairCounts:
    """The sum of counts, sorted by source, split and label."""
    merged: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for part in parts:
        for source, splits in part.items():
            for split, labels in splits.items():
                merged[source][split].update(labels)
    return {
        source: {split: dict(sorted(labels.items())) for split, labels in sorted(splits.items())}
        for source, splits in sorted(merged.items())
    }
