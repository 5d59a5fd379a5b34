"""The base classes of objectives, their registry, and the state of a training step that they receive."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import keras
from keras import ops

from keras_a2i.errors import UsageError, did_you_mean
from keras_a2i.metrics.image_batch import as_image_batches
from keras_a2i.objectives.clip_mixer import Mixtures
from keras_a2i.objectives.replicas import undo_replica_scaling


@dataclasses.dataclass
class TrainState:
    """One step of a training or of an evaluation; every tensor holds a batch.

    Attributes:
        inputs: features (batch, n_features) or waveforms (batch, n_samples), as the model receives them.
        images: real images, float32 (batch, size, size, channels) in [-1, 1].
        labels: int32 (batch,), or None if the data set yields no labels.
        content: output of the encoder without the style units, (batch, n), or None if the model has no encoder.
        generated: images generated from the inputs, in the form of `images`. With the objective `Variational`, their
            style is inferred from the real image; otherwise it is zero.
        sampled: images generated from the inputs with a random style (in evaluation: the mean style), or `generated`
            without the objective `Variational`.
        style: mean and log variance of the style inferred from the real images, (batch, style_units) each, or None.
        progress: completed fraction of the training, a scalar from 0 to 1.
        training: False in `evaluate` and validation. An objective must then be deterministic, because drawing random
            numbers would change the following training steps.
        encoder_is_frozen: whether the encoder runs in inference mode, see `TrainingModel`.
        sampled_style: the style of `sampled`, (batch, style_units), or None without the objective `Variational`.
        references: reference images, in the form of `images`, or None if the model has none.
        mixtures: mixtures of the clips, or None in evaluation, while the encoder is frozen, and if no objective trains
            on them.
    """

    inputs: Any
    images: Any
    labels: Any
    content: Any
    generated: Any
    sampled: Any
    style: Any
    progress: Any
    training: bool = True
    encoder_is_frozen: bool = False
    sampled_style: Any = None
    references: Any = None
    mixtures: Mixtures | None = None


class Objective(keras.layers.Layer):
    """A term of the training loss, together with its own trainable weights, if it has any.

    A subclass implements `loss`. If the objective has weights, the subclass creates them in `attach`, whose arguments
    describe the model.

    Args:
        weight: factor of the loss, above 0.
        name: name that the loss is reported under, as "<name>_loss"; None is the class's `id`.
        **kwargs: other arguments of a Keras layer.

    Attributes:
        id: short name of the class, as in recipes, settings and reports.
        needs_labels: whether the data set must yield labels.
        needs_autoencoder: whether `attach` needs an `ImageAutoencoder`.
        needs_neighbours: whether consecutive pairs of a batch must be neighbours in time.
        start: share of the training after which the objective is added to the loss; neighbours are needed from then on.
        needs_reference: whether the model must have a reference image.
        needs_style: whether the model must have style units, whose distribution this objective trains.
        compares_images: whether the loss depends on generated images, so that it trains the generator.
        aligns_images: whether the encoder's vector of a clip and the autoencoder's of an image share one space.
        seed_offset: added to the seed of a training, so that two objectives don't draw the same random numbers.
        mixture: weight of the loss of mixtures of two clips; if it is above 0, the state of a training step contains
            mixtures.

    Raises:
        UsageError: if `weight` isn't a number above 0.

    Example:
        >>> class MeanAbsoluteError(Objective):
        ...     id = "mae"
        ...
        ...     def loss(self, state):
        ...         return ops.mean(ops.abs(state.images - state.generated))
    """

    id: ClassVar[str] = ""
    needs_labels: ClassVar[bool] = False
    needs_autoencoder: ClassVar[bool] = False
    needs_neighbours: bool = False
    start: float = 0.0
    needs_reference: ClassVar[bool] = False
    needs_style: ClassVar[bool] = False
    compares_images: ClassVar[bool] = False
    aligns_images: ClassVar[bool] = False
    seed_offset: ClassVar[int] = 0
    mixture: float = 0.0

    def __init__(self, weight: float = 1.0, *, name: str | None = None, **kwargs: Any):
        # Losses are float32 under every policy, and images lose grey levels in half precision.
        super().__init__(name=name or self.id or None, **({"dtype": "float32", "autocast": False} | kwargs))
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
            raise UsageError(f"weight must be a number above 0. Received: weight={weight!r}")
        self.weight = weight
        # `attach` builds what is learned.
        self.built = True

    def attach(self, model: keras.Model, autoencoder: Any = None) -> None:
        """Creates the weights of the objective; `TrainingModel` calls this method once for each of its objectives.

        Args:
            model: the `AudioToImage` that is trained, or another model from inputs to images if the objective needs
                images only.
            autoencoder: an `ImageAutoencoder` for objectives with `needs_autoencoder`.

        Raises:
            UsageError: if the model lacks what the objective needs, or the objective belongs to another training.
        """

    def loss(self, state: TrainState) -> Any:
        """Returns the loss of one step before its weight, a float32 scalar."""
        raise NotImplementedError

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError(
            f"The objective {self.name!r} can't be a loss of model.compile: it needs more than real and generated "
            "images. Train the model with keras_a2i.fit, or in a keras_a2i.objectives.TrainingModel"
        )

    def ramp(self, progress: Any) -> Any:
        """Returns the factor of the weight, 0 to 1, at the fraction `progress` of the training."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"weight": self.weight}

    def _with_mixtures(self, state: TrainState, loss_fn: Callable[[Any, Any], Any], targets: Any) -> Any:
        """Returns the mean of the loss of the clips and, with the weight `mixture`, that of their mixtures.

        Args:
            state: the state of the step.
            loss_fn: from content (batch, n) and targets to the loss.
            targets: of the clips, (batch, n).
        """
        loss = loss_fn(state.content, targets)
        if not self.mixture or state.mixtures is None:
            return loss
        of_mixtures = loss_fn(state.mixtures.content, state.mixtures.mix(targets))
        return (loss + self.mixture * of_mixtures) / (1 + self.mixture)

    def _require(self, condition: Any, rule: str) -> None:
        if not condition:
            raise UsageError(f"The objective {self.name!r} needs {rule}")

    def _require_latent(self, model: keras.Model) -> None:
        self._require(
            getattr(model, "encoder", None) is not None,
            f"a model with an encoder and a generator, such as AudioToImage. Received: {type(model).__name__}",
        )

    def _require_reference(self, model: keras.Model) -> None:
        self._require(
            getattr(model, "has_reference", False),
            f"a model with a reference image, such as the recipe talking trains. Received: {model.name}",
        )


class ImageObjective(Objective):
    """An objective that compares the generated image with the real one and depends on nothing else.

    Such an objective is also a Keras loss: `model.compile(loss=objective)`. Called with real and generated images
    (batch, size, size, channels) in [-1, 1], it returns the weighted loss of every pair, float32 (batch,). A subclass
    implements `compare`.
    """

    compares_images = True

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of every pair before the weight, float32 (batch,)."""
        raise NotImplementedError

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.weight * self.compare(*as_image_batches(y_true, y_pred))

    def loss(self, state: TrainState) -> Any:
        return ops.mean(self.compare(*as_image_batches(state.images, state.generated)))


OBJECTIVES: dict[str, type[Objective]] = {}
"""The library's objectives by `id`, in the order in which recipes list them."""

_O = TypeVar("_O", bound=type[Objective])


def register_objective(objective: _O) -> _O:
    """Adds a class to `OBJECTIVES` and to Keras' serialisable objects."""
    OBJECTIVES[objective.id] = objective
    return keras.saving.register_keras_serializable("keras_a2i")(objective)


@keras.saving.register_keras_serializable("keras_a2i")
class LossObjective(Objective):
    """A loss of Keras, or a function of real and generated images, as an objective.

    Args:
        loss_fn: a `keras.losses.Loss`, or a function of (y_true, y_pred) that returns a tensor, whose mean is the loss.
        weight: factor of the loss.
        name: name that the loss is reported under; None is that of the loss.
        **kwargs: other arguments of a Keras layer.

    Example:
        >>> LossObjective(keras.losses.Huber(), weight=2.0).name
        'huber_loss'
    """

    def __init__(
        self, loss_fn: Callable[[Any, Any], Any], weight: float = 1.0, *, name: str | None = None, **kwargs: Any
    ):
        name = name or getattr(loss_fn, "name", None) or getattr(loss_fn, "__name__", None)
        super().__init__(weight, name=name, **kwargs)
        self.loss_fn = loss_fn

    def loss(self, state: TrainState) -> Any:
        loss = ops.mean(ops.cast(self.loss_fn(state.images, state.generated), "float32"))
        is_reduced = isinstance(self.loss_fn, keras.losses.Loss) and self.loss_fn.reduction not in (None, "none", "sum")
        return undo_replica_scaling(loss) if is_reduced else loss

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"loss_fn": keras.saving.serialize_keras_object(self.loss_fn)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LossObjective":
        return cls(keras.saving.deserialize_keras_object(config["loss_fn"]), **_without(config, "loss_fn"))


def as_objectives(values: Any) -> list[Objective]:
    """Returns objectives, as `list_objectives` does, with losses and functions of the weight 1."""
    return [value if isinstance(value, Objective) else LossObjective(value) for value in list_objectives(values)]


def list_objectives(values: Any) -> list[Objective | Callable[[Any, Any], Any]]:
    """Returns a list of objectives, losses and functions, with objectives in place of their ids.

    Args:
        values: an objective, the `id` of one for its default arguments, a `keras.losses.Loss` or a function of
            (y_true, y_pred); or several of these.

    Raises:
        UsageError: if one is something else, or no objective has this id.
    """
    several = isinstance(values, Iterable) and not isinstance(values, str)
    return [_checked(value) for value in (values if several else [values])]


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        if value not in OBJECTIVES:
            hint = did_you_mean(value, OBJECTIVES, "Pass an instance for another loss")
            raise UsageError(f"objectives must be among {', '.join(OBJECTIVES)}. Received: {value!r}. {hint}")
        return OBJECTIVES[value]()
    if isinstance(value, type):
        raise UsageError(f"objectives must be instances. Received: a class. Pass {value.__name__}()")
    if not callable(value):
        raise UsageError(
            "objectives must be instances of keras_a2i.objectives or of their subclasses, their ids, Keras losses, or "
            f"functions of (y_true, y_pred). Received: {value!r}"
        )
    return value


def _without(config: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}
