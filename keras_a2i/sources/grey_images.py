"""Whether sources hold grey images, which need one channel."""

import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image

from keras_a2i.errors import SourceError
from keras_a2i.sources.pair import Dropped, Pair, Source, Unit
from keras_a2i.spread import spread_rows

N_IMAGES = 64
# Lossy codecs may change the channels of a grey pixel by different amounts, of 255.
_TOLERANCE = 3


def are_grey(sources: Sequence[Source], n_images: int = N_IMAGES) -> bool:
    """Reads some images of every source, spread over its units and their pairs, and returns whether all are grey.

    It stops at the first image with a colour. Inputs that can't be read are passed over.

    Args:
        sources: sources opened for three channels.
        n_images: number of images of each source that are read at most.

    Returns:
        False also if no image could be read.
    """
    images = itertools.chain.from_iterable(_some_images(source, n_images) for source in sources)
    first = next(images, None)
    return first is not None and _is_grey(first) and all(_is_grey(image) for image in images)


def _some_images(source: Source, n_images: int) -> Iterator[np.ndarray]:
    units = source.plan().units
    chosen = [units[i] for i in spread_rows(len(units), n_images)]
    for unit in chosen:
        try:
            for pair in _read_some(source, unit, -(-n_images // len(chosen))):
                if isinstance(pair, Pair):
                    yield _decoded(pair.image)
        except SourceError:
            continue


def _read_some(source: Source, unit: Unit, most: int) -> Iterator[Pair | Dropped]:
    """Reads up to `most` pairs of a unit, the middles of as many equal parts: recordings often begin in black."""
    n_pairs = len(unit.keys)
    positions = list(range(n_pairs)) if n_pairs <= most else [(2 * k + 1) * n_pairs // (2 * most) for k in range(most)]
    read_at = getattr(source, "read_at", None)
    if read_at is not None:
        return read_at(unit, positions)
    return source.read(dataclasses.replace(unit, keys=[unit.keys[position] for position in positions]))


def _decoded(image: np.ndarray | bytes) -> np.ndarray:
    if isinstance(image, bytes):
        with PIL.Image.open(io.BytesIO(image)) as file:
            return np.asarray(file.convert("RGB"))
    return image


def _is_grey(image: np.ndarray) -> bool:
    return bool(np.ptp(image.astype(np.int16), axis=-1).max() <= _TOLERANCE)
