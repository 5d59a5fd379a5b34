"""What a recipe is: the network that it builds and how it is trained, as a frozen dataclass that checks itself."""

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np

from keras_a2i.config import FeatureConfig, Settings, choice, flag, number, whole
from keras_a2i.errors import ConfigError, UsageError
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.encoder import Encoder
from keras_a2i.models.generator import Generator
from keras_a2i.objectives import OBJECTIVES, Objective
from keras_a2i.optimizers import make_adam
from keras_a2i.recipes.setting_fields import check_weight
from keras_a2i.records.augmentation import Augmentation
from keras_a2i.serialization import register

_PARTS = ("encoder", "generator")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """A network and its training.

    Args:
        name: name of the recipe, that of its file under `recipes/`.
        task: "any", "words" or "scenes".
        encoder, generator: the network, see `keras_a2i.models`.
        style_units: length of the style vector, see `AudioToImage`.
        objectives: id of an objective -> its weight, or the arguments of its constructor; see `keras_a2i.objectives`.
        learning_rate: peak of the schedule, above 0.
        beta_1: Adam's decay of the first moment, 0 up to below 1.
        schedule: "constant", or "cosine" for a decay to a hundredth of the peak at the last step.
        warmup: share of the steps in which "cosine" rises to its peak, 0 up to below 1.
        weight_decay: that of AdamW; 0 is plain Adam.
        global_clipnorm: upper bound of the norm of all gradients together; 0 disables it.
        batch_size: pairs per step.
        epochs: epochs over the training pairs.
        min_steps: minimum number of training steps; it extends `epochs` on small data sets unless the number of epochs
            is given explicitly. 0 disables it.
        max_epochs: maximum number of epochs that `min_steps` leads to, for data sets of a few pairs.
        ema_momentum: decay of the moving average of the weights that is kept instead of the last ones, 0 (off) up to
            below 1.
        autoencoder_epochs: epochs of an image autoencoder that is trained first; its decoder is the generator. 0 for
            none.
        freeze_encoder_after: share of the steps in which the encoder is trained, above 0 up to 1; afterwards it is
            frozen and only the generator is updated.
        shuffle_within_label: in every epoch, each clip is paired with the image of another training pair of its label.
        monitor: the value that `restore_best_weights` and `patience` compare, such as "val_mse"; see `fit`.
        augmentation: augmentation of waveforms in training.

    Raises:
        ConfigError: if a value is out of range, or two values don't fit together.
    """

    name: str
    task: str = choice("any", ("any", "words", "scenes"))
    encoder: Encoder
    generator: Generator
    style_units: int = whole(0, low=0)
    objectives: Mapping[str, float | Mapping[str, Any]] = dataclasses.field(default_factory=lambda: {"mse": 1.0})
    learning_rate: float = number(1e-3, 0, 10, above=True)
    beta_1: float = number(0.9, 0, 1, below=True)
    schedule: str = choice("cosine", ("constant", "cosine"))
    warmup: float = number(0.1, 0, 1, below=True)
    weight_decay: float = number(0.0, 0, 1e6)
    global_clipnorm: float = number(0.0, 0, 1e6)
    batch_size: int = whole(64)
    epochs: int = whole(30)
    min_steps: int = whole(0, low=0)
    max_epochs: int = whole(600)
    ema_momentum: float = number(0.0, 0, 1, below=True)
    autoencoder_epochs: int = whole(0, low=0)
    freeze_encoder_after: float = number(1.0, 0, 1, above=True)
    shuffle_within_label: bool = flag(False)
    monitor: str = "val_mse"
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, part, cls in (("encoder", self.encoder, Encoder), ("generator", self.generator, Generator)):
            if not isinstance(part, cls):
                what = f"the class {part.__name__}" if isinstance(part, type) else repr(part)
                raise ConfigError(
                    f"{name} must be an instance of a subclass of {cls.__name__}, see keras_a2i.models. Received: "
                    f"{what}. A custom keras.Model is a part of AudioToImage, which fit(model=) accepts"
                )
        objectives = self.make_objectives()
        if not any(type(objective).compares_images for objective in objectives):
            raise ConfigError(
                "objectives must contain one that compares images: mse, ssim, spectrum, adversarial, perceptual or "
                f"blending, with a weight above 0. Received: objectives={dict(self.objectives)}"
            )
        needs = {
            name: any(getattr(objective, f"needs_{name}") for objective in objectives)
            for name in ("style", "labels", "autoencoder", "neighbours")
        }
        if needs["style"] and not self.style_units:
            raise ConfigError(
                f"style_units must be above 0 for the objective variational. Received: style_units={self.style_units}"
            )
        if self.style_units and not (needs["style"] or self.generator.stores_exemplars):
            raise ConfigError(
                "style_units must be 0 without the objective variational, which trains the style, and without a "
                f"generator that composes exemplars. Received: style_units={self.style_units}"
            )
        ids = [type(objective).id for objective in objectives]
        if ("matching" in ids or "blending" in ids) and not self.generator.stores_exemplars:
            raise ConfigError(
                "The objectives matching and blending need a generator with exemplars, such as that of the recipe "
                f"exemplars. Received: {type(self.generator).__name__}"
            )
        if "familiarity" in ids and not self.generator.learns_familiarity:
            raise ConfigError(
                "The objective familiarity needs a generator that shows unfamiliar audio in another way: a "
                "MosaicGenerator, or an ExemplarGenerator with balance_labels; set familiarity to 0 for others. "
                f"Received: {type(self.generator).__name__}"
            )
        if self.generator.stores_exemplars and (self.generator.label_sharpness or "matching" not in ids):
            raise ConfigError(
                "A generator with exemplars needs the objective matching, which trains its selection, and a "
                f"label_sharpness of 0. Received: objectives={dict(self.objectives)}, "
                f"label_sharpness={self.generator.label_sharpness}"
            )
        if self.generator.label_sharpness and "labels" not in self.weights:
            raise ConfigError(
                "label_sharpness must be 0 without the objective labels, which trains the classification. "
                f"Received: label_sharpness={self.generator.label_sharpness}"
            )
        if needs["autoencoder"] and not self.autoencoder_epochs:
            raise ConfigError(
                "autoencoder_epochs must be above 0 for the objectives contrastive and perceptual. "
                f"Received: autoencoder_epochs={self.autoencoder_epochs}"
            )
        if any(objective.needs_reference for objective in objectives) and not self.generator.needs_reference:
            raise ConfigError(
                "The objective identity needs a generator with a reference image, such as that of the recipe talking. "
                f"Received: {type(self.generator).__name__}"
            )
        if self.generator.needs_reference and (self.autoencoder_epochs or self.shuffle_within_label):
            raise ConfigError(
                "autoencoder_epochs must be 0 and shuffle_within_label false for a generator with a reference image, "
                f"which isn't the decoder of a vector alone. Received: autoencoder_epochs={self.autoencoder_epochs}, "
                f"shuffle_within_label={self.shuffle_within_label}"
            )
        if needs["neighbours"] and self.shuffle_within_label:
            raise ConfigError(
                "shuffle_within_label must be false for the objective temporal, which compares a clip's own image. "
                "Received: shuffle_within_label=True"
            )

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the objectives, those of weight 0 left out."""
        return {id_: arguments["weight"] for id_, arguments in self._arguments().items()}

    def _arguments(self) -> dict[str, dict[str, Any]]:
        """Constructor arguments of the objectives, in the registry's order, those of weight 0 left out."""
        if not isinstance(self.objectives, Mapping):
            raise ConfigError(
                "objectives must be a dictionary from the id of an objective to its weight, or to the arguments of its "
                f"constructor. Received: {self.objectives!r}. Instances are passed to fit(objectives=)"
            )
        unknown = [id_ for id_ in self.objectives if id_ not in OBJECTIVES]
        if unknown:
            raise ConfigError(f"objectives must be among {', '.join(OBJECTIVES)}. Received: {', '.join(unknown)}")
        found = {}
        for id_ in OBJECTIVES:
            given = self.objectives.get(id_, 0.0)
            arguments = {"weight": 1.0, **given} if isinstance(given, Mapping) else {"weight": given}
            weight = arguments["weight"]
            check_weight(id_, weight)
            if weight:
                found[id_] = arguments
        return found

    def make_objectives(self, *, batch_size: int | None = None, seed: int | None = None) -> list[Objective]:
        """Creates the objectives.

        Args:
            batch_size: for those that scale with it; None is the recipe's.
            seed: for those that draw random numbers.

        Raises:
            ConfigError: if an argument of an objective isn't known or out of range.
        """
        objectives = []
        for id_, arguments in self._arguments().items():
            cls = OBJECTIVES[id_]
            known = list(inspect.signature(cls).parameters)
            unknown = [name for name in arguments if name not in known]
            if unknown:
                raise ConfigError(
                    f"The objective {id_} must be given arguments of {cls.__name__}: {', '.join(known)}. "
                    f"Received: {', '.join(unknown)}"
                )
            if "batch_size" in known:
                arguments = {"batch_size": batch_size or self.batch_size} | arguments
            if "seed" in known and seed is not None:
                arguments = {"seed": seed + cls.seed_offset} | arguments
            objectives.append(cls(**arguments))
        return objectives

    def needs(self, what: str) -> bool:
        """Whether an objective needs "labels", "autoencoder", "neighbours" or "style"."""
        return any(getattr(objective, f"needs_{what}") for objective in self.make_objectives())

    def build(
        self,
        features: FeatureConfig | None = None,
        *,
        n_features: int | None = None,
        image_size: int = 256,
        channels: int = 3,
        labels: Sequence[str] = (),
        n_labels: int | None = None,
        normalization: tuple[np.ndarray, np.ndarray] | None = None,
        name: str | None = None,
    ) -> AudioToImage:
        """Builds the network with random weights; arguments as for `AudioToImage`.

        Raises:
            UsageError: if an argument is out of its range.
        """
        model = AudioToImage(
            self.encoder,
            self.generator,
            image_size=image_size,
            channels=channels,
            features=features,
            n_features=n_features,
            labels=labels,
            n_labels=n_labels,
            style_units=self.style_units,
            normalization=normalization,
            name=name or f"encoder_generator_{self.name.replace('-', '_')}",
        )
        model.recipe = self.name
        return model

    def make_optimizer(self, total_steps: int) -> keras.optimizers.Optimizer:
        """Builds Adam, or AdamW for a weight decay, with the schedule and the moving average of the weights.

        Args:
            total_steps: steps of the whole training, at least 1; "cosine" ends there.

        Raises:
            UsageError: if `total_steps` is below 1.
        """
        if total_steps < 1:
            raise UsageError(f"total_steps must be at least 1. Received: total_steps={total_steps!r}")
        rate: Any = self.learning_rate
        if self.schedule == "cosine":
            warmup = int(self.warmup * total_steps)
            rate = keras.optimizers.schedules.CosineDecay(
                initial_learning_rate=rate * _FINAL_SHARE if warmup else rate,
                decay_steps=max(1, total_steps - warmup),
                alpha=_FINAL_SHARE,
                warmup_target=rate if warmup else None,
                warmup_steps=warmup,
            )
        # In a short training, a long memory would keep the initial weights.
        momentum = min(self.ema_momentum, 1 - 1 / max(1.0, _MEMORY_SHARE * total_steps))
        options: dict[str, Any] = {"beta_1": self.beta_1, "global_clipnorm": self.global_clipnorm or None}
        # Kept in the shortest training too, with a memory of nothing: a training resumed for longer finds it there.
        if self.ema_momentum:
            options |= {"use_ema": True, "ema_momentum": momentum}
        return make_adam(rate, weight_decay=self.weight_decay or None, **options)

    def epochs_for(self, n_pairs: int, batch_size: int) -> int:
        """Number of epochs over `n_pairs` training pairs: `epochs`, or more for `min_steps`, up to `max_epochs`."""
        steps = max(1, math.ceil(n_pairs / max(1, batch_size)))
        return max(self.epochs, min(math.ceil(self.min_steps / steps), self.max_epochs))

    def scaled(self, size: str) -> Self:
        """Returns the recipe with a network of the size "tiny", "base" or "large"."""
        return dataclasses.replace(self, encoder=self.encoder.scaled(size), generator=self.generator.scaled(size))

    def resized(self, base: Self, size: str) -> Self:
        """Returns the recipe, of whatever size, with those fields that a size decides as in `base.scaled(size)`."""
        parts = {part: getattr(self, part).resized(getattr(base, part), size) for part in _PARTS}
        return dataclasses.replace(self, **parts)

    def to_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for part in _PARTS:
            registered = keras.saving.get_registered_name(type(values[part]))
            values[part] = {"class_name": registered} | values[part].get_config()
        values["objectives"] = {
            id_: dict(given) if isinstance(given, Mapping) else given for id_, given in self.objectives.items()
        }
        return values | {"augmentation": self.augmentation.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        for part in _PARTS:
            if isinstance(values.get(part), dict):
                config = dict(values[part])
                values[part] = _find_class(config.pop("class_name")).from_config(config)
        if isinstance(values.get("augmentation"), dict):
            values["augmentation"] = Augmentation.from_dict(values["augmentation"])
        return super().from_dict(values)


_FINAL_SHARE = 0.01
_MEMORY_SHARE = 0.05
"""The moving average of the weights reaches back over a twentieth of the steps at most."""


def _find_class(name: str) -> Any:
    register()
    found = keras.saving.get_registered_object(name)
    if found is None:
        raise ConfigError(f"class_name must be a registered class. Received: {name!r}. Import its module first")
    return found
