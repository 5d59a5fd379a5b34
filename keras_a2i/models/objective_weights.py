"""What a training aims at: the weight of each objective and when it comes in (no Keras needed)."""

import dataclasses
from typing import Any, Self

from keras_a2i.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveWeights:
    """Weights of the objectives of a training, 0 for none; the loss is their weighted sum.

    Args:
        mse: `BatchScaledMSE`, the paper's loss.
        ssim: structural dissimilarity on three scales (`objectives.MultiScaleSSIM`).
        spectrum: distance of the spectra of blocks of the pictures, which punishes blur (`objectives.Spectrum`).
        labels: naming the pair's label from the latent vector (`objectives.LabelCrossentropy`).
        variational: pulls the style that is read off the real picture towards a normal distribution, from which
            pictures of one sound are then drawn (`objectives.Variational`); needs `style_units`.
        adversarial: what a discriminator says of the pictures, given the sound (`objectives.Adversarial`).
        alignment: the sound's latent vector beside that of its picture in a picture autoencoder
            (`objectives.Contrastive`); needs `autoencoder_epochs`.
        consistency: distance in the features of that autoencoder's encoder (`objectives.Perceptual`); needs
            `autoencoder_epochs`.
        temporal: the change from one second to the next follows that of the real pictures (`objectives.TemporalDifference`).
        variational_warmup: share of the steps over which `variational` rises from 0, 0 to 1.
        adversarial_start: share of the steps before `adversarial` comes in, 0 up to below 1.

    Raises:
        UsageError: if a value is out of its range.
    """

    mse: float = 1.0
    ssim: float = 0.0
    spectrum: float = 0.0
    labels: float = 0.0
    variational: float = 0.0
    adversarial: float = 0.0
    alignment: float = 0.0
    consistency: float = 0.0
    temporal: float = 0.0
    variational_warmup: float = 0.0
    adversarial_start: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            most = 1 if field.name in ("variational_warmup", "adversarial_start") else 1e6
            if not is_number or not 0 <= value <= most:
                raise UsageError(
                    f"The objective {field.name} must be a number from 0 to {most:g}. Received: {field.name}={value!r}"
                )
        if self.adversarial_start == 1:
            raise UsageError("adversarial_start must be below 1: the discriminator needs steps. Received: 1")
        if not any(getattr(self, name) for name in ("mse", "ssim", "spectrum", "adversarial", "consistency")):
            raise UsageError(
                "A training must aim at pictures: one of mse, ssim, spectrum, adversarial or consistency above 0. "
                "Received: all 0"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The weights of a dictionary as `dataclasses.asdict` makes it.

        Raises:
            UsageError: if a key isn't a field.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UsageError(f"Objectives have the weights {known}. Received: {unknown}")
        return cls(**values)

    @property
    def needs_autoencoder(self) -> bool:
        """Whether a picture autoencoder is trained first."""
        return self.alignment > 0 or self.consistency > 0
