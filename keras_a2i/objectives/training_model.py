"""The model that is trained: encoder and generator, with what each objective has to learn beside them."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.models.latent_split import split_at_latent
from keras_a2i.objectives.objective import Objective, Step
from keras_a2i.objectives.variational import Variational


class TrainingModel(keras.Model):
    """Trains a model of sound and pictures towards several objectives, by plain `compile(optimizer)` and `fit`.

    Fit it on (inputs, pictures), or (inputs, (pictures, labels)) for objectives that look at labels. Its loss is the
    weighted sum of the objectives' losses; each is reported under its name. Called otherwise than in training, it is
    the model of pictures itself.

    Args:
        pictures: a functional model with a layer named "latent", as `encoder_generator` makes it; it is trained in
            place.
        objectives: what to aim at, one or more, of different names.
        total_steps: of the whole training, for what comes in or ends by and by.
        freeze_encoder_after: share of the steps in which the encoder learns, above 0 up to 1. After it the encoder runs as it
            will in use, without noise and with the statistics it has gathered, and the generator learns from the
            vectors that it will be given.

    Raises:
        UsageError: if there is no objective, or two of one name.

    Example:
        >>> from keras_a2i import encoder_generator
        >>> from keras_a2i.objectives import MeanSquaredError, Spectrum
        >>> model = TrainingModel(encoder_generator("tiny", image_size=32), [MeanSquaredError(), Spectrum(0.5)])
        >>> model.compile("adam")
    """

    def __init__(
        self,
        pictures: keras.Model,
        objectives: Sequence[Objective],
        total_steps: int = 1,
        freeze_encoder_after: float = 1.0,
    ):
        super().__init__(name=pictures.name)
        names = [objective.name for objective in objectives]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"A training needs objectives of different names. Received: {names}")
        self.pictures = pictures
        self.encoder, self.generator = split_at_latent(pictures)
        self.objectives = list(objectives)
        self._styled = next((o for o in objectives if isinstance(o, Variational)), None)
        self._total_steps = max(1, total_steps)
        self._encoder_share, self._encoder_learns = freeze_encoder_after, True
        self._trackers = [keras.metrics.Mean(name=name) for name in names]
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return self.pictures(inputs, training=False)
        if self._encoder_learns:
            return self.encoder(inputs, training=True)
        return ops.stop_gradient(self.encoder(inputs, training=False))

    def train_step(self, *args: Any) -> Any:
        """One step as Keras makes it, with an encoder that learns or, after its share of the steps, stands still."""
        if self._encoder_share >= 1:
            return super().train_step(*args)
        # Whole steps are chosen between, each with gradients of its own: XLA can't take them through a choice.
        learns = self._progress() < self._encoder_share
        return ops.cond(learns, lambda: self._step_with(True, *args), lambda: self._step_with(False, *args))

    def _step_with(self, encoder_learns: bool, *args: Any) -> Any:
        self._encoder_learns = encoder_learns
        try:
            with warnings.catch_warnings():
                # An encoder that stands still has none.
                warnings.filterwarnings("ignore", "Gradients do not exist for variables")
                return super().train_step(*args)
        finally:
            self._encoder_learns = True

    def _progress(self) -> Any:
        """Share of the training that is done, a scalar from 0 to 1."""
        return ops.cast(self.optimizer.iterations, "float32") / self._total_steps

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        step = self._step(y, latent=y_pred)
        total = 0.0
        for objective, tracker in zip(self.objectives, self._trackers, strict=True):
            loss = objective.loss(step)
            if len(self.objectives) > 1:
                tracker.update_state(loss)
            total += objective.weight * objective.ramp(step.progress) * loss
        return total

    def _step(self, y: Any, latent: Any) -> Step:
        images, labels = y if isinstance(y, (tuple, list)) else (y, None)
        content, style = latent, None
        if self._styled is None:
            generated = sampled = self.generator(latent, training=True)
        else:
            n = self._styled.style_units
            content = latent[:, :-n]
            style = self._styled.read_style(images)
            read = self._styled.draw_style(*style)
            drawn = self._styled.draw_style(ops.zeros_like(read), ops.zeros_like(read))
            # One call for both: batch normalisation sees one set of statistics.
            vectors = [ops.concatenate([content, ops.cast(s, content.dtype)], axis=-1) for s in (read, drawn)]
            both = self.generator(ops.concatenate(vectors, axis=0), training=True)
            generated, sampled = ops.split(both, 2, axis=0)
        return Step(images, labels, content, generated, sampled, style, self._progress())

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss, and each objective's where there are several."""
        return super().metrics if len(self.objectives) > 1 else [m for m in super().metrics if m not in self._trackers]
