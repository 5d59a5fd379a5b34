"""The model that is trained: encoder and generator, together with the weights of the objectives."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import UsageError
from keras_a2i.objectives.clip_mixer import ClipMixer, Mixtures
from keras_a2i.objectives.encoder_freezing import EncoderFreezing, exclude_frozen_encoder
from keras_a2i.objectives.image_autoencoder import ImageAutoencoder
from keras_a2i.objectives.objective import Objective, TrainState, as_objectives
from keras_a2i.objectives.replicas import n_replicas


@keras.saving.register_keras_serializable("keras_a2i")
class TrainingModel(keras.Model):
    """Trains a model from inputs to images on one or several objectives, by plain `compile(optimizer)` and `fit`.

    Fit it on (inputs, images), or (inputs, (images, labels)) for objectives that need labels; inputs of a model with a
    reference image are a tuple of audio and references. The loss is the weighted sum of the objectives' losses; if
    there are several, each is reported as "<name>_loss". Metrics, `evaluate` and `predict` use the images that the
    trained model generates. Validation is deterministic and doesn't change random states.

    Args:
        model: the `AudioToImage`, which is trained in place. For objectives that only compare images, it may be any
            functional model from inputs to images.
        objectives: one or more objectives of different names, or ids of objectives, such as "ssim". A
            `keras.losses.Loss`, or a function of real and generated images, has the weight 1.
        total_steps: number of steps of the whole training, from 1, for objectives that start or ramp up during it.
        freeze_encoder_after: fraction of the steps in which the encoder is trained, above 0 up to 1. Afterwards it is
            frozen and runs in inference mode, without noise and with its moving statistics, so that the generator is
            trained on the vectors that it will receive in use. `fit` compiles the step again at that moment, which is a
            multiple of `steps_per_execution`.
        autoencoder: an `ImageAutoencoder` around the model's generator, for objectives that need one.
        seed: seed of the mixtures of clips, for objectives that train on them.
        name: name of the model; None is that of `model`.

    Attributes:
        model: the model that is trained.
        step: number of training steps so far, an int32 weight.

    Raises:
        UsageError: if there is no objective or two have the same name, the model lacks what an objective needs, or an
            argument is out of range.

    Example:
        >>> from keras_a2i import encoder_generator
        >>> from keras_a2i.objectives import MeanSquaredError, Spectrum
        >>> model = TrainingModel(encoder_generator("features", image_size=32), [MeanSquaredError(), Spectrum(0.5)])
        >>> model.compile("adam")
    """

    trains_model = True
    """A file of this class, such as `keras.callbacks.ModelCheckpoint` writes, is opened as the model within."""

    def __init__(
        self,
        model: keras.Model,
        objectives: Objective | Sequence[Objective | str | keras.losses.Loss | Callable[[Any, Any], Any]],
        *,
        total_steps: int = 1,
        freeze_encoder_after: float = 1.0,
        autoencoder: ImageAutoencoder | None = None,
        seed: int = 0,
        name: str | None = None,
    ):
        # The parts cast their inputs themselves; here, half precision would take the quiet parts from a waveform.
        super().__init__(name=name or model.name, autocast=False)
        if not 0 < freeze_encoder_after <= 1:
            raise UsageError(
                f"freeze_encoder_after must lie in (0, 1]. Received: freeze_encoder_after={freeze_encoder_after!r}"
            )
        self.model: Any = model
        self.encoder: Any = getattr(self.model, "encoder", None)
        self.generator: Any = getattr(self.model, "generator", None)
        if freeze_encoder_after < 1 and self.encoder is None:
            raise UsageError("freeze_encoder_after must be 1 for a model without an encoder, such as AudioToImage has")
        self.objectives = as_objectives(objectives)
        names = [objective.name for objective in self.objectives]
        if not names or len(set(names)) < len(names):
            raise UsageError(
                f"objectives must be one or more, of different names. Received: {names}. Name them by name=..."
            )
        self.total_steps, self.freeze_encoder_after = max(1, int(total_steps)), freeze_encoder_after
        # The objectives hold its encoder and head as weights. Its augmentation, which XLA can't compile, stays apart.
        self._autoencoder_config = _config_without(autoencoder, self.generator) if autoencoder is not None else None
        for objective in self.objectives:
            objective.attach(self.model, autoencoder)
        self._style = next((o for o in self.objectives if o.needs_style), None)
        self.seed = seed
        mixes = self.encoder is not None and any(objective.mixture for objective in self.objectives)
        of_waveforms = getattr(model, "input_kind", "") == "waveform"
        self._mixer = ClipMixer(self.encoder, seed, of_waveforms=of_waveforms) if mixes else None
        self._trackers = [keras.metrics.Mean(name=f"{name.removesuffix('_loss')}_loss") for name in names]
        self._has_metrics = self.encoder_is_frozen = False
        self.step = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="step", aggregation="only_first_replica"
        )
        self.built = True

    @property
    def loss_names(self) -> list[str]:
        """Names under which the losses of the objectives are reported."""
        return [tracker.name for tracker in self._trackers]

    @property
    def trained_steps(self) -> int:
        """Number of steps that the model has been trained for, read from the weight."""
        return int(ops.convert_to_numpy(self.step))

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """Compiles as a Keras model does, except for `loss`: the objectives are the loss.

        Raises:
            UsageError: if `loss` is given.
        """
        if loss is not None:
            raise UsageError("A TrainingModel has no loss but its objectives. Pass the loss in `objectives`")
        super().compile(optimizer=optimizer, **kwargs)
        self._has_metrics = bool(kwargs.get("metrics") or kwargs.get("weighted_metrics"))
        exclude_frozen_encoder(self.optimizer, self)
        # TensorFlow traces a step twice that creates variables.
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains as a Keras model does, and freezes the encoder when its part of the training is over."""
        if self.freeze_encoder_after < 1:
            if isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks.append(EncoderFreezing())
            else:
                callbacks = [*(callbacks or []), EncoderFreezing()]
        history = super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)
        if keras.backend.backend() == "jax":
            # Keras lets weights and their moving averages share memory, which the next step would donate twice.
            for variable in self.trainable_variables:
                variable.assign(ops.copy(variable))
        return history

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains as a Keras model does, and freezes the encoder when its part of the training is over."""
        self.enter_step(self.trained_steps)
        return super().train_on_batch(*args, **kwargs)

    def enter_step(self, step: int) -> None:
        """Freezes or unfreezes the encoder for the step number `step`; `fit` calls this method."""
        share = np.float32(step) / np.float32(self.total_steps)
        frozen = self.freeze_encoder_after < 1 and bool(share >= np.float32(self.freeze_encoder_after))
        if frozen != self.encoder_is_frozen:
            self.encoder_is_frozen = frozen
            # What was compiled holds the other half of the training.
            self.make_train_function(force=True)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns images, or in training a dictionary of what `compute_loss` needs."""
        if not training:
            return self.model(inputs, training=False)
        if self.encoder is None:
            return {"images": self.model(inputs, training=True)}
        audio, references = self._split(inputs)
        if self.encoder_is_frozen:
            latent = ops.stop_gradient(self.encoder(audio, training=False))
        else:
            latent = self.encoder(audio, training=True)
        if self._style is None:
            generator_inputs = latent if references is None else [latent, references]
            return {"latent": latent, "images": self.generator(generator_inputs, training=True)}
        # The images of the training need the style of the real ones; the metrics see those of the mean style.
        images = {"images": self.generator(latent, training=False)} if self._has_metrics else {}
        return {"latent": latent} | images

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        if sample_weight is not None:
            raise UsageError("sample_weight and class_weight must be None: objectives don't weight the pairs")
        images, labels = y if isinstance(y, (tuple, list)) else (y, None)
        images = ops.convert_to_tensor(images)
        labels = None if labels is None else ops.convert_to_tensor(labels)
        state = (self._training_state if training else self._evaluation_state)(x, images, labels, y_pred)
        total = 0.0
        for objective, tracker in zip(self.objectives, self._trackers, strict=True):
            loss = ops.cast(objective.loss(state), "float32")
            if len(self.objectives) > 1:
                tracker.update_state(loss)
            total += objective.weight * objective.ramp(state.progress) * loss
        if training:
            self.step.assign_add(1)
        return total if n_replicas() == 1 else total / n_replicas()

    def _training_state(self, x: Any, images: Any, labels: Any, y_pred: dict[str, Any]) -> TrainState:
        audio, references = self._split(x)
        mixtures = self._mixtures(audio)
        if self._style is None:
            generated, content = y_pred["images"], self._content(y_pred.get("latent"))
            return TrainState(
                *(audio, images, labels, content, generated, generated, None, self._progress()),
                encoder_is_frozen=self.encoder_is_frozen,
                references=references,
                mixtures=mixtures,
            )
        content = self._content(y_pred["latent"])
        style = self._style.infer_style(images)
        inferred = self._style.sample_style(*style)
        sampled = self._style.sample_style(ops.zeros_like(inferred), ops.zeros_like(inferred))
        # One call for both: batch normalisation sees one set of statistics.
        both = ops.concatenate([_with_style(content, inferred), _with_style(content, sampled)], axis=0)
        from_inferred, from_sampled = ops.split(self.generator(both, training=True), 2, axis=0)
        return TrainState(
            *(x, images, labels, content, from_inferred, from_sampled, style, self._progress()),
            sampled_style=sampled,
            mixtures=mixtures,
        )

    def _mixtures(self, audio: Any) -> Mixtures | None:
        if self._mixer is None or self.encoder_is_frozen:
            return None
        latent, shares = self._mixer(audio)
        return Mixtures(self._content(latent), shares)

    def _evaluation_state(self, x: Any, images: Any, labels: Any, y_pred: Any) -> TrainState:
        style, mean_style, generated = None, None, y_pred
        audio, references = self._split(x)
        content = self._content(self.encoder(audio, training=False) if self.encoder is not None else None)
        if self._style is not None:
            style = self._style.infer_style(images)
            mean_style = ops.zeros_like(style[0])
            generated = self.generator(_with_style(content, style[0]), training=False)
        return TrainState(
            *(audio, images, labels, content, generated, y_pred, style, self._progress()),
            training=False,
            sampled_style=mean_style,
            references=references,
        )

    def _split(self, inputs: Any) -> tuple[Any, Any]:
        """Returns the inputs of the encoder and the reference images, None for a model without."""
        if self.encoder is not None and getattr(self.model, "has_reference", False):
            audio, references = inputs
            return audio, references
        return inputs, None

    def _content(self, latent: Any) -> Any:
        """Returns a latent vector without the style at its end."""
        style_units = getattr(self.model, "style_units", 0)
        return latent[:, :-style_units] if style_units and latent is not None else latent

    def _progress(self) -> Any:
        return ops.cast(self.step, "float32") / self.total_steps

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        images = y[0] if isinstance(y, (tuple, list)) else y
        generated = y_pred.get("images") if isinstance(y_pred, dict) else y_pred
        return super().compute_metrics(x, images, generated, sample_weight)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss, the loss of each objective if there are several, and the compiled metrics."""
        return super().metrics if len(self.objectives) > 1 else [m for m in super().metrics if m not in self._trackers]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "objectives": [keras.saving.serialize_keras_object(objective) for objective in self.objectives],
            "total_steps": self.total_steps,
            "freeze_encoder_after": self.freeze_encoder_after,
            "seed": self.seed,
            "autoencoder": self._autoencoder_config,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        with keras.saving.CustomObjectScope(custom_objects or {}):
            model = keras.saving.deserialize_keras_object(config["model"])
            objectives = [keras.saving.deserialize_keras_object(objective) for objective in config["objectives"]]
            autoencoder = config["autoencoder"]
            if autoencoder is not None and autoencoder["generator"] is None:
                autoencoder = ImageAutoencoder(**(autoencoder | {"generator": model.generator}))
            elif autoencoder is not None:
                autoencoder = ImageAutoencoder.from_config(autoencoder)
        names = ("name", "total_steps", "freeze_encoder_after", "seed")
        options = {name: config[name] for name in names if name in config}
        return cls(model, objectives, autoencoder=autoencoder, **options)


def _config_without(autoencoder: ImageAutoencoder, generator: keras.Model | None) -> dict[str, Any]:
    """Returns the autoencoder's configuration, with None in place of the generator that it shares with the model."""
    return autoencoder.get_config() | ({"generator": None} if autoencoder.generator is generator else {})


def _with_style(content: Any, style: Any) -> Any:
    return ops.concatenate([content, ops.cast(style, content.dtype)], axis=-1)
