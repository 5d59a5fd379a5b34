"""A model whose images are made more similar to targets by gradient steps, and the distances before and after."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.serving.model_inputs import BATCH, clip_inputs
from keras_a2i.serving.predictor import Predictor

if TYPE_CHECKING:
    import keras

    from keras_a2i.models.guided_latents import GuidedLatents

FindTargets = Callable[[np.ndarray], np.ndarray]
"""Inputs (n, n_inputs) to targets (n, d)."""
Report = Callable[[np.ndarray, np.ndarray], None]
"""It receives the distances (n,) of a batch before and after."""


@dataclasses.dataclass(frozen=True)
class GuidedImages:
    """Images after guidance.

    Attributes:
        images: float32 (n, size, size, channels) in [-1, 1].
        before, after: distances (n,) of the images from their targets, before and after guidance: 1 - cosine of two
            embeddings, 0 to 2, or the mean squared error of two thumbnails in [-1, 1]. `after` is never larger.
    """

    images: np.ndarray
    before: np.ndarray
    after: np.ndarray


class GuidedPredictor(Predictor):
    """A model whose images are guided; `guide` returns it. It has no latent vectors.

    Args:
        predictor: of an `AudioToImage`.
        space: images to vectors, as from `models.guided_latents`.
        find_targets: inputs, by `metadata`, to vectors (n, d) of the same space.
        metadata: the metadata of the model, but with the input "waveform" if the guide needs the audio.
        steps, report: see `guide`.
        styles: (m, style_units), tried as starts in addition to the usual style.
        moves: arguments of `models.guided_latents.GuidedLatents`, which define what the steps change.
    """

    def __init__(
        self,
        predictor: Predictor,
        space: "keras.Model",
        find_targets: FindTargets,
        metadata: ModelMetadata,
        *,
        steps: int,
        styles: np.ndarray,
        report: Report | None = None,
        **moves: Any,
    ):
        from keras_a2i.models.guided_latents import frozen_copy, split_classifier

        assert predictor.model is not None
        own = predictor.metadata
        super().__init__(
            lambda inputs: self.guide_inputs(inputs).images,
            metadata,
            style_fn=(lambda inputs, styles: self.guide_inputs(inputs, styles).images) if own.style_units else None,
            classify_fn=(lambda inputs: predictor.label_logits(self._own_inputs(inputs)))
            if predictor.can_classify
            else None,
        )
        generator = frozen_copy(predictor.model.generator)
        self._front, self._back = split_classifier(generator) if moves["latent"] else (None, generator)
        self._predictor, self._space, self._find_targets = predictor, space, find_targets
        self._steps, self._styles, self._report, self._moves = steps, styles, report, moves
        self._movers: dict[int, GuidedLatents] = {}

    def guide_inputs(self, inputs: np.ndarray, styles: np.ndarray | None = None) -> GuidedImages:
        """Generates guided images for the model's inputs, 32 at a time.

        Args:
            inputs: float32 (n, n_inputs), by `metadata`.
            styles: (n, style_units), the start of the style of every image; None is the usual style, or the best of
                several.

        Returns:
            The images with their distances. With 0 steps they are those of the model without guidance.
        """
        parts = []
        for start in range(0, len(inputs), BATCH):
            rows = slice(start, start + BATCH)
            parts.append(self._guide_batch(inputs[rows], None if styles is None else styles[rows]))
            if self._report is not None:
                self._report(parts[-1].before, parts[-1].after)
        if not parts:
            return GuidedImages(np.zeros((0, *self.metadata.image.shape), np.float32), np.zeros(0), np.zeros(0))
        return GuidedImages(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def _own_inputs(self, inputs: np.ndarray) -> np.ndarray:
        own = self._predictor.metadata
        return inputs if self.metadata.input == own.input else clip_inputs(inputs, own)

    def _guide_batch(self, inputs: np.ndarray, styles: np.ndarray | None) -> GuidedImages:
        own, targets = self._own_inputs(inputs), self._find_targets(inputs)
        start = self._predictor.encode(own)
        if styles is not None:
            start[:, -self.metadata.style_units :] = styles
        if self._front is not None:
            start = call_network(self._front, start)
        tried = self._styles if self._steps and styles is None and len(self._styles) else None
        vectors, before, after = self._mover(len(start)).move(start, targets, self._steps, tried)
        if not self._steps:
            return GuidedImages(self._predictor.predict_inputs(own, styles), before, after)
        return GuidedImages(call_network(self._back, vectors), before, after)

    def _mover(self, n: int) -> "GuidedLatents":
        """Returns what moves so many vectors; its batch is a power of two, so that few are compiled."""
        from keras_a2i.models.guided_latents import GuidedLatents

        batch, units = 1 << (n - 1).bit_length(), self.metadata.style_units
        if batch not in self._movers:
            self._movers[batch] = GuidedLatents(self._back, self._space, batch, style_units=units, **self._moves)
        return self._movers[batch]


_FIELDS = tuple(field.name for field in dataclasses.fields(GuidedImages))


def call_network(model: "keras.Model", inputs: np.ndarray) -> np.ndarray:
    """Calls a network directly, because compiling a function for a few batches would take longer than it saves."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(model(inputs, training=False)), np.float32)
