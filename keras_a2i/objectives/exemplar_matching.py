"""Similarity of audio to the exemplars whose images are similar to its own image."""

from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.layers.stored_exemplars import LABEL_SCALE
from keras_a2i.models.untracked import Untracked
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_THUMBNAIL = 8


@register_objective
class ExemplarMatching(Objective):
    """Cross-entropy between the exemplars that a clip's audio selects and those whose images are similar to the clip's
    image.

    The objective trains the encoder and the keys of a generator with exemplars, and needs no generated image. The
    targets are a softmax over the exemplars of the negative squared distance between the real image and the stored
    image, on thumbnails: for a static scene, all its exemplars are targets; for a moving scene, those of about the same
    moment. For labelled clips (`by_label`), the targets are equal shares of all exemplars of the clip's label instead.

    Mixtures of two clips are also trained, with the mixture of their targets: as audio fades from one clip into
    another, the selection then moves from the exemplars of one clip to those of the other (see `ClipMixer`).

    If every frame has its own selection (`ExemplarMosaic`), the loss of the frames and the loss of the mean of their
    selections are summed.

    Args:
        weight: factor of the loss.
        scale: factor of the cosine similarities before their softmax, above 0.
        temperature: temperature of the targets, as a fraction of the mean squared distance of images and exemplars,
            above 0.
        by_label: whether the targets are the exemplars of the label.
        mixture: weight of the loss of mixtures relative to that of the clips, 0 or more.
        within: weight of the choice of an exemplar within a recording, 0 to 1, relative to the choice of the recording;
            for exemplars whose recordings are known (`ExemplarMosaic`).
        **kwargs: as `Objective`.

    Raises:
        UsageError: if an argument is out of range.

    Reference:
        Soft targets by similarity: Frosst et al., "Analyzing and improving representations with the soft nearest
        neighbor loss", arXiv:1902.01889; proxies: Movshovitz-Attias et al., "No fuss distance metric learning using
        proxies", arXiv:1703.07464; mixtures: Zhang et al., "mixup", arXiv:1710.09412.
    """

    id = "matching"

    def __init__(
        self,
        weight: float = 1.0,
        scale: float = LABEL_SCALE,
        temperature: float = 0.1,
        by_label: bool = False,
        mixture: float = 0.5,
        within: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(weight, **kwargs)
        if not (scale > 0 and temperature > 0 and mixture >= 0 and 0 <= within <= 1):
            raise UsageError(
                "scale and temperature must be above 0, mixture 0 or more, within from 0 to 1. "
                f"Received: scale={scale}, temperature={temperature}, mixture={mixture}, within={within}"
            )
        self.needs_labels = by_label  # type: ignore[misc]
        self.scale, self.temperature, self.by_label = scale, temperature, by_label
        self.mixture, self.within = mixture, within
        self._parts: Any = None

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        self._require_latent(model)
        # Imported here: whoever imports the generator first has its layers register the objectives meanwhile.
        from keras_a2i.models.exemplar_generator import find_exemplars

        self._parts = Untracked(find_exemplars(model))
        self._require(
            self._parts.value is not None, "a generator with exemplars, such as ExemplarGenerator or MosaicGenerator"
        )
        self._require(model.label_head is None, "a generator without label_sharpness")

    def loss(self, state: TrainState) -> Any:
        targets = self._by_label(state.labels) if self.by_label else self._by_image(state.images)
        return self._with_mixtures(state, self._crossentropy, targets)

    def _crossentropy(self, latent: Any, targets: Any) -> Any:
        stored, _ = self._parts.value
        content = ops.cast(latent[:, : stored.content_dim], "float32")
        log_selected, same = stored.log_selection(content, self.scale), stored.same_source()
        loss = _crossentropy_of_frames(targets, log_selected)
        if same is None or self.within == 1:
            return loss
        log_sources = ops.log(ops.matmul(ops.exp(log_selected), same) + keras.config.epsilon())
        return self.within * loss + (1 - self.within) * _crossentropy_of_frames(targets, log_sources)

    def _by_label(self, labels: Any) -> Any:
        """Returns equal shares of the exemplars of each label, float32 (batch, n_exemplars)."""
        self._require(labels is not None, "labels: the data set must yield (inputs, (images, labels))")
        stored, _ = self._parts.value
        equal = ops.cast(ops.equal(labels[:, None], stored.labels[None]), "float32")
        return equal / ops.maximum(ops.sum(equal, axis=1, keepdims=True), 1.0)

    def _by_image(self, images: Any) -> Any:
        """Returns the share of every exemplar for real images, float32 (batch, n_exemplars), without gradient."""
        stored, decoder = self._parts.value
        grid = stored.grid_size
        codes = ops.reshape(stored.codes, (grid, grid, stored.n_exemplars, stored.components))
        exemplars = _thumbnails(ops.transpose(ops.cast(codes, "float32"), (2, 0, 1, 3)) * decoder.deviation, grid)
        own = _thumbnails(decoder.encode(images) * decoder.deviation, grid)
        squares = ops.sum(ops.square(own), axis=1)[:, None] + ops.sum(ops.square(exemplars), axis=1)
        distances = ops.maximum(squares - 2 * ops.matmul(own, ops.transpose(exemplars)), 0.0)
        temperature = self.temperature * ops.mean(distances) + keras.config.epsilon()
        return ops.stop_gradient(ops.softmax(-distances / temperature))

    def get_config(self) -> dict[str, Any]:
        names = ("scale", "temperature", "by_label", "mixture", "within")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _crossentropy_of_frames(targets: Any, log_selected: Any) -> Any:
    """Returns the loss of every frame and, of several frames, that of their mean, added up.

    Args:
        targets: (batch, n).
        log_selected: logarithms of what each frame selects, (batch, frames, n).
    """
    loss = -ops.mean(ops.sum(targets[:, None] * log_selected, axis=-1))
    if log_selected.shape[1] == 1:
        return loss
    mean = ops.log(ops.mean(ops.exp(log_selected), axis=1) + keras.config.epsilon())
    return loss - ops.mean(ops.sum(targets * mean, axis=-1))


def _thumbnails(codes: Any, grid: int) -> Any:
    """Averages codes (n, grid, grid, components) over cells of a coarse grid and flattens them."""
    pool = max(1, grid // _THUMBNAIL)
    pooled = ops.average_pool(codes, pool, pool, data_format="channels_last") if pool > 1 else codes
    return ops.reshape(pooled, (ops.shape(pooled)[0], -1))
