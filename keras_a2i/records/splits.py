"""Dividing pairs into training and held-out splits by their names, before anything is read."""

import dataclasses
import difflib
import hashlib
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_a2i.errors import RecordsError, SourceError, UsageError
from keras_a2i.remote.address import Address, as_location
from keras_a2i.remote.copies import local_copy
from keras_a2i.sources.csv_table import read_rows
from keras_a2i.sources.pair_keys import PairKeys
from keras_a2i.sources.pair_rows import check_split

SPLITS = ("train", "val", "test")
LEFT_OUT = -1
KINDS = ("block", "source", "random", "file", "column")
VAL_FRACTION = 0.25
"""Of pairs that are held out by default."""
GUARD = 2.0
"""Seconds that are left out by default between the two parts of a source."""

_PLACES = {split: place for place, split in enumerate(SPLITS)}
_TRAIN, _VAL, _ = range(3)
# Kinds whose splits are given by the user or the data.
_GIVEN = ("file", "column")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How pairs are divided into train and val.

    Args:
        kind: "block" holds out the last part of every source, after a guard gap; all pairs of a source that is too
            short for this are training pairs, unless nothing would be held out then. "source" holds out whole sources.
            "random" holds out random pairs of every source (the paper's method: neighbours in time fall on both sides).
            "file" uses the splits of `file`. "column" uses the split column of the sources, without the pairs whose
            cell is empty. None chooses "column" if there is one, "source" if no source has two pairs or all sources are
            data sets of clips, else "block".
        val_fraction: the fraction of held-out pairs, 0 (none) to below 1. With "file" and "column", if no split val is
            given: the fraction of training sources that become val, because published splits often consist of train and
            test only. None is 0.25, and 0 with "file" and "column". It must be None with `holdout`.
        guard: seconds left out between the two parts of a source, 0 to 3600, for "block" only. None is 2.
        holdout: the source ids to hold out, for "source"; empty chooses them by hash.
        file: a csv with the columns id,split, or its address in an object store, for "file"; pairs that it doesn't list
            or whose cell is empty are left out.
        seed: random seed, for "random" only. None is 0.

    Raises:
        UsageError: if a value is out of range, or doesn't belong to the kind or to another value; of a kind that the
            pairs decide, from `resolve`.

    Example:
        >>> SplitSpec("source", holdout=("beach",)).to_dict()
        {'kind': 'source', 'holdout': ('beach',)}
    """

    # The only one that may be passed by its position: SplitSpec("random").
    kind: str | None = dataclasses.field(default=None, kw_only=False)
    val_fraction: float | None = None
    guard: float | None = None
    holdout: tuple[str, ...] = ()
    file: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise UsageError(f"kind of a split must be one of {', '.join(KINDS)}. Received: {self.kind!r}")
        if self.val_fraction is not None and not 0 <= self.val_fraction < 1:
            raise UsageError(f"val_fraction must lie in [0, 1). Received: {self.val_fraction}")
        if self.guard is not None and not 0 <= self.guard <= 3600:
            raise UsageError(f"guard must lie between 0 and 3600 seconds. Received: {self.guard}")
        if self.holdout and self.kind not in (None, "source"):
            raise UsageError(f"holdout must go with kind='source'. Received: kind={self.kind!r}")
        if self.file and self.kind not in (None, "file"):
            raise UsageError(f"file must go with kind='file' or none. Received: kind={self.kind!r}")
        if self.kind == "file" and not self.file:
            raise UsageError("file must be a csv with the columns id,split where kind='file'. Received: None")
        if self.file and self.holdout:
            raise UsageError(
                f"holdout must be left out with file. Received: holdout={self.holdout!r}, file={self.file!r}"
            )
        if self.holdout and self.val_fraction is not None:
            raise UsageError(
                "val_fraction must be left out with holdout, which names what is held out. "
                f"Received: val_fraction={self.val_fraction}, holdout={self.holdout!r}"
            )
        kind = self.kind or self._given_kind()
        for name, owner in (("guard", "block"), ("seed", "random")):
            if kind not in (None, owner) and getattr(self, name) is not None:
                raise UsageError(
                    f"{name} must be left out, or go with kind={owner!r}. "
                    f"Received: {name}={getattr(self, name)!r} with the kind {kind!r}"
                )

    def resolve(self, keys: PairKeys, by_source: bool = False) -> "SplitSpec":
        """The same with `kind` chosen by the pairs, and what it needs of the others, where they were None.

        Args:
            keys: all pairs.
            by_source: whether to prefer whole sources to blocks, where there are two or more.

        Raises:
            UsageError: if a value doesn't belong to the kind.
        """
        kind = self.kind or self._given_kind() or self._choose_kind(keys, by_source)
        defaults: dict[str, Any] = {"guard": GUARD} if kind == "block" else {"seed": 0} if kind == "random" else {}
        if not self.holdout:
            defaults["val_fraction"] = 0.0 if kind in _GIVEN else VAL_FRACTION
        unset = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, kind=kind, **unset)

    def _given_kind(self) -> str | None:
        return "file" if self.file else "source" if self.holdout else None

    def _choose_kind(self, keys: PairKeys, by_source: bool) -> str:
        if any(keys.texts("split")):
            return "column"
        _, firsts = keys.number("source_id")
        return "block" if len(firsts) < (2 if by_source else len(keys)) else "source"

    def to_dict(self) -> dict[str, Any]:
        """The fields that matter for this kind, for the manifest."""
        fields: dict[str | None, tuple[str, ...]] = {
            "block": ("kind", "val_fraction", "guard"),
            "source": ("kind", "holdout" if self.holdout else "val_fraction"),
            "random": ("kind", "val_fraction", "seed"),
        }
        given = ("kind", "val_fraction") if self.val_fraction else ("kind",)
        return {name: getattr(self, name) for name in fields.get(self.kind, given)}


def as_split_spec(split: SplitSpec | str | None) -> SplitSpec:
    """Returns a `SplitSpec` itself, that of a kind such as "source", or the default for None.

    Raises:
        UsageError: if it is none of these, or no kind has this name.
    """
    if split is not None and not isinstance(split, SplitSpec | str):
        raise UsageError(
            f"split must be a SplitSpec, one of its kinds ({', '.join(KINDS)}), or None. Received: split={split!r}"
        )
    return split if isinstance(split, SplitSpec) else SplitSpec(split)


def assign_splits(keys: PairKeys, spec: SplitSpec, duration: float) -> np.ndarray:
    """Assigns every pair to a split.

    Args:
        keys: all pairs, with unique ids.
        spec: a resolved `SplitSpec`.
        duration: the duration of a pair in seconds, for the guard gap.

    Returns:
        The place in `SPLITS` of every pair's split, int8 (n,); `LEFT_OUT` for pairs that are left out (in a guard gap,
        not named in the file, or without a split of their own).

    Raises:
        UsageError: if a source to hold out, an id of the split file or the name of a split doesn't exist, or
            `val_fraction` is set although the given splits hold val.
        SourceError: if the split file can't be read, isn't such a csv, or states two splits of an id.
        RecordsError: if there are no training pairs, or no held-out pairs although `val_fraction` isn't 0.
    """
    if spec.kind == "file":
        assert spec.file is not None
        splits = _from_file(keys, _local_file(spec.file))
    elif spec.kind == "column":
        named = zip(keys.texts("split"), keys.texts("id"), strict=True)
        splits = np.fromiter((_place(split, id) if split else LEFT_OUT for split, id in named), np.int8, len(keys))
    if spec.kind in _GIVEN:
        _hold_out_of_training(splits, keys, spec)
    elif spec.val_fraction == 0 and not spec.holdout:
        return np.zeros(len(keys), np.int8)
    elif spec.kind == "source":
        sources, firsts = keys.number("source_id")
        splits = _held_out_sources(keys.select(firsts), spec)[sources].astype(np.int8)
    elif spec.kind == "block":
        splits = _divide_blocks(keys, spec, duration)
    else:
        splits = _divide_randomly(keys, spec)
    _check_not_empty(splits, spec)
    return splits


def _hold_out_of_training(splits: np.ndarray, keys: PairKeys, spec: SplitSpec) -> None:
    """Moves whole sources from train to val where `val_fraction` asks for it."""
    if not spec.val_fraction:
        return
    if _VAL in splits:
        raise UsageError(
            f"val_fraction must be left out where the given splits hold val. Received: val_fraction={spec.val_fraction}"
        )
    rows = np.flatnonzero(splits == _TRAIN)
    train = keys.select(rows)
    sources, firsts = train.number("source_id")
    splits[rows[_held_out_sources(train.select(firsts), spec)[sources]]] = _VAL


def _divide_blocks(keys: PairKeys, spec: SplitSpec, duration: float) -> np.ndarray:
    assert spec.guard is not None
    sources, _ = keys.number("source_id")
    ends, n_val = _count_held_out(sources, spec)
    times = keys.times
    # The time of the first held-out pair of every source: infinite where none is held out.
    starts = np.full(len(ends), np.inf)
    ordered = times[np.lexsort((times, sources))]
    starts[n_val > 0] = ordered[(ends - n_val)[n_val > 0]]
    start = starts[sources]
    splits = np.full(len(keys), LEFT_OUT, np.int8)
    splits[times + duration <= start - spec.guard + 1e-6] = _TRAIN
    splits[times >= start] = _VAL
    # A source of which the guard gap leaves nothing to train on is too short to be divided: all of it is trained on.
    has_rest = n_val < np.diff(ends, prepend=0)
    is_trained = np.bincount(sources[splits == _TRAIN], minlength=len(ends)) > 0
    with_short = np.where((has_rest & ~is_trained)[sources], _TRAIN, splits)
    # Where all are too short, the error about training pairs says what to do.
    return with_short if _VAL in with_short else splits


def _divide_randomly(keys: PairKeys, spec: SplitSpec) -> np.ndarray:
    sources, _ = keys.number("source_id")
    ends, n_val = _count_held_out(sources, spec)
    order = np.lexsort((_hashes(f"{spec.seed}:{id}" for id in keys.texts("id")), sources))
    sizes = np.diff(ends, prepend=0)
    ranks = np.arange(len(keys)) - np.repeat(ends - sizes, sizes)
    splits = np.empty(len(keys), np.int8)
    splits[order] = np.where(ranks < n_val[sources[order]], _VAL, _TRAIN)
    return splits


def _count_held_out(sources: np.ndarray, spec: SplitSpec) -> tuple[np.ndarray, np.ndarray]:
    """Counts for every source the pairs of it and of those before it, and its own held-out pairs, both (sources,).

    Rounding the running total keeps the overall fraction of small sources, before those are trained on that are too
    short to be divided.
    """
    ends = np.cumsum(np.bincount(sources))
    return ends, np.diff(np.rint(_fraction(spec) * ends).astype(np.intp), prepend=0)


def _fraction(spec: SplitSpec) -> float:
    assert spec.val_fraction is not None
    return spec.val_fraction


def _hashes(texts: Iterable[str]) -> np.ndarray:
    """The sha256 of every text, (n,); its order is that of the bytes."""
    digests = bytearray()
    for text in texts:
        digests += hashlib.sha256(text.encode()).digest()
    return np.frombuffer(digests, "S32")


def _held_out_sources(sources: PairKeys, spec: SplitSpec) -> np.ndarray:
    """Whether a source is held out, (sources,), given a pair of each."""
    if not spec.holdout:
        held_out = np.zeros(len(sources), bool)
        order = np.argsort(_hashes(sources.texts("source_id")), kind="stable")
        held_out[order[: max(1, round(_fraction(spec) * len(sources)))]] = True
        return held_out
    names = list(sources.texts("source_id"))
    for name in spec.holdout:
        if name not in names:
            near = difflib.get_close_matches(name, names, 3) or sorted(names)[:5]
            raise UsageError(f"holdout must name existing sources. Received: {name!r}. There is {', '.join(near)}")
    return np.isin(np.array(names), spec.holdout)


def _local_file(file: str) -> pathlib.Path:
    location = as_location(file)
    return local_copy(location) if isinstance(location, Address) else location


def _from_file(keys: PairKeys, path: pathlib.Path) -> np.ndarray:
    try:
        named = _read_split_file(path)
    except SourceError as error:
        raise SourceError(f"The split file can't be used: {error}") from None
    known = {id for id in keys.texts("id") if id in named}
    unknown = [id for id in named if id not in known]
    if unknown:
        raise UsageError(
            f"Every id of the split file must exist. Received: {len(unknown)} unknown ids in {path.name}, "
            f"such as {unknown[0]!r}. The ids look like {keys[0].id!r}"
        )
    return np.fromiter((named.get(id, LEFT_OUT) for id in keys.texts("id")), np.int8, len(keys))


def _read_split_file(path: pathlib.Path) -> dict[str, int]:
    """The place of every id's split; `LEFT_OUT` where the cell is empty."""
    places: dict[str, int] = {}
    lines: dict[str, int] = {}
    for line, cells in read_rows(path, ("id", "split")):
        id, split = cells["id"], check_split(cells.get("split", ""), f"{path.name}, line {line}")
        place = _PLACES.get(split, LEFT_OUT)
        if places.setdefault(id, place) != place:
            raise SourceError(
                f"{path.name}, lines {lines[id]} and {line}: an id must have one split. Received: two for {id!r}. "
                "Remove one of the lines"
            )
        lines.setdefault(id, line)
    return places


def _place(split: str, id: str) -> int:
    if split not in _PLACES:
        raise UsageError(f"A split must be one of {', '.join(SPLITS)}. Received: {split!r} for {id!r}")
    return _PLACES[split]


def _check_not_empty(splits: np.ndarray, spec: SplitSpec) -> None:
    if _TRAIN not in splits:
        raise RecordsError(
            f"At least one training pair is needed. The split {spec.kind!r} leaves none. {_advice(spec, 'smaller')}"
        )
    if spec.kind in ("block", "source", "random") and _VAL not in splits:
        raise RecordsError(
            f"At least one held-out pair is needed. The split {spec.kind!r} leaves none. {_advice(spec, 'larger')}, "
            "or train on everything with val_fraction=0 (--val-fraction 0)"
        )


def _advice(spec: SplitSpec, comparative: str) -> str:
    """What leaves pairs on both sides, by what the kind of the split is made of."""
    if spec.kind == "column" and not spec.val_fraction:
        return "Mark rows as train in the column split of the csv"
    if spec.kind == "file" and not spec.val_fraction:
        return "Mark ids as train in the split file"
    if spec.holdout:
        return "Leave out one or more of holdout (--holdout)"
    guard = ", a smaller guard (--guard)" if spec.kind == "block" and spec.guard else ""
    whole = ", hold out whole sources (--split source)" if spec.kind == "block" else ""
    return f"Choose a {comparative} val_fraction (--val-fraction){guard}{whole} or add data"
