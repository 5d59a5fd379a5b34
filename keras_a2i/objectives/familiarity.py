"""Whether audio is like the training data, trained with rendered audio that isn't."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.models.untracked import Untracked
from keras_a2i.objectives.objective import Objective, TrainState, register_objective

_BATCH, _N_VALIDATED = 16, 48


@register_objective
class Familiarity(Objective):
    """Cross-entropy of the familiarity: 1 for clips and their mixtures, 0 for rendered audio of other kinds.

    For familiar audio, a mosaic (`ExemplarMosaic`) shows the parts of the mixture in proportion to their shares; for
    unfamiliar audio, it shows the one image with the largest share. In `ExemplarAttention` with `balance_labels`,
    unfamiliar audio selects all labels equally often. This objective trains both layers to distinguish familiar from
    unfamiliar audio, with rendered tones, noise, clicks, sweeps, vowels and syllables at all levels.

    Args:
        weight: factor of the loss.
        seed: seed of the rendered audio and of its order.
        **kwargs: as `Objective`.

    Reference:
        Hendrycks, Mazeika and Dietterich, "Deep anomaly detection with outlier exposure", arXiv:1812.04606.
    """

    id = "familiarity"
    seed_offset = 4

    def __init__(self, weight: float = 1.0, seed: int = 0, **kwargs: Any):
        super().__init__(weight, **kwargs)
        self.seed = seed
        self._parts: Any = None
        self._seed_generator = keras.random.SeedGenerator(seed)

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        # Imported here: whoever imports the generator first has its layers register the objectives meanwhile.
        from keras_a2i.models.exemplar_generator import find_exemplars, rendered_clips

        self._require_latent(model)
        parts = find_exemplars(model)
        self._require(
            parts is not None and parts[0].learns_familiarity,
            "a MosaicGenerator, or an ExemplarGenerator with balance_labels for a model with two labels or more",
        )
        self._require(getattr(model, "input_kind", "") == "waveform", "a model of waveforms")
        self._parts, self._encoder = Untracked(parts), Untracked(model.encoder)
        rendered = list(rendered_clips(model.encoder.input_shape[-1], self.seed))
        self._rendered = Untracked(ops.convert_to_tensor(np.concatenate(rendered)))

    def loss(self, state: TrainState) -> Any:
        exemplars, _ = self._parts.value
        known = state.content if state.mixtures is None else ops.concatenate([state.content, state.mixtures.content])
        loss = ops.mean(ops.softplus(-exemplars.familiarity_logit(ops.cast(known, "float32"))))
        rendered = self._rendered.value
        rows = ops.arange(_N_VALIDATED)
        if state.training:
            rows = keras.random.randint((_BATCH,), 0, rendered.shape[0], seed=self._seed_generator)
        rendered = ops.take(rendered, rows, axis=0)
        # Normalised by the statistics of the training audio.
        content = self._encoder.value(rendered, training=False)[:, : exemplars.content_dim]
        return loss + ops.mean(ops.softplus(exemplars.familiarity_logit(ops.cast(content, "float32"))))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}
