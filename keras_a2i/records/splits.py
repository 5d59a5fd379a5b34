"""Dividing pairs into training and held-out splits by their names, before anything is read."""

import csv
import dataclasses
import difflib
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.sources.pair import PairKey

SPLITS = ("train", "val", "test")
KINDS = ("block", "source", "random", "file", "column")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How pairs are divided into train and val.

    Args:
        kind: "block" holds out the last part of every source, behind a guard gap; "source" holds out whole sources;
            "random" holds out random pairs of every source (the paper's method: neighbours in time fall on both sides);
            "file" follows `file`; "column" follows the split column of the sources; None chooses "column" where there
            is one, "source" where no source has two pairs, else "block".
        val_fraction: the fraction of held-out pairs, 0 (none) to below 1.
        guard: seconds left out between the two parts of a source, 0 to 3600, for "block".
        holdout: the source ids to hold out, for "source"; empty chooses them by hash.
        file: a csv with the columns id,split, for "file"; pairs that it doesn't name are left out.
        seed: of the kind "random".

    Raises:
        UsageError: if a value is out of range or doesn't belong to the kind.
    """

    kind: str | None = None
    val_fraction: float = 0.25
    guard: float = 2.0
    holdout: tuple[str, ...] = ()
    file: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise UsageError(f"kind of a split must be one of {', '.join(KINDS)}. Received: {self.kind!r}")
        if not 0 <= self.val_fraction < 1:
            raise UsageError(f"val_fraction must lie in [0, 1). Received: {self.val_fraction}")
        if not 0 <= self.guard <= 3600:
            raise UsageError(f"guard must lie between 0 and 3600 seconds. Received: {self.guard}")
        if self.holdout and self.kind not in (None, "source"):
            raise UsageError(f"holdout must go with kind='source'. Received: kind={self.kind!r}")
        if self.file and self.kind not in (None, "file"):
            raise UsageError(f"file must go with kind='file' or none. Received: kind={self.kind!r}")
        if self.kind == "file" and not self.file:
            raise UsageError("file must be a csv with the columns id,split where kind='file'. Received: None")

    def resolve(self, keys: Sequence[PairKey]) -> "SplitSpec":
        """The same with `kind` chosen by the pairs where it was None."""
        if self.kind is not None:
            return self
        if self.file:
            kind = "file"
        elif self.holdout:
            kind = "source"
        elif any(key.split for key in keys):
            kind = "column"
        else:
            kind = "block" if len({key.source_id for key in keys}) < len(keys) else "source"
        return dataclasses.replace(self, kind=kind)

    def to_dict(self) -> dict[str, Any]:
        """The fields that matter for this kind, for the manifest."""
        fields: dict[str | None, tuple[str, ...]] = {
            "block": ("kind", "val_fraction", "guard"),
            "source": ("kind", "holdout" if self.holdout else "val_fraction"),
            "random": ("kind", "val_fraction", "seed"),
        }
        return {name: getattr(self, name) for name in fields.get(self.kind, ("kind",))}


def assign_splits(keys: Sequence[PairKey], spec: SplitSpec, duration: float) -> dict[str, str]:
    """Assigns every pair to a split.

    Args:
        keys: all pairs, with unique ids.
        spec: a resolved `SplitSpec`.
        duration: the duration of a pair in seconds, for the guard gap.

    Returns:
        id -> "train", "val" or "test"; pairs that are left out (in a guard gap, or not named in the file) are missing.

    Raises:
        UsageError: if a source to hold out, an id of the split file or the name of a split doesn't exist.
        RecordsError: if there are no training pairs, or no held-out pairs although `val_fraction` isn't 0.
    """
    if spec.kind == "file":
        assert spec.file is not None
        splits = _from_file(keys, pathlib.Path(spec.file))
    elif spec.kind == "column":
        splits = {key.id: key.split for key in keys if key.split}
        _check_names(splits)
    elif spec.val_fraction == 0 and not spec.holdout:
        return {key.id: "train" for key in keys}
    elif spec.kind == "source":
        held_out = _held_out_sources(keys, spec)
        splits = {key.id: "val" if key.source_id in held_out else "train" for key in keys}
    else:
        splits = {}
        divide = _divide_block if spec.kind == "block" else _divide_random
        taken, seen = 0, 0
        for group in _by_source(keys):
            # Rounding the running total keeps the overall fraction however small the sources are.
            seen += len(group)
            n_val = round(spec.val_fraction * seen) - taken
            taken += n_val
            splits.update(divide(group, n_val, spec, duration))
    _check_not_empty(splits, spec)
    return splits


def _by_source(keys: Sequence[PairKey]) -> list[list[PairKey]]:
    groups: dict[str, list[PairKey]] = {}
    for key in keys:
        groups.setdefault(key.source_id, []).append(key)
    return list(groups.values())


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _divide_block(group: list[PairKey], n_val: int, spec: SplitSpec, duration: float) -> dict[str, str]:
    ordered = sorted(group, key=lambda key: key.time)
    if n_val == 0:
        return {key.id: "train" for key in ordered}
    first = ordered[len(ordered) - n_val].time
    splits = {}
    for key in ordered:
        if key.time >= first:
            splits[key.id] = "val"
        elif key.time + duration <= first - spec.guard + 1e-6:
            splits[key.id] = "train"
    return splits


def _divide_random(group: list[PairKey], n_val: int, spec: SplitSpec, duration: float) -> dict[str, str]:
    ranked = sorted(group, key=lambda key: _hash(f"{spec.seed}:{key.id}"))
    return {key.id: "val" if rank < n_val else "train" for rank, key in enumerate(ranked)}


def _held_out_sources(keys: Sequence[PairKey], spec: SplitSpec) -> set[str]:
    sources = sorted({key.source_id for key in keys}, key=_hash)
    for name in spec.holdout:
        if name not in sources:
            near = difflib.get_close_matches(name, sources, 3) or sorted(sources)[:5]
            raise UsageError(f"holdout must name existing sources. Received: {name!r}. There is {', '.join(near)}")
    if spec.holdout:
        return set(spec.holdout)
    return set(sources[: max(1, round(spec.val_fraction * len(sources)))])


def _from_file(keys: Sequence[PairKey], path: pathlib.Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"id", "split"} <= set(reader.fieldnames or ()):
                raise UsageError(
                    f"The split file must have the columns id,split. Received: {reader.fieldnames} in {path.name}"
                )
            splits = {row["id"]: row["split"] for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The split file {path.name} can't be read: {error}") from error
    _check_names(splits)
    known = {key.id for key in keys}
    unknown = [name for name in splits if name not in known]
    if unknown:
        raise UsageError(
            f"Every id of the split file must exist. Received: {len(unknown)} unknown ids in {path.name}, "
            f"such as {unknown[0]!r}. The ids look like {keys[0].id!r}"
        )
    return splits


def _check_names(splits: dict[str, str]) -> None:
    for name, split in splits.items():
        if split not in SPLITS:
            raise UsageError(f"A split must be one of {', '.join(SPLITS)}. Received: {split!r} for {name!r}")


def _check_not_empty(splits: dict[str, str], spec: SplitSpec) -> None:
    present = set(splits.values())
    advice = "Choose another split, a smaller val_fraction or guard, or more data"
    if "train" not in present:
        raise RecordsError(f"At least one training pair is needed. The split {spec.kind!r} leaves none. {advice}")
    if spec.kind in ("block", "source", "random") and "val" not in present:
        raise RecordsError(
            f"At least one held-out pair is needed. The split {spec.kind!r} leaves none. {advice}, "
            "or val_fraction=0 to train on everything"
        )
