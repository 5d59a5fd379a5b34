"""Building a records folder: plan, divide, run shard tasks in parallel, go on where it stopped."""

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.media.json_file import write_json
from keras_a2i.records.manifest import BUILD_FOLDER, FILE_NAME, Manifest, Shard
from keras_a2i.records.pool import Progress, Tally, run_tasks
from keras_a2i.records.splits import SplitSpec, assign_splits
from keras_a2i.records.task import Task
from keras_a2i.sources.pair import Dropped, PairKey, Source, Unit
from keras_a2i.version import library_versions

PAIRS_PER_SHARD = 256
MIN_SHARDS = 8


def build_records(
    sources: Sequence[Source],
    out: str | pathlib.Path,
    *,
    features: FeatureConfig | None = None,
    image: ImageConfig | None = None,
    split: SplitSpec | None = None,
    waveform: bool = True,
    workers: int | None = None,
    executor: Executor | None = None,
    strict: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Manifest:
    """Reads pairs from sources into TFRecord shards with a manifest.

    The same input and options give the same bytes, however many workers there are. A build that was interrupted goes
    on with the tasks that weren't finished when it is started again with the same input and options.

    Args:
        sources: where pairs come from; their ids must not collide.
        out: the folder to make.
        features, image: configurations; by default those that the sources were opened with. Sources of embeddings
            state the length of theirs themselves.
        split: how to divide the pairs.
        waveform: store the sound beside the features.
        workers: processes, by default one a core; 1 works in this process.
        executor: runs the tasks instead of a process pool.
        strict: stop at the first input that gives no pair.
        overwrite: replace a records folder made from other input or with other options.
        command: kept in the manifest.
        progress: called as work goes on.

    Returns:
        The manifest, also written to `out/records.json`.

    Raises:
        UsageError: if a source was opened with another configuration, ids collide, some sources give features of sound
            and others embeddings, or `out` holds other records and `overwrite` is False.
        RecordsError: if there is no pair, the split leaves nothing to train on, or `strict` meets a bad input.
    """
    out = pathlib.Path(out)
    features = features or _stated(sources, "features", FeatureConfig())
    image = image or _stated(sources, "image", ImageConfig())
    _check_stated(sources, features=features, image=image)
    parts, dropped, features = _plan(sources, features)
    if strict and dropped:
        raise RecordsError(f"{dropped[0].id}: {dropped[0].reason}. The build stops here because it is strict")
    keys = [key for _, unit in parts for key in unit.keys]
    _check_ids(keys)
    if not keys:
        raise RecordsError("At least one pair is needed. Received none: " + _name_some(dropped))
    spec = (split or SplitSpec()).resolve(keys)
    splits = assign_splits(keys, spec, features.duration)
    fingerprint = _fingerprint(sources, parts, splits, features, image, waveform)
    done = _prepare_folder(out, fingerprint, overwrite)
    if done is not None:
        return done
    folder = out / BUILD_FOLDER
    tasks = _make_tasks(
        _divide(parts, len(keys)),
        splits,
        folder=folder,
        features=features,
        image=image,
        waveform=waveform,
        strict=strict,
    )
    try:
        results = run_tasks(tasks, workers, executor, Tally(progress, len(splits), len(dropped)))
    except BaseException:
        _clear_half_written(folder)
        raise
    dropped += [Dropped(*item) for result in results for item in result["dropped"]]
    if not any(result["shards"] for result in results):
        shutil.rmtree(folder)
        raise RecordsError("At least one pair is needed. Received none: " + _name_some(dropped))
    _remove_replaced(out)
    manifest = Manifest(
        features=features,
        image=image,
        split=spec.to_dict(),
        sources=[source.describe() for source in sources],
        shards=_name_shards(out, tasks, results),
        left_out=len(keys) - len(splits),
        dropped=[[item.id, item.reason] for item in dropped],
        command=command,
        versions=library_versions("numpy", "pillow", "soundfile", "soxr", "av"),
        fingerprint=fingerprint,
        **_totals(results),
    )
    manifest.write(out)
    shutil.rmtree(folder)
    return manifest


def _stated(sources: Sequence[Source], name: str, default: Any) -> Any:
    """The configuration that the first source with such an attribute was opened with."""
    return next((getattr(source, name) for source in sources if hasattr(source, name)), default)


def _check_stated(sources: Sequence[Source], **configs: FeatureConfig | ImageConfig) -> None:
    """Raises a UsageError if a source was opened with another configuration: the manifest would be wrong."""
    for name, config in configs.items():
        for source in sources:
            if getattr(source, name, config) != config:
                raise UsageError(
                    f"{name} must be the configuration that every source was opened with. Received: {config} and, for "
                    f"the source {source.describe().get('kind')!r}, {getattr(source, name)}. Pass the same to both"
                )


def _plan(
    sources: Sequence[Source], features: FeatureConfig
) -> tuple[list[tuple[Source, Unit]], list[Dropped], FeatureConfig]:
    """All units, what was dropped already, and the configuration that the features of all have."""
    parts, dropped, found = [], [], []
    for source in sources:
        plan = source.plan()
        parts += [(source, unit) for unit in plan.units]
        dropped += plan.dropped
        if plan.units:
            found.append(plan.features or features)
    if len(set(found)) > 1:
        kinds = " and ".join(dict.fromkeys(config.description for config in found))
        raise UsageError(f"All sources must give features of one kind. Received: {kinds}. Build separate records")
    return parts, dropped, found[0] if found else features


def _check_ids(keys: Sequence[PairKey]) -> None:
    repeated = [name for name, count in Counter(key.id for key in keys).items() if count > 1]
    if repeated:
        raise UsageError(
            f"Every pair must have its own id. Received: {len(repeated)} ids twice, such as {repeated[0]!r}. "
            "Give each file once, and sources with equal names as separate records"
        )


def _name_some(dropped: Sequence[Dropped]) -> str:
    if not dropped:
        return "the sources are empty"
    lines = "; ".join(f"{item.id}: {item.reason}" for item in dropped[:3])
    return lines + (f"; and {len(dropped) - 3} more" if len(dropped) > 3 else "")


def _fingerprint(sources, parts, splits, features, image, waveform) -> str:
    content = {
        "sources": [source.describe() for source in sources],
        "units": [[unit.name, unit.stamp, [key.id for key in unit.keys]] for _, unit in parts],
        "splits": splits,
        "features": features.to_dict(),
        "image": image.to_dict(),
        "waveform": waveform,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _prepare_folder(out: pathlib.Path, fingerprint: str, overwrite: bool) -> Manifest | None:
    """Returns the manifest of finished equal records, or None and a build folder cleared of half-written files."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"The records must go into a folder. Received: the file {out}")
    if (out / FILE_NAME).is_file():
        manifest = _read_old(out, overwrite)
        if manifest and manifest.fingerprint == fingerprint and not manifest.verify(out):
            return manifest
        if not overwrite:
            raise UsageError(
                f"{out} holds records of other input or options. Choose another folder, or replace them with "
                "--overwrite"
            )
    elif out.is_dir() and not (out / BUILD_FOLDER).is_dir() and any(out.iterdir()):
        raise UsageError(f"Records must go into a new or empty folder. Received: {out}, which holds other files")
    folder = out / BUILD_FOLDER
    mark = folder / "fingerprint.json"
    if mark.is_file() and json.loads(mark.read_text()) != fingerprint:
        if not overwrite:
            raise UsageError(
                f"{out} holds an unfinished build of other input or options. Choose another folder, "
                "or replace it with --overwrite"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _clear_half_written(folder)
    write_json(mark, fingerprint)
    return None


def _clear_half_written(folder: pathlib.Path) -> None:
    for path in folder.glob("*.tmp"):
        path.unlink()


def _read_old(out: pathlib.Path, overwrite: bool) -> Manifest | None:
    """The manifest of the records that stand at `out`; None for a damaged one that is to be replaced."""
    try:
        return Manifest.read(out)
    except RecordsError as error:
        if overwrite:
            return None
        raise UsageError(f"{error}, with --overwrite") from error


def _remove_replaced(out: pathlib.Path) -> None:
    if (out / FILE_NAME).is_file():
        (out / FILE_NAME).unlink()
        for path in out.glob("*-of-*.tfrecord"):
            path.unlink()


def _divide(parts: list[tuple[Source, Unit]], n_pairs: int) -> list[list[tuple[Source, Unit]]]:
    """Spreads units over shards of about equal cost; depends on the plan alone, never on the number of workers."""
    n_shards = min(len(parts), max(MIN_SHARDS, round(n_pairs / PAIRS_PER_SHARD)))
    groups: list[list[int]] = [[] for _ in range(n_shards)]
    costs = [0.0] * n_shards
    for i in sorted(range(len(parts)), key=lambda i: -parts[i][1].cost):
        cheapest = costs.index(min(costs))
        groups[cheapest].append(i)
        costs[cheapest] += parts[i][1].cost
    return [[parts[i] for i in sorted(group)] for group in sorted(groups, key=min)]


def _make_tasks(groups: list[list[tuple[Source, Unit]]], splits: dict[str, str], **options: Any) -> list[Task]:
    return [
        Task(
            index=index,
            parts=tuple(group),
            splits={key.id: splits[key.id] for _, unit in group for key in unit.keys if key.id in splits},
            **options,
        )
        for index, group in enumerate(groups)
    ]


def _totals(results: list[dict[str, Any]]) -> dict[str, Any]:
    """What the manifest adds up over the tasks."""
    return {
        "waveform": all(result["waveform"] for result in results),
        "source_counts": _merge(result["sources"] for result in results),
        "label_counts": _merge(result["labels"] for result in results),
    }


def _name_shards(out: pathlib.Path, tasks: list[Task], results: list[dict[str, Any]]) -> list[Shard]:
    """Moves finished shards to their final names; those that an interrupted call moved already are left."""
    shards = []
    for split in sorted({split for result in results for split in result["shards"]}):
        holders = [(task, result) for task, result in zip(tasks, results, strict=True) if split in result["shards"]]
        for number, (task, result) in enumerate(holders):
            name = f"{split}-{number:05d}-of-{len(holders):05d}.tfrecord"
            with contextlib.suppress(FileNotFoundError):
                task.shard_path(split).replace(out / name)
            shards.append(Shard(file=name, split=split, **result["shards"][split]))
    return shards


def _merge(parts: Iterator[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    merged: dict[str, Counter] = defaultdict(Counter)
    for part in parts:
        for name, counts in part.items():
            merged[name].update(counts)
    return {name: dict(sorted(merged[name].items())) for name in sorted(merged)}
