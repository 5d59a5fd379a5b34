"""Pairs in one NumPy archive: precomputed vectors and images."""

import contextlib
import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_a2i.config import MAX_EMBEDDING, FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.image import MAX_PIXELS, fit_image
from keras_a2i.remote.address import Address
from keras_a2i.sources.files import open_table, read_pair_image, relative_path
from keras_a2i.sources.pair import Dropped, Pair, PairKey, Plan, Source, Unit
from keras_a2i.sources.pair_keys import PairKeys
from keras_a2i.sources.pair_rows import UNIT_ROWS, check_split
from keras_a2i.sources.registry import SourceType, Spec, register_source
from keras_a2i.sources.vectors import EmbeddingOptions, array_names, check_vectors, read_array

_TEXTS = ("labels", "sources", "splits")


class EmbeddingsNpzSource:
    """A `.npz` file with the arrays embeddings and images, and optionally labels, sources, times, splits, all of length
    n.

    `embeddings` are numbers (n, d). `images` are uint8 (n, h, w, 3), (n, h, w, 1) or (n, h, w), or paths of PNG and
    JPEG files relative to the archive's folder, which they must not leave. `labels`, `sources` and `splits` (train,
    val, test or "") are texts, `times` are seconds; their defaults are those of `PairsCsvSource`. The id of row 7 of
    vectors.npz is "vectors.npz:7".

    Args:
        path: a file, or its address in an object store, that `numpy.savez` or `numpy.savez_compressed` wrote.
        features: duration of a clip; if it has an `embedding`, the length that vectors must have.
        image: size and channels of an image.
        embedding_name: the model that computed the vectors, such as "CLAP"; "" if unknown.
    """

    def __init__(
        self,
        path: str | pathlib.Path | Address,
        *,
        features: FeatureConfig,
        image: ImageConfig,
        embedding_name: str = "",
    ):
        self._files = open_table(path)
        self.path = self._files.path
        self.paths = [self.path]
        self.features, self.image, self.embedding_name = features, image, embedding_name

    def plan(self) -> Plan:
        """Lists the rows in units of 64.

        Raises:
            SourceError: if the file or one of its arrays can't be used.
            ConfigError: if `embedding_name` isn't valid.
        """
        vectors, images = self._array("embeddings"), self._array("images")
        length = self._check_vectors(vectors)
        self._check_images(images, len(vectors))
        keys = PairKeys.of(self._keys(len(vectors)))
        name = self.embedding_name or self.features.embedding_name
        features = dataclasses.replace(self.features, embedding=length, embedding_name=name)
        units = []
        for start in range(0, len(keys), UNIT_ROWS):
            part = keys[start : start + UNIT_ROWS]
            files = [self.path.name]
            if images.dtype.kind == "U":
                files += self._image_files(images[start : start + UNIT_ROWS].tolist())
            unit = f"{self.path.name} rows {start}-{start + len(part) - 1}"
            units.append(Unit(unit, part, float(len(part)), self._files.stamp(files)))
        return Plan(tuple(units), (), features)

    def read(self, unit: Unit) -> Iterator[Pair | Dropped]:
        """Yields the rows of a unit; a vector or an image that can't be used drops its own pair only."""
        vectors, images = self._array("embeddings"), self._array("images")
        for key in unit.keys:
            row = int(key.id.rpartition(":")[2])
            try:
                vector = check_vectors(vectors[row], key.id, 1)
                image = self._image(images[row])
            except SourceError as error:
                yield Dropped(key.id, str(error))
            else:
                yield Pair(key=key, image=image, features=vector, origin=key.id)

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        return {"kind": "embeddings", "name": self.path.name, "has_audio": False}

    def _array(self, name: str) -> np.ndarray:
        names = array_names(self.path)
        if name not in names:
            shown = ", ".join(names[:8]) or "none"
            raise SourceError(f"{self.path.name} must have the arrays embeddings and images. Received: {shown}")
        return read_array(self.path, name)

    def _check_vectors(self, vectors: np.ndarray) -> int:
        length = vectors.shape[1] if vectors.ndim == 2 else 0
        wanted = self.features.embedding or length
        if not (1 <= length <= MAX_EMBEDDING and length == wanted and len(vectors)) or vectors.dtype.kind not in "fiu":
            numbers = self.features.embedding or f"1 to {MAX_EMBEDDING}"
            raise SourceError(
                f"embeddings in {self.path.name} must be numbers (n, d), n 1 or more and d {numbers}. "
                f"Received: shape {vectors.shape}, dtype {vectors.dtype}"
            )
        return length

    def _check_images(self, images: np.ndarray, count: int) -> None:
        pixels = images.dtype == np.uint8 and images.ndim in (3, 4) and images.shape[3:] in ((), (1,), (3,))
        pixels = pixels and 0 < images.shape[1] * images.shape[2] <= MAX_PIXELS
        if not (pixels or (images.dtype.kind == "U" and images.ndim == 1)) or len(images) != count:
            raise SourceError(
                f"images in {self.path.name} must be {count} paths as text, or uint8 pixels ({count}, h, w, 3) or "
                f"({count}, h, w). Received: shape {images.shape}, dtype {images.dtype}"
            )

    def _image(self, image: np.ndarray) -> np.ndarray | bytes:
        if image.dtype.kind == "U":
            path = relative_path(str(image), "image")
            with self._files.opened(path) as file:
                return read_pair_image(file, self.image)
        return fit_image(Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image), self.image)

    def _image_files(self, paths: list[str]) -> Iterator[str]:
        for path in paths:
            # A text that isn't a path drops its pair when it is read.
            with contextlib.suppress(SourceError):
                yield relative_path(path, "image")

    def _keys(self, count: int) -> Iterator[PairKey]:
        known = set(array_names(self.path))
        texts = {name: self._texts(name, count) if name in known else [""] * count for name in _TEXTS}
        times = self._times(count) if "times" in known else None
        in_source: Counter[str] = Counter()
        for row in range(count):
            name = f"{self.path.name}:{row}"
            source, split = texts["sources"][row] or name, check_split(texts["splits"][row], name)
            time = in_source[source] * self.features.duration if times is None else times[row]
            in_source[source] += 1
            yield PairKey(name, source, time, texts["labels"][row], split)

    def _texts(self, name: str, count: int) -> list[str]:
        array = self._array(name)
        if array.shape != (count,) or array.dtype.kind not in "Uiu":
            raise SourceError(
                f"{name} in {self.path.name} must be {count} texts or whole numbers. "
                f"Received: shape {array.shape}, dtype {array.dtype}"
            )
        return [str(value).strip() for value in array.tolist()]

    def _times(self, count: int) -> list[float]:
        array = self._array("times")
        if array.shape != (count,) or array.dtype.kind not in "fiu" or not (np.isfinite(array) & (array >= 0)).all():
            raise SourceError(f"times in {self.path.name} must be {count} numbers of seconds, 0 or more")
        return array.astype(float).tolist()


@register_source
class EmbeddingsNpz(SourceType):
    """A `.npz` file of embeddings and images."""

    id = "embeddings-npz"
    title = "a .npz file of embeddings"
    usage = "a .npz file with the arrays embeddings and images"
    details = "a .npz file with the arrays embeddings and images, and optionally labels,sources,times,splits"
    options = EmbeddingOptions
    uses_audio_settings = False
    position = 40
    reads_stores = True

    def recognises(self, spec: Spec) -> bool:
        """Returns whether it is a `.npz` file."""
        return spec.suffix == ".npz"

    def open(
        self, specs: Sequence[Spec], options: EmbeddingOptions, *, features: FeatureConfig, image: ImageConfig
    ) -> Source:
        """Opens the file."""
        return EmbeddingsNpzSource(specs[0].path, features=features, image=image, **dataclasses.asdict(options))
