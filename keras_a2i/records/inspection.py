"""Statistics of a records folder before training: counts, leaks, duplicates, silence, damage."""

import dataclasses
import itertools
import os
from collections.abc import Callable

import numpy as np

from keras_a2i.config import FeatureConfig
from keras_a2i.counts import counted
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.media.conversion import from_int16
from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import Records, as_records
from keras_a2i.remote.address import local_path
from keras_a2i.spread import spread_rows

NEAR_DUPLICATE_RMS = 2.0
STILL_FRAME_RMS = 0.5
SILENCE_DBFS = -60.0
_THUMBNAIL = 16
_BATCH = 32
_ROWS_AT_ONCE = 1024
MAX_COMPARED = 5000
"""Images that are compared with all others, so that the time grows in proportion to the number of pairs."""
_NAMES_SHOWN = 3
# Kind of a split -> why it leaves pairs out.
_LEFT_OUT_BECAUSE = {
    "block": " (guard gaps)",
    "file": " (missing from the split file)",
    "column": " (without a value in the column split)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """The result of `inspect`; `print` it for a summary.

    Attributes:
        manifest: the manifest of the records.
        counts: the number of readable pairs per split.
        damaged: sentences about damaged shards and records.
        shared_sources: sources with pairs in more than one split.
        pixel_mean, pixel_std: over all images, 0 to 255, one value per channel.
        feature_mean, feature_std, feature_min, feature_max: over all features; rows that aren't finite are left out.
        non_finite: the number of pairs with features that aren't finite.
        near_duplicates: the number of images whose thumbnail differs by less than 2 grey levels from another one.
        leaked_duplicates: the number of held-out images with such a near-duplicate among the training images.
        duplicates_are_estimated: whether the two numbers of duplicates were estimated from 5,000 of the images.
        still_frames: the number of images that differ by less than 0.5 grey levels from the previous one of their
            source.
        silent: the number of clips below -60 dBFS, or None where the records hold no waveforms.
        sheet_images: uint8 (n, size, size, channels), spread evenly over the records.
        sheet_captions: their ids.
    """

    manifest: Manifest
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
    duplicates_are_estimated: bool
    still_frames: int
    silent: int | None
    sheet_images: np.ndarray
    sheet_captions: list[str]

    def __repr__(self) -> str:
        found = {"damaged": len(self.damaged), "near-duplicates": self.near_duplicates, "silent": self.silent}
        numbers = ", ".join(f"{n} {what}" for what, n in found.items() if n is not None)
        return f"Inspection({_counts(self.counts)}; {numbers})"

    def __str__(self) -> str:
        return self.summary()

    def summary(self, top: int = 20) -> str:
        """All figures as text, one per line.

        Args:
            top: the number of sources and of labels that are listed, 0 or more.

        Raises:
            UsageError: if `top` is out of range.
        """
        if top < 0:
            raise UsageError(f"top must be 0 or more. Received: top={top}")
        manifest, image, features = self.manifest, self.manifest.image, self.manifest.features
        about = "about " if self.duplicates_are_estimated else ""
        unknown = "none: embeddings have no audio" if features.embedding else "unknown: no waveforms are stored"
        lines = [
            f"pairs             {_counts(self.counts)}   (split: {manifest.split['kind']})",
            f"images            {image.size} x {image.size}, {counted(image.channels, 'channel')}, {image.encoding}",
            f"pixels            mean {_numbers(self.pixel_mean)}  std {_numbers(self.pixel_std)}  (0 to 255)",
            f"features          {_describe(features)}",
            f"feature values    mean {self.feature_mean:.2f}  std {self.feature_std:.2f}  "
            f"from {self.feature_min:.2f} to {self.feature_max:.2f}; "
            f"NaN or infinite in {counted(self.non_finite, 'pair')}",
            f"silent clips      {unknown if self.silent is None else f'{self.silent} (below {SILENCE_DBFS:g} dBFS)'}",
            f"near-duplicates   {about}{counted(self.near_duplicates, 'image')}; "
            f"{about}{self.leaked_duplicates} of them are held out and resemble a training image",
            f"still frames      {self.still_frames} (nearly equal to the previous image of the source)",
            f"in two splits     {counted(len(self.shared_sources), 'source')}{_some(self.shared_sources)}"
            f"{' (expected with block)' if manifest.split['kind'] == 'block' else ''}",
            f"skipped           {counted(len(manifest.dropped), 'input')}; "
            f"{counted(manifest.left_out, 'pair')} in no split{_LEFT_OUT_BECAUSE.get(manifest.split['kind'], '')}",
            f"damaged, but used {counted(len(manifest.notes), 'file')}",
            *filter(None, [manifest.split_warning]),
            *(f"Warning: {sentence}" for _, sentence in manifest.lost_splits),
            *_table("source", manifest.source_counts, top),
            *(_table("label", manifest.label_counts, top) if set(manifest.label_counts) != {""} else []),
        ]
        return "\n".join(lines)

    def save_sheet(self, path: str | os.PathLike[str]) -> None:
        """Writes a contact sheet of the sample images to a PNG file."""
        save_png(draw_sheet([self.sheet_images], captions=self.sheet_captions), local_path(path, "path"))


def inspect(
    records: Records | str | os.PathLike[str],
    *,
    n_sheet: int = 40,
    progress: Callable[[str, int, int], None] | None = None,
) -> Inspection:
    """Reads every pair once and computes the statistics that matter before training.

    The function needs memory for one batch, and about a kilobyte per pair. If there are more than 5,000 images, 5,000
    of them are compared with all others, and the number of near-duplicates is estimated.

    Args:
        records: a records folder, or a `Records` object.
        n_sheet: the number of images for the contact sheet, 1 or more.
        progress: called as progress(what, done, total), where `what` is first "shard", whose sha256 is compared, then
            "pair", which is read, and then "image", which is compared with others.

    Raises:
        RecordsError: if the folder isn't a records folder, or no record in it can be read.
        UsageError: if `n_sheet` is out of range.
    """
    if n_sheet < 1:
        raise UsageError(f"n_sheet must be 1 or more. Received: n_sheet={n_sheet}")
    records = as_records(records)
    manifest = records.manifest
    tell = progress or (lambda what, done, total: None)
    damaged = manifest.verify(
        lambda shard: records.local_folder(shard.split), lambda done, total: tell("shard", done, total)
    )
    total = sum(records.counts.values())
    wanted = set(spread_rows(total, n_sheet).tolist())
    counts = dict.fromkeys(records.counts, 0)
    pixels, features = _Moments(), _Moments()
    thumbnails, sources, times, sheet_images, sheet_captions = [], [], [], [], []
    non_finite = silent = seen = 0
    for split in counts:
        input = "waveform" if records.has_waveform else "features"
        for batch in records.stream(split, input, _BATCH, ignore_errors=True):
            pixels.add(batch.images.reshape(-1, batch.images.shape[-1]))
            finite = np.isfinite(batch.features).all(axis=1)
            features.add(batch.features[finite].reshape(-1, 1))
            non_finite += int((~finite).sum())
            silent += 0 if batch.waveforms is None else int((_level(batch.waveforms) < SILENCE_DBFS).sum())
            thumbnails.append(_thumbnails(batch.images))
            sources.append(batch.sources)
            times.append(batch.times)
            chosen = [row for row in range(len(batch)) if seen + row in wanted]
            sheet_images += list(batch.images[chosen])
            sheet_captions += batch.ids[chosen].tolist()
            counts[split] += len(batch)
            seen += len(batch)
            tell("pair", seen, total)
    if not seen:
        raise RecordsError(
            f"No record in {records.path} can be read. Build the records again, with overwrite=True (--overwrite)"
        )
    grey = np.concatenate(thumbnails)
    near, leaked = _near_duplicates(
        grey,
        np.repeat([split == "train" for split in counts], list(counts.values())),
        lambda done, total: tell("image", done, total),
    )
    return Inspection(
        manifest=manifest,
        counts={split: count for split, count in counts.items() if count},
        damaged=damaged + records.damaged,
        shared_sources=sorted(name for name, splits in manifest.source_counts.items() if len(splits) > 1),
        pixel_mean=pixels.mean.tolist(),
        pixel_std=pixels.std.tolist(),
        feature_mean=float(features.mean[0]),
        feature_std=float(features.std[0]),
        feature_min=features.min,
        feature_max=features.max,
        non_finite=non_finite,
        near_duplicates=round(near * seen),
        leaked_duplicates=round(leaked * (seen - counts.get("train", 0))),
        duplicates_are_estimated=seen > MAX_COMPARED,
        still_frames=_still_frames(grey, np.concatenate(sources), np.concatenate(times)),
        silent=silent if records.has_waveform else None,
        sheet_images=np.stack(sheet_images),
        sheet_captions=sheet_captions,
    )


class _Moments:
    """Mean, standard deviation and range of the columns of arrays that arrive one after the other; 0 of none."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, np.zeros(1), np.zeros(1)
        self.min = self.max = 0.0

    def add(self, values: np.ndarray) -> None:
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        self.min, self.max = (min(low, self.min), max(high, self.max)) if self._count else (low, high)
        self._count += len(values)
        self._sum = self._sum + values.sum(axis=0, dtype=np.float64)
        self._squares = self._squares + np.square(values, dtype=np.float64).sum(axis=0)

    @property
    def mean(self) -> np.ndarray:
        return self._sum / max(self._count, 1)

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(np.maximum(self._squares / max(self._count, 1) - self.mean**2, 0))


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Grey means over a grid of 16 x 16 cells, float16 (batch, 256): exact to a sixteenth of a grey level."""
    n, size, _, _ = images.shape
    cell = size // _THUMBNAIL
    grid = images.mean(axis=3, dtype=np.float64).reshape(n, _THUMBNAIL, cell, _THUMBNAIL, cell).mean(axis=(2, 4))
    return grid.reshape(n, -1).astype(np.float16)


def _level(waveform: np.ndarray) -> np.ndarray:
    """Root mean square of int16 waveforms in dB relative to full scale, (batch,)."""
    power = np.square(from_int16(waveform), dtype=np.float64).mean(axis=1)
    return 10 * np.log10(np.maximum(power, 1e-12))


def _near_duplicates(
    grey: np.ndarray, is_train: np.ndarray, progress: Callable[[int, int], None]
) -> tuple[float, float]:
    """The share of images with a near-duplicate, and of held-out ones with one in train, of up to 5,000 each."""
    train, held_out = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    everything = np.arange(len(grey))
    total = len(everything) + (len(train) if len(held_out) else 0)
    near = _share_with_twin(
        grey,
        rows=everything[spread_rows(len(grey), MAX_COMPARED)],
        among=everything,
        progress=lambda done: progress(done, total),
    )
    leaked = _share_with_twin(
        grey,
        rows=held_out[spread_rows(len(held_out), MAX_COMPARED)],
        among=train,
        progress=lambda done: progress(len(everything) + done, total),
    )
    return near, leaked


def _share_with_twin(
    grey: np.ndarray, *, rows: np.ndarray, among: np.ndarray, progress: Callable[[int], None]
) -> float:
    """The share of rows with a near-duplicate among other rows; 0 of none. Every row is compared with all of them."""
    if not len(rows):
        return 0.0
    limit, wanted = NEAR_DUPLICATE_RMS**2 * grey.shape[1], grey[rows].astype(np.float32)
    own = np.square(wanted).sum(axis=1)[:, None]
    found = np.zeros(len(rows), bool)
    for start in range(0, len(among), _ROWS_AT_ONCE):
        numbers = among[start : start + _ROWS_AT_ONCE]
        part = grey[numbers].astype(np.float32)
        close = own + np.square(part).sum(axis=1) - 2 * wanted @ part.T < limit
        found |= (close & (rows[:, None] != numbers)).any(axis=1)
        progress(start + len(numbers))
    return float(found.mean())


def _still_frames(grey: np.ndarray, sources: np.ndarray, times: np.ndarray) -> int:
    limit = STILL_FRAME_RMS**2 * grey.shape[1]
    return sum(
        1
        for before, after in itertools.pairwise(np.lexsort((times, sources)))
        if sources[before] == sources[after]
        and float(np.square(grey[before].astype(np.float32) - grey[after]).sum()) < limit
    )


def _describe(config: FeatureConfig) -> str:
    if config.embedding:
        return config.description
    return (
        f"{config.n_features} = {config.n_frames} frames x {config.n_mfcc} MFCC of {config.duration:g} s at "
        f"{config.sample_rate} Hz"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def _some(names: list[str]) -> str:
    if not names:
        return ""
    return ": " + ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")


def _table(title: str, counts: dict[str, dict[str, int]], top: int) -> list[str]:
    lines = [f"\n{title}s: {len(counts)}"]
    for name, splits in sorted(counts.items(), key=lambda item: -sum(item[1].values()))[:top]:
        lines.append(f"  {name or '(none)'}: {_counts(splits)}")
    if len(counts) > top:
        lines.append(f"  ... and {len(counts) - top} more")
    return lines
