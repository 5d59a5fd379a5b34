"""A mosaic of stored images: frames of audio vote for exemplars, and the votes determine their areas in the image."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers.stored_exemplars import CONSTANT, LABEL_SCALE, StoredExemplars, checked_numbers

_NOTHING = 1e-9
_ROUNDING, _SMALL = 2.0**-10, 2.0**-14
"""What shares are compared with: float16 numbers, since files with `quantize="float16"` hold constants as such."""
_LARGEST_LOGIT = 80.0
_COARSE = 8
_LEVEL_WIDTH = 0.1
"""Levels are ranks among up to 8 x 8 positions, smoothed by a tenth of the field's standard deviation."""


@keras.saving.register_keras_serializable("keras_a2i")
class ExemplarMosaic(StoredExemplars):
    """Composes a map of patch codes from stored images, with areas that are proportional to their shares of the votes.

    The input holds several queries, one for each frame of the audio. Every query distributes a vote over all exemplars,
    by a softmax of its similarity to their learned keys; the mean over the queries is the share of an exemplar. As the
    audio of one recording fades into that of another, the shares of their exemplars change gradually, and with them the
    image.

    The shares of exemplars of one recording (`sources`) are summed. Most mixtures are of two recordings, so the shares
    of all others are reduced (`minor_exponent`), and shares below `least_share` of the largest are left out. Then the
    map is divided along the level lines of a smooth random field: each recording receives the positions between two
    levels, a part of the map that is as large as its share. Between two recordings there is a soft transition, which is
    wide for the coarse brightness (`softness`), an average over `coarse_size` x `coarse_size` patches, and narrower for
    what is finer (`detail_softness`), so that neither a seam nor two images at the same place are visible. Weighted
    means of codes have less contrast than the codes; therefore everything except the coarse brightness is divided by
    the norm of the weights. Each recording is shown by its exemplar with the largest share. A style vector, drawn at
    random, changes the field and the choice between exemplars with about equal shares.

    Audio that is unlike the training data gives small shares to many exemplars, and the result would be a patchwork.
    For such audio, the familiarity, which the objective `familiarity` trains, is low: the shares are then raised to a
    power of up to `largest_exponent`, after which the largest shares dominate. Some recordings are hubs, which have
    large shares for all unfamiliar audio: before the power, shares are divided by their mean over such audio, if
    `assign_hubness` has set it.

    Args:
        n_exemplars: number of exemplars, from 1.
        grid_size: height and width of the map.
        components: numbers per position; the first is the brightness.
        query_dim: length of a query; the length of the input without the style must be a multiple of it.
        sharpness: how exclusively one exemplar of a recording is selected, above 0; with 10, exemplars of a recording
            are mixed in proportion to their shares.
        spread: weight of the style, and of fixed random numbers, in this selection, 0 or more.
        least_share: smallest share that is shown, relative to the largest, from 0 to below 1.
        minor_exponent: shares below the second-largest are multiplied by (share / second-largest share) to this power,
            0 or more; 0 doesn't change them.
        softness: width of the transitions of the coarse brightness as a fraction of the map, above 0.
        detail_softness: width of the transitions of the fine brightness and of all other components, above 0.
        coarse_size: side, in positions of the map, of the blocks over which brightness is averaged, from 1. These
            averages, interpolated between the blocks, are the coarse brightness; with 1, all brightness is coarse.
        largest_exponent: exponent of the shares for completely unfamiliar audio, 1 or more; 1 treats it like familiar
            audio.
        field_size: height and width of the field before it is enlarged to the map, from 2.
        style_units: numbers at the end of the input that are the style, from 0.
        seed: seed of the field.
        **kwargs: other arguments of a Keras layer.

    Call with float (batch, n x query_dim + style_units). Returns float (batch, grid_size, grid_size, components).

    Raises:
        UsageError: if an argument is out of range, or the input doesn't consist of whole queries.

    Attributes:
        hubness: logarithm of the mean share of an exemplar's recording in unfamiliar audio, relative to an even share.

    Reference:
        The contrast of blended textures: Heitz and Neyret, "High-performance by-example noise using a
        histogram-preserving blending operator", 2018. Wider transitions for coarser scales: Burt and Adelson, "A
        multiresolution spline with application to image mosaics", 1983. The composition by shares is this project's.
    """

    learns_familiarity = True
    subtract_hubness = True

    def __init__(
        self,
        n_exemplars: int,
        grid_size: int,
        components: int,
        *,
        query_dim: int,
        sharpness: float = 200.0,
        spread: float = 0.05,
        least_share: float = 0.01,
        minor_exponent: float = 0.25,
        softness: float = 0.8,
        detail_softness: float = 0.1,
        coarse_size: int = 2,
        largest_exponent: float = 8.0,
        field_size: int = 3,
        style_units: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(n_exemplars, grid_size, components, style_units=style_units, **kwargs)
        if min(n_exemplars, grid_size, components, query_dim, coarse_size) < 1 or field_size < 2 or style_units < 0:
            raise UsageError(
                "n_exemplars, grid_size, components, query_dim and coarse_size must be 1 or more, field_size 2 or "
                f"more, style_units 0 or more. Received: n_exemplars={n_exemplars}, grid_size={grid_size}, "
                f"components={components}, query_dim={query_dim}, coarse_size={coarse_size}, "
                f"field_size={field_size}, style_units={style_units}"
            )
        if not (
            min(sharpness, softness, detail_softness) > 0 <= min(spread, minor_exponent)
            and 0 <= least_share < 1 <= largest_exponent
        ):
            raise UsageError(
                "sharpness, softness and detail_softness must be above 0, spread and minor_exponent 0 or more, "
                f"least_share from 0 to below 1, largest_exponent 1 or more. Received: sharpness={sharpness}, "
                f"softness={softness}, detail_softness={detail_softness}, spread={spread}, "
                f"minor_exponent={minor_exponent}, least_share={least_share}, largest_exponent={largest_exponent}"
            )
        self.query_dim, self.sharpness, self.spread = query_dim, sharpness, spread
        self.least_share, self.minor_exponent, self.largest_exponent = least_share, minor_exponent, largest_exponent
        self.softness, self.detail_softness, self.coarse_size = softness, detail_softness, coarse_size
        self.field_size, self.seed = field_size, seed

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        self.sources = self.add_weight(
            shape=(self.n_exemplars,), initializer=_own_source, trainable=False, dtype="int32", name="sources"
        )
        self._add_familiarity()
        self.hubness = self.add_weight(shape=(self.n_exemplars,), initializer="zeros", name="hubness", **CONSTANT)
        self.field, self.field_of_style = self._add_random("field", self.field_size**2, self.seed)
        self.preferences, self.preferences_of_style = self._add_random("preferences", self.n_exemplars, self.seed + 2)

    def _add_random(self, name: str, n: int, seed: int) -> tuple[Any, Any]:
        """Adds n fixed random numbers, and what each number of the style adds to them, or None without a style."""
        normal = keras.initializers.RandomNormal
        fixed = self.add_weight(shape=(n,), initializer=normal(stddev=1.0, seed=seed), name=name, **CONSTANT)
        if not self.style_units:
            return fixed, None
        initial = normal(stddev=self.style_units**-0.5, seed=seed + 1)
        shape = (self.style_units, n)
        return fixed, self.add_weight(shape=shape, initializer=initial, name=f"{name}_of_style", **CONSTANT)

    def _length_of_queries(self) -> int:
        if self.content_dim % self.query_dim or not self.content_dim:
            raise UsageError(
                f"The input must hold queries of query_dim={self.query_dim} numbers. Received: {self.content_dim} "
                "numbers without the style. Set query_dim to the encoder's latent_dim"
            )
        return self.query_dim

    def log_selection(self, content: Any, scale: float = LABEL_SCALE) -> Any:
        return ops.log_softmax(scale * self.similarities(self._queries(content)))

    def same_source(self) -> Any:
        return ops.cast(ops.equal(self.sources[:, None], self.sources[None]), "float32")

    def shares(self, content: Any) -> Any:
        """Returns the share of every exemplar in the votes, float32 (batch, n_exemplars); each row adds up to 1."""
        return self._vote(content)[0]

    def label_logits(self, x: Any, n_labels: int) -> Any:
        """Returns the logits of the labels for the argument of a call, float32 (batch, n_labels).

        Their softmax is the share of each label's exemplars in the votes.

        Args:
            x: as for a call; the style doesn't count.
            n_labels: number of labels, all of `labels` being below it.
        """
        shares, evidence = self._vote(x[:, : self.content_dim])
        return evidence + ops.log(ops.matmul(shares, self._members(n_labels)) + _NOTHING)

    def call(self, x: Any) -> Any:
        style = ops.cast(x[:, self.content_dim :], "float32") if self.style_units else None
        shares, evidence = self._vote(x[:, : self.content_dim])
        same, before = self.same_source(), ops.cast(ops.less(self.sources[:, None], self.sources[None]), "float32")
        within = self._select_within(shares, same, style)
        of_source = self._select_sources(_add_up(shares, same), evidence, same, before)
        # Of each source, the weights within add up to 1.
        of_source = of_source / ops.sum(within * of_source, axis=1, keepdims=True)
        lower = _add_up(within * of_source, before)
        return self._compose_areas(within, lower, of_source, self._levels(style), x.dtype)

    def _queries(self, content: Any) -> Any:
        return ops.reshape(content, (-1, self.content_dim // self.query_dim, self.query_dim))

    def _vote(self, content: Any) -> tuple[Any, Any]:
        """Returns the shares (batch, n_exemplars) and how much speaks for any exemplar at all (batch, 1), float32."""
        scores = LABEL_SCALE * self.similarities(self._queries(content))
        evidence = ops.logsumexp(scores, axis=2, keepdims=True)
        return ops.mean(ops.exp(scores - evidence), axis=1), ops.mean(evidence, axis=1)

    def _select_sources(self, of_source: Any, evidence: Any, same: Any, before: Any) -> Any:
        """Returns what each source receives, up to a factor, (batch, n_exemplars), from its share in the votes.

        Args:
            of_source: share of an exemplar's source, (batch, n_exemplars).
            evidence: how much speaks for any exemplar, (batch, 1).
            same: see `same_source`.
            before: 1 where the source of one exemplar is numbered before that of another, (n_exemplars, n_exemplars).
        """
        unfamiliar = self._unfamiliarity_of(evidence)
        exponent = 1 + (self.largest_exponent - 1) * unfamiliar
        logarithms = ops.log(of_source + _NOTHING) - unfamiliar * self.hubness
        relative = ops.exp(exponent * (logarithms - ops.max(logarithms, axis=1, keepdims=True)))
        # The largest is 1, but for rounding; of about equal ones, either is. Keras' `argmax` has no TFLite operator.
        largest = ops.cast(ops.greater(relative, 1 - _ROUNDING), "float32")
        largest = ops.minimum(_add_up(largest * ops.relu(1 - _add_up(largest, before)), same), 1.0)
        second = ops.max(relative * (1 - largest), axis=1, keepdims=True)
        of_second = ops.minimum((relative + _NOTHING) / ops.maximum(second, _SMALL), 1.0)
        return ops.relu(relative * of_second**self.minor_exponent - self.least_share)

    def assign_hubness(self, contents: np.ndarray) -> None:
        """Sets the hubness of every recording: its mean share in unfamiliar audio, relative to an even share.

        Args:
            contents: inputs of the layer without the style, float32 (n, content_dim).
        """
        same = self.same_source()
        mean = ops.mean(_add_up(self.shares(contents), same), axis=0)
        n_sources = len(np.unique(ops.convert_to_numpy(self.sources)))
        self.hubness.assign(ops.log(n_sources * mean + _NOTHING))

    def _evidence(self, content: Any) -> Any:
        return self._vote(content)[1]

    def _select_within(self, shares: Any, same: Any, style: Any) -> Any:
        """Returns the weights of exemplars among those of their source, float32 (batch, n_exemplars)."""
        # Relative to an even distribution, so that the largest exponent of a source can't be far below 0.
        even = _add_up(shares, same / ops.sum(same, axis=0, keepdims=True))
        relative = ops.log((shares + _NOTHING) / (even + _NOTHING)) / LABEL_SCALE
        preferences = self.preferences[None]
        if style is not None:
            preferences = preferences + ops.matmul(style, self.preferences_of_style)
        logits = self.sharpness * (relative + self.spread * preferences)
        selected = ops.exp(ops.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT))
        return selected / _add_up(selected, same)

    def _levels(self, style: Any) -> Any:
        """Returns the level of every position, evenly distributed in 0 to 1, float32 (1 or batch, grid, grid, 1)."""
        side, grid = self.field_size, self.grid_size
        field = self.field[None]
        if style is not None:
            field = field + ops.matmul(style, self.field_of_style)
        field = ops.image.resize(ops.reshape(field, (-1, side, side, 1)), (grid, grid), data_format="channels_last")
        coarse = min(grid, _COARSE)
        among = ops.image.resize(field, (coarse, coarse), data_format="channels_last")
        among = ops.reshape(among, (-1, 1, 1, coarse**2))
        width = _LEVEL_WIDTH * ops.std(among, axis=-1, keepdims=True) + _NOTHING
        return ops.mean(ops.sigmoid((field - among) / width), axis=-1, keepdims=True)

    def _compose_areas(self, within: Any, lower: Any, of_source: Any, levels: Any, dtype: Any) -> Any:
        """Adds up the codes.

        Args:
            within: weights of exemplars among those of their source, (batch, n_exemplars).
            lower: sum of the shares of the sources before an exemplar's, (batch, n_exemplars).
            of_source: share of an exemplar's source, (batch, n_exemplars).
            levels: (1 or batch, grid, grid, 1).
            dtype: of the result.
        """
        within, lower, of_source = (values[:, None, None] for values in (within, lower, of_source))

        def compose(softness: float, codes: Any) -> tuple[Any, Any]:
            from_lower = ops.sigmoid((lower - levels) / softness)
            area = ops.sigmoid((lower + of_source - levels) / softness) - from_lower
            total = ops.sum(within * area, axis=-1, keepdims=True)
            weights = within * area / total
            norm = ops.sqrt(ops.sum(weights * area / total, axis=-1, keepdims=True))
            return self._compose(ops.cast(weights, dtype), codes), ops.cast(norm, dtype)

        codes, coarse = ops.cast(self.codes, "float32"), self._coarse_brightness()
        base, _ = compose(self.softness, coarse)
        if self.coarse_size == self.components == 1:
            return base
        fine = codes[:, :, :1] - coarse
        rest, norm = compose(self.detail_softness, ops.concatenate([fine, codes[:, :, 1:]], axis=-1))
        rest = rest / norm
        if self.components == 1:
            return base + rest
        return ops.concatenate([base + rest[..., :1], rest[..., 1:]], axis=-1)

    def _coarse_brightness(self) -> Any:
        """Returns the part of the brightness that has wide transitions, float32 (positions, n_exemplars, 1)."""
        side = self.grid_size
        maps = ops.reshape(ops.transpose(ops.cast(self.codes[:, :, 0], "float32")), (-1, side, side))
        averages = _averages(side, self.coarse_size)
        coarse = ops.matmul(ops.matmul(averages, maps), averages.T)
        return ops.transpose(ops.reshape(coarse, (-1, side**2)))[:, :, None]

    def adapt(self, codes: np.ndarray, labels: np.ndarray | None = None, sources: np.ndarray | None = None) -> None:
        super().adapt(codes, labels)
        if sources is None:
            sources = np.arange(self.n_exemplars)
        self.sources.assign(checked_numbers(sources, self.n_exemplars, "sources").astype(np.int32))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Restores a layer; all brightness of those of earlier versions, without `coarse_size`, is coarse."""
        return super().from_config({"coarse_size": 1} | config)

    def get_config(self) -> dict[str, Any]:
        names = (
            "query_dim",
            "sharpness",
            "spread",
            "least_share",
            "minor_exponent",
            "softness",
            "detail_softness",
            "coarse_size",
            "largest_exponent",
            "field_size",
            "seed",
        )
        return super().get_config() | {name: getattr(self, name) for name in names}


def _averages(side: int, size: int) -> np.ndarray:
    """Returns the matrix (side, side) that gives averages over `size` neighbours, interpolated between them."""
    cells = np.arange(side) // size
    n = cells[-1] + 1
    average = cells == np.arange(n)[:, None]
    positions = np.clip((np.arange(side) + 0.5) / size - 0.5, 0, n - 1)
    interpolation = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(n)))
    return (interpolation @ (average / average.sum(axis=1, keepdims=True))).astype(np.float32)


def _add_up(values: Any, matrix: Any) -> Any:
    """Returns the product of values (batch, n) and a constant matrix (n, n)."""
    # Not `ops.matmul`, for which an int8 file rounds both: of shares that span many magnitudes, most would be 0.
    return ops.sum(values[:, :, None] * matrix[None], axis=1)


def _own_source(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return ops.cast(ops.arange(shape[0]), dtype or "int32")
