"""Audio to images by a token in the prompt of a Stable Diffusion 3 model: the embedder together with that model."""

import dataclasses
import pathlib
from typing import Any, Self

import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.models.model_file import ModelMetadata, read_model
from keras_a2i.models.prediction import predict_batch
from keras_a2i.models.preset_path import find_preset
from keras_a2i.models.token_diffusion import TokenDiffusion, TokenSampler
from keras_a2i.models.token_embedder import TokenEmbedder

STEPS, GUIDANCE_SCALE = 28, 7.0
"""KerasHub's defaults for Stable Diffusion 3."""
_AT_ONCE = 4
_MAX_STEPS, _MAX_SCALE = 1000, 100


class AudioToken:
    """An embedder of audio, trained by `fit_audio_token`, with the Stable Diffusion 3 model that generates images from
    its tokens.

    Args:
        embedder: `keras.Model` from inputs to tokens.
        diffusion: the model that generates images from tokens.

    Attributes:
        metadata: configurations of the input and of the image.

    Raises:
        ModelError: if the text encoders have other lengths than the embedder was trained for.
    """

    def __init__(self, embedder: TokenEmbedder, diffusion: TokenDiffusion):
        if embedder.token_dims != diffusion.token_dims:
            raise ModelError(
                f"The text encoders must have word embeddings of {embedder.token_dims} numbers, as those that the "
                f"embedder was trained with. Received: {diffusion.token_dims}"
            )
        self.embedder, self.diffusion = embedder, diffusion
        self._samplers: dict[tuple[int, float], TokenSampler] = {}

    @property
    def metadata(self) -> ModelMetadata:
        return self.embedder.metadata

    def generate(
        self, inputs: Any, *, steps: int = STEPS, guidance_scale: float = GUIDANCE_SCALE, seed: int = 0
    ) -> np.ndarray:
        """Generates an image for each input.

        Args:
            inputs: features (n, n_features) or waveforms (n, n_samples), by `metadata.input`.
            steps: Euler steps from noise to image, 1 to 1,000.
            guidance_scale: scale of the classifier-free guidance, 0 to 100; values up to 1 turn the guidance off, which
                takes half the time; models that were distilled for few steps need this.
            seed: random seed of the noise; all images start from the same noise.

        Returns:
            float32 (n, size, size, 3) in [-1, 1].

        Raises:
            UsageError: if an argument is out of range.
        """
        return self.sample(inputs, 1, steps=steps, guidance_scale=guidance_scale, seed=seed)[:, 0]

    def sample(
        self, inputs: Any, n: int, *, steps: int = STEPS, guidance_scale: float = GUIDANCE_SCALE, seed: int = 0
    ) -> np.ndarray:
        """Generates several images for each input, float32 (n_inputs, n, size, size, 3); the first is `generate`'s."""
        check_drawing(steps, guidance_scale, seed)
        if n < 1:
            raise UsageError(f"n must be 1 or more. Received: n={n}")
        inputs = np.asarray(inputs, np.float32)
        if inputs.ndim != 2 or inputs.shape[1] != self.metadata.n_inputs:
            raise UsageError(
                f"The input must have the shape (n, {self.metadata.n_inputs}). Received: shape {inputs.shape}"
            )
        noises = np.random.default_rng(seed).standard_normal((n, *self.diffusion.latent_shape)).astype(np.float32)
        key = steps, float(guidance_scale)
        if key not in self._samplers:
            self._samplers[key] = TokenSampler(self.diffusion, *key)
        images = np.zeros((len(inputs), n, *self.metadata.image.shape), np.float32)
        for start in range(0, len(inputs), _AT_ONCE):
            part = inputs[start : start + _AT_ONCE]
            # Padded to one size: another would be traced again.
            tokens = np.pad(predict_batch(self.embedder, part), [(0, _AT_ONCE - len(part)), (0, 0)])
            for k, noise in enumerate(noises):
                drawn = self._samplers[key].predict_on_batch([tokens, np.repeat(noise[None], _AT_ONCE, axis=0)])
                images[start : start + len(part), k] = np.asarray(drawn)[: len(part)]
        return images

    @classmethod
    def from_preset(cls, preset: str | pathlib.Path, *, diffusion: str | pathlib.Path | None = None) -> Self:
        """Loads a trained embedder with its Stable Diffusion 3 model.

        Args:
            preset: a run folder of `fit_audio_token`, its `.keras` file, the address of either in an object store, or
                "hf://USER/REPOSITORY".
            diffusion: a preset of KerasHub to load in place of the preset of the run, such as the new path of its
                folder.

        Raises:
            ModelError: if there is no such model, it is of another kind, or its Stable Diffusion 3 model can't be
                loaded.
            MissingPackageError: if KerasHub isn't installed.
        """
        path = find_preset(preset)
        embedder = read_model(path)
        if not isinstance(embedder, TokenEmbedder):
            raise ModelError(
                "A model that embeds audio as a token must be one of fit-audio-token (keras_a2i.fit_audio_token). "
                f"Received: {preset}, a {type(embedder).__name__}"
            )
        config = embedder.diffusion
        if diffusion is not None:
            config = dataclasses.replace(config, preset=str(diffusion))
        try:
            return cls(embedder, config.load())
        except ModelError as error:
            raise ModelError(
                f"{error}. The run {preset} was trained with it; AudioToken.from_preset(..., diffusion=...) loads "
                "another, or the same at its new place"
            ) from error


def check_drawing(steps: int = STEPS, guidance_scale: float = GUIDANCE_SCALE, seed: int = 0) -> None:
    """Raises a UsageError unless `AudioToken.generate` accepts these arguments."""
    if not 1 <= steps <= _MAX_STEPS or not 0 <= guidance_scale <= _MAX_SCALE or seed < 0:
        raise UsageError(
            f"steps must be 1 to {_MAX_STEPS}, guidance_scale 0 to {_MAX_SCALE} and seed 0 or more. "
            f"Received: {steps=}, {guidance_scale=}, {seed=}"
        )
