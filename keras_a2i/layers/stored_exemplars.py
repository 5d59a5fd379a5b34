"""The base class of layers that compose maps of patch codes from those of stored images."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import UsageError

LABEL_SCALE = 10.0
"""Factor of the similarities before the softmax that labels are read from, and that the objective `matching` trains."""
CONSTANT: dict[str, Any] = {"trainable": False, "dtype": "float32", "autocast": False}
"""Arguments of a weight that is drawn or measured, not trained."""
_BENEFIT_OF_DOUBT = 3.0
"""Added to the logit of familiarity: audio like that of the training, but not in it, is a little less familiar."""


class StoredExemplars(keras.layers.Layer):
    """Base of layers that store the patch codes of images, the exemplars, and a learned key for each.

    A subclass implements `call` and `label_logits`.

    Args:
        n_exemplars: number of exemplars.
        grid_size: height and width of the map.
        components: numbers per position.
        style_units: numbers at the end of the input that are the style.
        **kwargs: other arguments of a Keras layer.

    Attributes:
        content_dim: length of the input without the style; known when the layer is built.
        learns_familiarity: whether the layer treats unfamiliar audio in another way, which the objective `familiarity`
            trains.
        subtract_hubness: whether `assign_hubness` accepts the values that `models.measure_hubness` measures with a
            trained encoder.
        balance_labels: whether `assign_label_balance` accepts the values that `models.measure_hubness` measures.
        field_frequency: above 0 if `assign_waves` accepts the values that `models.measure_variation` measures.
    """

    learns_familiarity: bool = False
    subtract_hubness: bool = False
    balance_labels: bool = False
    field_frequency: float = 0.0

    def __init__(self, n_exemplars: int, grid_size: int, components: int, *, style_units: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.n_exemplars, self.grid_size, self.components = n_exemplars, grid_size, components
        self.style_units = style_units

    def build(self, input_shape: tuple) -> None:
        self.content_dim = input_shape[-1] - self.style_units
        self.keys = self.add_weight(
            shape=(self._length_of_queries(), self.n_exemplars),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="keys",
        )
        self.codes = self.add_weight(
            shape=(self.grid_size**2, self.n_exemplars, self.components),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            name="codes",
        )
        self.labels = self.add_weight(
            shape=(self.n_exemplars,), initializer=_no_label, trainable=False, dtype="int32", name="labels"
        )

    def _length_of_queries(self) -> int:
        return self.content_dim

    def similarities(self, query: Any) -> Any:
        """Returns the cosine similarity, float32 (..., n_exemplars), of queries (..., n) and keys."""
        keys = unit_vectors(ops.cast(self.keys, "float32"), axis=0)
        return ops.matmul(unit_vectors(ops.cast(query, "float32"), axis=-1), keys)

    def log_selection(self, content: Any, scale: float = LABEL_SCALE) -> Any:
        """Returns the logarithms of the shares of all exemplars, float32 (batch, queries, n_exemplars).

        The objective `matching` trains these shares: a softmax of the similarities, for each query in the input.

        Args:
            content: the input without the style, (batch, content_dim).
            scale: factor of the similarities.
        """
        return ops.log_softmax(scale * self.similarities(content))[:, None]

    def same_source(self) -> Any:
        """Returns 1 where two exemplars are of one recording, else 0, float32 (n_exemplars, n_exemplars).

        None if every exemplar is from a different recording.
        """
        return None

    def familiarity_logit(self, content: Any) -> Any:
        """Returns the logit of the probability that the audio is like the training data, float32 (batch, 1).

        Args:
            content: the input without the style, (batch, content_dim).
        """
        return self._familiarity_logit_of(self._evidence(content))

    def _add_familiarity(self) -> None:
        """Adds the weights that the objective `familiarity` trains, for a layer with `learns_familiarity`."""
        self.familiar_scale = self._add_learned("familiar_scale", 4.0)
        self.familiar_offset = self._add_learned("familiar_offset", 1.5)

    def _add_learned(self, name: str, value: float) -> Any:
        initial = keras.initializers.Constant(value)
        return self.add_weight(shape=(), initializer=initial, dtype="float32", autocast=False, name=name)

    def _evidence(self, content: Any) -> Any:
        """Returns how much speaks for any exemplar at all, the mean of all queries, float32 (batch, 1)."""
        raise NotImplementedError

    def _familiarity_logit_of(self, evidence: Any) -> Any:
        # Of queries that are like no key, the evidence is the logarithm of the number of exemplars.
        return self.familiar_scale * (evidence - math.log(self.n_exemplars) - self.familiar_offset)

    def _unfamiliarity_of(self, evidence: Any) -> Any:
        """Returns how far audio of so much evidence is composed as unfamiliar, 0 to 1, float32 (batch, 1)."""
        return ops.sigmoid(-self._familiarity_logit_of(evidence) - _BENEFIT_OF_DOUBT)

    def has_labels(self, n_labels: int) -> bool:
        """Whether the label of every exemplar is known and below `n_labels`."""
        labels = ops.convert_to_numpy(self.labels)
        return bool(np.all((labels >= 0) & (labels < n_labels)))

    def label_logits(self, x: Any, n_labels: int) -> Any:
        """Returns the logits of the labels for the argument of a call, float32 (batch, n_labels).

        Args:
            x: as for a call; the style doesn't count.
            n_labels: number of labels, all of `labels` being below it.
        """
        raise NotImplementedError

    def _members(self, n_labels: int) -> Any:
        """Returns 1 where an exemplar has a label, else 0, float32 (n_exemplars, n_labels)."""
        return ops.one_hot(self.labels, n_labels, dtype="float32")

    def _compose(self, weights: Any, codes: Any = None) -> Any:
        """Adds up codes by weights.

        Args:
            weights: (batch, height, width, n_exemplars), height and width `grid_size` or 1.
            codes: (grid_size^2, n_exemplars, any number); None for those of the layer.
        """
        grid, codes = self.grid_size, ops.cast(self.codes if codes is None else codes, weights.dtype)
        n = codes.shape[-1]
        if weights.shape[1] == 1:
            # One selection for all positions is one product of matrices.
            flat = ops.reshape(ops.transpose(codes, (1, 0, 2)), (self.n_exemplars, -1))
            return ops.reshape(ops.matmul(weights[:, 0, 0], flat), (-1, grid, grid, n))
        by_position = ops.transpose(ops.reshape(weights, (-1, grid**2, self.n_exemplars)), (1, 0, 2))
        composed = ops.transpose(ops.matmul(by_position, codes), (1, 0, 2))
        return ops.reshape(composed, (-1, grid, grid, n))

    def adapt(self, codes: np.ndarray, labels: np.ndarray | None = None, sources: np.ndarray | None = None) -> None:
        """Stores the exemplars.

        Args:
            codes: float (n_exemplars, grid_size, grid_size, components).
            labels: numbers of their labels, int (n_exemplars,), for objectives that match labels; None for none.
            sources: numbers of the recordings that the images are moments of, int (n_exemplars,), for a layer that
                distinguishes recordings; None if every exemplar is from a different recording.

        Raises:
            UsageError: if they have another shape, or labels or sources aren't whole numbers.
        """
        codes, shape = np.asarray(codes), (self.n_exemplars, self.grid_size, self.grid_size, self.components)
        if codes.shape != shape:
            raise UsageError(f"codes must have the shape {shape}. Received: shape {codes.shape}")
        if labels is not None:
            labels = checked_numbers(labels, self.n_exemplars, "labels")
            self._check_labels(labels)
            self.labels.assign(labels.astype(np.int32))
        self.codes.assign(codes.reshape(self.n_exemplars, -1, self.components).transpose(1, 0, 2))

    def _check_labels(self, labels: np.ndarray) -> None:
        """Raises a UsageError unless labels, int (n_exemplars,), suit the layer."""

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape[0], self.grid_size, self.grid_size, self.components

    def get_config(self) -> dict[str, Any]:
        names = ("n_exemplars", "grid_size", "components", "style_units")
        return super().get_config() | {name: getattr(self, name) for name in names}


def checked_numbers(numbers: np.ndarray, n: int, name: str) -> np.ndarray:
    """Returns whole numbers as an array (n,).

    Raises:
        UsageError: if they are something else.
    """
    numbers = np.asarray(numbers)
    if numbers.shape != (n,) or numbers.dtype.kind not in "iu":
        raise UsageError(
            f"{name} must be whole numbers of the shape ({n},). Received: shape {numbers.shape}, {numbers.dtype}"
        )
    return numbers


def unit_vectors(x: Any, axis: int) -> Any:
    """Returns vectors divided by their length; zeros stay zeros."""
    # Not `ops.normalize`: its TFLite operator returns NaN for zeros, as some encoders return for silence.
    return x / ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=True) + 1e-12)


def _no_label(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return ops.full(shape, -1, dtype)
