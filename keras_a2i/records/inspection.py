"""What a records folder holds, in figures: counts, statistics, leaks, duplicates, silence."""

import dataclasses
import itertools
import pathlib
from collections import Counter

import numpy as np

from keras_a2i.errors import RecordsError
from keras_a2i.records.dataset import read_examples
from keras_a2i.records.manifest import Manifest

NEAR_DUPLICATE_RMS = 2.0
STILL_FRAME_RMS = 0.5
SILENCE_DBFS = -60.0
_THUMBNAIL = 16
_ROWS_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_records` found.

    Attributes:
        counts: pairs per split.
        damaged: damaged shards or records, as sentences.
        shared_sources: sources with pairs in more than one split.
        pixel_mean, pixel_std: over all pictures, 0 to 255, one value a channel.
        feature_mean, feature_std, feature_min, feature_max: over all features; rows that aren't finite are left out.
        non_finite: pairs with features that aren't finite.
        near_duplicates: pictures whose thumbnail differs by less than 2 grey levels from another's.
        leaked_duplicates: held-out pictures with such a near-duplicate among the training pictures.
        still_frames: pictures that hardly differ from the one before in their source (below 0.5 grey levels).
        silent: clips below -60 dBFS, or None where the records hold no sound.
        sheet_images, sheet_captions: pictures spread over the records and their ids.
    """

    counts: dict[str, int]
    damaged: list[str]
    shared_sources: list[str]
    pixel_mean: list[float]
    pixel_std: list[float]
    feature_mean: float
    feature_std: float
    feature_min: float
    feature_max: float
    non_finite: int
    near_duplicates: int
    leaked_duplicates: int
    still_frames: int
    silent: int | None
    sheet_images: np.ndarray
    sheet_captions: list[str]


def inspect_records(path: str | pathlib.Path, *, n_sheet: int = 40) -> Inspection:
    """Reads every pair once and reports what there is to know before training.

    Args:
        path: a records folder.
        n_sheet: pictures for the contact sheet.

    Raises:
        RecordsError: if the folder isn't one of records, or no record in it can be read.
    """
    manifest = Manifest.read(path)
    damaged = manifest.verify(path)
    total = sum(manifest.counts.values())
    wanted = set(np.linspace(0, total - 1, min(n_sheet, total)).astype(int).tolist())
    ids, splits, sources, times, thumbnails, levels, features, sheet = [], [], [], [], [], [], [], []
    pixel_sum = pixel_square = 0.0
    for split in manifest.counts:
        dataset = read_examples(path, split, waveform=manifest.waveform, ignore_errors=True)
        for batch in dataset.as_numpy_iterator():
            images = batch["image"].astype(np.float64)
            pixel_sum = pixel_sum + images.mean(axis=(1, 2)).sum(axis=0)
            pixel_square = pixel_square + (images**2).mean(axis=(1, 2)).sum(axis=0)
            sheet += [batch["image"][i] for i in range(len(images)) if len(ids) + i in wanted]
            ids += [name.decode() for name in batch["id"]]
            splits += [split] * len(images)
            sources += [name.decode() for name in batch["source_id"]]
            times += batch["time"].tolist()
            thumbnails.append(_thumbnails(images))
            features.append(batch["features"])
            if manifest.waveform:
                levels.append(_level(batch["waveform"]))
        damaged += dataset.damaged_records
    if not ids:
        raise RecordsError(f"No record in {path} can be read. Build the records again")
    rows = np.concatenate(features)
    finite = np.isfinite(rows).all(axis=1)
    usable = rows[finite] if finite.any() else np.zeros((1, 1))
    grey = np.concatenate(thumbnails)
    nearest = _near_duplicates(grey, np.array(splits))
    mean = pixel_sum / len(ids)
    return Inspection(
        counts=dict(Counter(splits)),
        damaged=damaged,
        shared_sources=sorted(name for name, counts in manifest.source_counts.items() if len(counts) > 1),
        pixel_mean=mean.tolist(),
        pixel_std=np.sqrt(np.maximum(pixel_square / len(ids) - mean**2, 0)).tolist(),
        feature_mean=float(usable.mean()),
        feature_std=float(usable.std()),
        feature_min=float(usable.min()),
        feature_max=float(usable.max()),
        non_finite=int((~finite).sum()),
        near_duplicates=nearest[0],
        leaked_duplicates=nearest[1],
        still_frames=_still_frames(grey, sources, times),
        silent=int((np.concatenate(levels) < SILENCE_DBFS).sum()) if levels else None,
        sheet_images=np.stack(sheet),
        sheet_captions=[name for i, name in enumerate(ids) if i in wanted],
    )


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Grey means over a 16 x 16 grid, float32 (batch, 256)."""
    n, size, _, _ = images.shape
    cell = size // _THUMBNAIL
    grid = images.mean(axis=3).reshape(n, _THUMBNAIL, cell, _THUMBNAIL, cell).mean(axis=(2, 4))
    return grid.reshape(n, -1).astype(np.float32)


def _level(waveform: np.ndarray) -> np.ndarray:
    """Root mean square of int16 sound in dB below full scale (batch,)."""
    power = ((waveform.astype(np.float64) / 32768) ** 2).mean(axis=1)
    return 10 * np.log10(np.maximum(power, 1e-12))


def _near_duplicates(grey: np.ndarray, splits: np.ndarray) -> tuple[int, int]:
    limit = NEAR_DUPLICATE_RMS**2 * grey.shape[1]
    squares = (grey**2).sum(axis=1)
    is_train = splits == "train"
    near = leaked = 0
    for start in range(0, len(grey), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        distances = squares[part, None] + squares[None] - 2 * grey[part] @ grey.T
        close = distances < limit
        close[np.arange(len(close)), np.arange(start, start + len(close))] = False
        near += int(close.any(axis=1).sum())
        leaked += int(close[~is_train[part]][:, is_train].any(axis=1).sum())
    return near, leaked


def _still_frames(grey: np.ndarray, sources: list[str], times: list[float]) -> int:
    order = sorted(range(len(grey)), key=lambda i: (sources[i], times[i]))
    limit = STILL_FRAME_RMS**2 * grey.shape[1]
    return sum(
        1
        for before, after in itertools.pairwise(order)
        if sources[before] == sources[after] and float(((grey[before] - grey[after]) ** 2).sum()) < limit
    )
