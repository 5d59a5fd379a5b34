"""What a recipe is: a network and the recipe it is trained with, as a frozen, self-checking dataclass without Keras."""

import dataclasses
import math
from typing import Any

from keras_a2i.errors import UsageError
from keras_a2i.models.objective_weights import ObjectiveWeights
from keras_a2i.records.augmentation import Augmentation

ENCODERS = ("dense", "words", "scenes")
GENERATORS = ("transposed", "residual")
INPUTS = ("features", "waveform")
SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Architecture and recipe of one model.

    Args:
        name: how the recipe is asked for.
        description: one line for lists.
        encoder_units: outputs of the dense layers, the last being the latent vector; for "words" and "scenes" the
            channels of four convolutions, those of the fifth, and the length of the latent vector.
        ensemble: for "words", encoders side by side that learn labels each by itself; their latent vectors are joined.
        layer_norm: layer normalisation after every dense layer.
        base_size: pixels a side the generator starts from, 1, 2 or 4.
        base_channels: channels there, made by a dense layer; 0 takes the latent vector as it is (`base_size` 1).
        generator_channels: channels after each doubling; the final entry repeats for larger pictures.
        final_scale: by how much the last convolution enlarges, which gives the picture, 2 or 4.
        normalize: standardise the features by the training set's mean and variance.
        feature_clip: standardised features are held within +-`feature_clip`; 0 turns that off.
        feature_noise: standard deviation of noise added to the features in training.
        dropout: share of the encoder's hidden units dropped in training, 0 up to below 1.
        learning_rate: peak of the schedule, above 0.
        beta_1: Adam's decay of the first moment, 0 up to below 1.
        schedule: "constant", or "cosine": down to a hundredth of the peak at the last step.
        warmup: share of the steps in which "cosine" rises to its peak, 0 up to below 1.
        weight_decay: AdamW's; 0 is plain Adam.
        global_clipnorm: most that the norm of all gradients together may be, longer ones are scaled down; 0 for no limit.
        batch_size: pairs a step.
        epochs: passes over the training pairs.
        min_steps: steps that a training has at least: few pairs are passed over more often than `epochs`, unless the
            passes are asked for by number. 0 for no such least.
        input: "features" as records hold them, or "waveform": sound through the same feature layers inside the model.
        encoder: "dense" over features; "words" for sounds that begin and end, "scenes" for what goes on, both with
            "waveform" only.
        generator: "transposed", the paper's transposed convolutions, or "residual" blocks and sub-pixels.
        style_units: numbers after the latent vector for what the sound doesn't say, drawn at random to get several
            pictures of one sound; 0 for none.
        label_sharpness: above 0, the generator draws from a learnt prototype of each label, mixed by how likely the
            sound says each; the higher, the more the likeliest alone. 0 draws from the latent vector itself.
        objectives: what the training aims at, `ObjectiveWeights`. Its values can be changed by their own names.
        autoencoder_epochs: passes over the training pictures for a picture autoencoder that is trained first; the
            generator begins as its second half. 0 for none.
        freeze_encoder_after: share of the steps in which the encoder learns, above 0 up to 1; in the rest it stands still and
            the generator learns to draw finer from what it says.
        ema: decay of the average of the weights that is kept in place of the last ones, 0 (off) up to below 1.
        task, size: what it is for, "tiny", "base" or "large".
        result: its measured result with command and data, one or two sentences.
        shuffle_within_label: each epoch a sound is shown the picture of another training pair of its label, so that
            the model learns what the label looks like and not one picture by heart.
        augmentation: of the sound in training, for "waveform". Its values can be changed by their own names.

    Raises:
        UsageError: if a value is out of its range.
    """

    name: str
    description: str
    encoder_units: tuple[int, ...]
    layer_norm: bool
    base_size: int
    base_channels: int
    generator_channels: tuple[int, ...]
    final_scale: int
    normalize: bool
    feature_clip: float
    feature_noise: float
    dropout: float
    learning_rate: float
    beta_1: float
    schedule: str
    warmup: float
    weight_decay: float
    batch_size: int
    epochs: int
    min_steps: int = 0
    global_clipnorm: float = 0.0
    input: str = "features"
    encoder: str = "dense"
    ensemble: int = 1
    generator: str = "transposed"
    style_units: int = 0
    label_sharpness: float = 0.0
    objectives: ObjectiveWeights = dataclasses.field(default_factory=ObjectiveWeights)
    autoencoder_epochs: int = 0
    freeze_encoder_after: float = 1.0
    ema: float = 0.0
    task: str = "any"
    size: str = "base"
    result: str = ""
    shuffle_within_label: bool = False
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for field in ("encoder_units", "generator_channels"):
            values = getattr(self, field)
            sizes = isinstance(values, (list, tuple)) and all(_is_count(value) for value in values)
            self._require(field, sizes and len(values) > 0, "must be a list of whole numbers from 1")
            object.__setattr__(self, field, tuple(values))
        for field in ("layer_norm", "normalize", "shuffle_within_label"):
            self._require(field, isinstance(getattr(self, field), bool), "must be true or false")
        for field in ("batch_size", "epochs", "ensemble"):
            self._require(field, _is_count(getattr(self, field)), "must be a whole number from 1")
        for field in ("feature_clip", "feature_noise", "weight_decay", "global_clipnorm", "label_sharpness"):
            self._require(field, _in_range(getattr(self, field), 0, 1e6), "must be a number from 0")
        for field in ("dropout", "beta_1", "warmup", "ema"):
            value = getattr(self, field)
            self._require(field, _in_range(value, 0, 1) and value < 1, "must lie in [0, 1)")
        share = self.freeze_encoder_after
        self._require("freeze_encoder_after", _in_range(share, 0, 1) and share > 0, "must lie in (0, 1]")
        rate = self.learning_rate
        self._require("learning_rate", _in_range(rate, 0, 10) and rate > 0, "must lie in (0, 10]")
        self._require("schedule", self.schedule in SCHEDULES, f"must be one of {list(SCHEDULES)}")
        self._require("input", self.input in INPUTS, f"must be one of {list(INPUTS)}")
        self._require("encoder", self.encoder in ENCODERS, f"must be one of {list(ENCODERS)}")
        accepts_audio = self.encoder == "dense" or self.input == "waveform"
        self._require("input", accepts_audio, f"must be 'waveform' for the encoder {self.encoder!r}")
        self._require(
            "encoder_units",
            self.encoder == "dense" or len(self.encoder_units) == 6,
            f"must be 6 numbers for the encoder {self.encoder!r}",
        )
        self._require(
            "ensemble", self.ensemble == 1 or self.encoder == "words", "must be 1 for encoders other than 'words'"
        )
        self._require("generator", self.generator in GENERATORS, f"must be one of {list(GENERATORS)}")
        for field in ("style_units", "autoencoder_epochs", "min_steps"):
            value = getattr(self, field)
            self._require(field, value == 0 or _is_count(value), "must be a whole number from 0")
        for field, kind in (("augmentation", Augmentation), ("objectives", ObjectiveWeights)):
            if isinstance(getattr(self, field), dict):
                object.__setattr__(self, field, kind.from_dict(getattr(self, field)))
        self._check_objectives()
        self._require("base_size", self.base_size in (1, 2, 4), "must be 1, 2 or 4")
        self._require("final_scale", self.final_scale in (2, 4), "must be 2 or 4")
        self._require(
            "base_channels",
            _is_count(self.base_channels)
            or (self.base_channels == 0 and self.base_size == 1 and self.generator == "transposed"),
            "must be a whole number from 1 (or 0 for a transposed generator where base_size is 1)",
        )

    def epochs_for(self, n_pairs: int, batch_size: int) -> int:
        """Passes over so many training pairs that reach `epochs` and `min_steps`."""
        steps = max(1, math.ceil(n_pairs / max(1, batch_size)))
        return max(self.epochs, math.ceil(self.min_steps / steps))

    def _check_objectives(self) -> None:
        aims = self.objectives
        self._require(
            "style_units",
            (aims.variational > 0) == (self.style_units > 0),
            "must be above 0 for the objective variational, and for it alone",
        )
        self._require(
            "label_sharpness",
            self.label_sharpness == 0 or aims.labels > 0,
            "must be 0 without the objective labels, which teaches the decision",
        )
        self._require(
            "autoencoder_epochs",
            not aims.needs_autoencoder or self.autoencoder_epochs > 0,
            "must be above 0 for the objectives alignment and consistency",
        )
        self._require(
            "shuffle_within_label",
            not (self.shuffle_within_label and aims.temporal),
            "must be false for the objective temporal, which looks at a sound's own picture",
        )

    def _require(self, field: str, condition: bool, rule: str) -> None:
        if not condition:
            raise UsageError(f"{field} of a recipe {rule}. Received: {field}={getattr(self, field)!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _in_range(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
