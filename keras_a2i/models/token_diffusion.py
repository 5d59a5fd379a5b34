"""A frozen Stable Diffusion 3 model of KerasHub whose prompt has a place for a vector that isn't a word's."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.config import Settings, choice
from keras_a2i.errors import MissingPackageError, ModelError, UsageError

WORD = "*"
"""The word of a prompt whose place the vector takes."""
_MULTIPLE = 16
DTYPES = ("bfloat16", "float32", "float16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionConfig(Settings):
    """What a run stores of its Stable Diffusion 3 model, which isn't part of its own weights.

    Args:
        preset: name of a preset of KerasHub such as "stable_diffusion_3.5_medium", an address that its `from_preset`
            accepts, or the path of a folder of `save_to_preset`.
        prompt: words separated by spaces, one of them "*", whose place the audio takes.
        dtype: "bfloat16", "float32" or "float16", of those parts whose type the preset leaves open.
        image_size: pixels per side, a multiple of 16.

    Raises:
        ConfigError: if a value is out of range.
        UsageError: if `image_size` is no such multiple, or the word "*" isn't in the prompt exactly once.
    """

    preset: str
    prompt: str = f"a photo of {WORD}"
    dtype: str = choice("bfloat16", DTYPES)
    image_size: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < _MULTIPLE or self.image_size % _MULTIPLE:
            raise UsageError(
                f"image_size must be a multiple of {_MULTIPLE}, the pixels of a patch of latents. "
                f"Received: image_size={self.image_size}"
            )
        if self.prompt.split().count(WORD) != 1:
            raise UsageError(
                f'prompt must hold the word "{WORD}" once, set apart by spaces: the audio takes its place. '
                f"Received: prompt={self.prompt!r}"
            )

    def load(self) -> "TokenDiffusion":
        """Loads the model by KerasHub's `from_preset`, which downloads a preset that isn't on the disk yet.

        Raises:
            MissingPackageError: if KerasHub isn't installed.
            ModelError: if there is no such preset, or it isn't one of Stable Diffusion 3 with two text encoders.
            UsageError: if the preset doesn't know the word "*".
        """
        hub = import_keras_hub()
        shape = (self.image_size, self.image_size, 3)
        try:
            backbone = hub.models.StableDiffusion3Backbone.from_preset(self.preset, image_shape=shape, dtype=self.dtype)
            preprocessor = hub.models.StableDiffusion3TextToImagePreprocessor.from_preset(self.preset)
        except Exception as error:
            # Those of kagglehub have no base class of their own.
            known = isinstance(error, ValueError | TypeError | KeyError | OSError | ImportError)
            if not known and not type(error).__module__.startswith("kagglehub"):
                raise
            raise ModelError(
                "preset must be a Stable Diffusion 3 model that KerasHub can load: a name such as "
                "stable_diffusion_3.5_medium, or a folder of its save_to_preset. "
                f"Received: preset={self.preset!r} ({_first_line(error)})"
            ) from error
        return TokenDiffusion(backbone, preprocessor, self.prompt)


def import_keras_hub() -> Any:
    """Returns the module keras_hub.

    Raises:
        MissingPackageError: if it isn't installed.
    """
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        if error.name != "keras_hub":
            raise
        raise MissingPackageError("keras-hub", "diffusion", "The recipe audio-token") from None
    return keras_hub


class TokenDiffusion:
    """A Stable Diffusion 3 model whose text encoders receive a vector in the place of one word of the prompt.

    Its weights are frozen. Gradients reach the vector through the text encoders and the diffusion transformer.

    Args:
        backbone: a `keras_hub.models.StableDiffusion3Backbone` without T5, which no preset of KerasHub has.
        preprocessor: its `StableDiffusion3TextToImagePreprocessor`.
        prompt: as for `DiffusionConfig`.

    Attributes:
        backbone: the Keras model.
        token_dims: lengths of the vectors of a word in the two text encoders; a token is both, one after the other.
        token_scales: standard deviation of the words' vectors in each.
        latent_shape: (height, width, channels) of what the transformer denoises.

    Raises:
        ModelError: if the backbone has a T5 encoder.
        UsageError: if "*" isn't one token of the tokenizers, or the prompt is longer than they allow.

    Reference:
        Yariv, Gat, Wolf, Adi and Schwartz, "AudioToken: adaptation of text-conditioned diffusion models for
        audio-to-image generation", 2023 (arXiv 2305.13050). The flow is that of Esser et al., "Scaling rectified flow
        transformers for high-resolution image synthesis", 2024 (arXiv 2403.03206).
    """

    def __init__(self, backbone: Any, preprocessor: Any, prompt: str):
        if backbone.t5 is not None:
            raise ModelError(
                "The Stable Diffusion 3 model must have the text encoders CLIP-L and CLIP-G alone, as KerasHub's "
                "presets do. Received: one with T5, too"
            )
        backbone.trainable = False
        self.backbone = backbone
        self.latent_shape = tuple(backbone.latent_shape[1:])
        ids = {
            name: np.asarray(values, np.int32)
            for name, values in preprocessor.generate_preprocess([prompt, WORD, ""]).items()
        }
        self._encoders = [
            _TextEncoder(name, getattr(backbone, name), getattr(backbone, f"{name}_projection"), *ids[name][:2])
            for name in ("clip_l", "clip_g")
        ]
        self.token_dims = tuple(len(encoder.own) for encoder in self._encoders)
        self.token_scales = tuple(encoder.scale for encoder in self._encoders)
        empty = {name: values[2:] for name, values in ids.items()}
        negative = backbone.encode_text_step(empty, empty)
        # What an image is guided away from: the prompt without words.
        self._negative = [ops.convert_to_numpy(ops.cast(negative[i], "float32")) for i in (0, 2)]

    @property
    def own_token(self) -> np.ndarray:
        """The vectors of the word "*" itself, float32 (sum of token_dims,)."""
        return np.concatenate([encoder.own for encoder in self._encoders])

    @property
    def has_float16(self) -> bool:
        """Whether gradients pass through float16, in which small ones vanish unless the loss is scaled."""
        layers = (self.backbone.clip_l, self.backbone.clip_g, self.backbone.diffuser)
        return any(layer.compute_dtype == "float16" for layer in layers)

    def encode_tokens(self, tokens: Any) -> tuple[Any, Any]:
        """Encodes the prompt with a token in the place of "*".

        Args:
            tokens: float32 (batch, sum of token_dims).

        Returns:
            The context (batch, n, d) and the pooled projections (batch, sum of token_dims), as `encode_text_step` of
            the backbone returns them for words.
        """
        backbone, first = self.backbone, self.token_dims[0]
        (pooled_l, context_l), (pooled_g, context_g) = (
            encoder.encode(part)
            for encoder, part in zip(self._encoders, (tokens[:, :first], tokens[:, first:]), strict=True)
        )
        padding = backbone.t5_hidden_dim - backbone.clip_hidden_dim
        pooled, context = backbone.clip_concatenate(pooled_l, pooled_g, context_l, context_g, padding=padding)
        # In the place of T5's output.
        return ops.pad(context, [[0, 0], [0, backbone.clip_l.max_sequence_length], [0, 0]]), pooled

    def encode_images(self, images: Any) -> Any:
        """Encodes images (batch, size, size, 3) in [-1, 1] as latents, float32 (batch, *latent_shape): the means of
        the autoencoder's distributions."""
        mean, _ = ops.split(self.backbone.vae.encoder(images, training=False), 2, axis=-1)
        return ops.cast(self.backbone.image_rescaling(mean), "float32")

    def flow_loss(self, tokens: Any, images: Any, noise: Any, levels: Any) -> Any:
        """Computes how far the predicted velocity is from the one that leads from the image to the noise.

        Args:
            tokens: float32 (batch, sum of token_dims).
            images: (batch, size, size, 3) in [-1, 1].
            noise: float32 (batch, *latent_shape), from a normal distribution.
            levels: float32 (batch,) in (0, 1), how noisy the latents are before the shift of the schedule.

        Returns:
            The mean squared error, a scalar.
        """
        latents = ops.stop_gradient(self.encode_images(images))
        shift, levels = self.backbone.shift, ops.convert_to_tensor(levels)
        sigma = shift * levels / (1 + (shift - 1) * levels)
        mixed = latents + ops.reshape(sigma, (-1, 1, 1, 1)) * (noise - latents)
        context, pooled = self.encode_tokens(tokens)
        velocity = self.backbone.diffuser(
            {
                "latent": mixed,
                "context": context,
                "pooled_projection": pooled,
                "timestep": sigma * self.backbone.num_train_timesteps,
            },
            training=False,
        )
        return ops.mean(ops.square(ops.cast(velocity, "float32") - (noise - latents)))

    def draw(self, tokens: Any, noise: Any, steps: int, guidance_scale: float) -> Any:
        """Generates images by Euler steps from noise.

        Args:
            tokens: float32 (batch, sum of token_dims).
            noise: float32 (batch, *latent_shape).
            steps: number of steps, from 1; `configure` must have been called with it.
            guidance_scale: of classifier-free guidance away from the empty prompt; up to 1 leaves it out.

        Returns:
            float32 (batch, size, size, 3) in [-1, 1].
        """
        context, pooled = self.encode_tokens(tokens)
        no_context, no_pooled = (
            ops.repeat(ops.cast(x, pooled.dtype), ops.shape(noise)[0], axis=0) for x in self._negative
        )
        embeddings = (context, no_context, pooled, no_pooled)
        scale = float(guidance_scale) if guidance_scale > 1 else None

        def step(i: Any, latents: Any) -> Any:
            return ops.cast(self.backbone.denoise_step(latents, embeddings, i, steps, scale), "float32")

        images = self.backbone.decode_step(ops.fori_loop(0, steps, step, noise))
        return ops.clip(ops.cast(images, "float32"), -1, 1)

    def configure(self, steps: int) -> None:
        """Computes the noise levels of so many steps: KerasHub stores those of one number of steps."""
        self.backbone.configure_scheduler(steps)


class TokenSampler(keras.Model):
    """The graph of `TokenDiffusion.draw` for one number of steps and one guidance scale.

    Call with [tokens, noise]; see there.
    """

    def __init__(self, diffusion: TokenDiffusion, steps: int, guidance_scale: float):
        super().__init__(name="token_sampler", autocast=False)
        self.backbone = diffusion.backbone
        self._diffusion, self._steps, self._guidance_scale = diffusion, steps, guidance_scale

    def call(self, inputs: Any) -> Any:
        tokens, noise = inputs
        return self._diffusion.draw(tokens, noise, self._steps, self._guidance_scale)

    def predict_on_batch(self, x: Any) -> Any:
        self._diffusion.configure(self._steps)
        return super().predict_on_batch(x)


class _TextEncoder:
    """One of the text encoders, with the prompt and the place in it.

    Attributes:
        own: the vector of the word "*", float32 (d,).
        scale: standard deviation of the vectors of all words.
    """

    def __init__(self, name: str, encoder: Any, projection: Any, prompt: np.ndarray, word: np.ndarray):
        self._encoder, self._projection, self._ids = encoder, projection, prompt
        # Start, the word, end, and what fills the rest.
        start, own, end = word[:3]
        places = np.flatnonzero(prompt == own)
        if len({start, own, end}) < 3 or len(places) != 1 or end not in prompt:
            raise UsageError(
                f'The tokenizer of {name} must know the word "{WORD}" as one token, and its {len(prompt)} tokens must '
                f"hold the prompt. Received: the tokens {word.tolist()} for the word, {prompt.tolist()} for the prompt"
            )
        self._mask = (np.arange(len(prompt)) == places[0]).astype(np.float32)[None, :, None]
        table = ops.convert_to_numpy(ops.cast(encoder.embedding.token_embedding.embeddings, "float32"))
        self.own, self.scale = table[own], float(table.std())
        self._tail = keras.Model(encoder.embedding.output, encoder.output, name=f"{name}_after_embedding")

    def encode(self, vectors: Any) -> tuple[Any, Any]:
        """Encodes the prompt with a vector (batch, d) in its place: pooled (batch, d) and context (batch, n, d)."""
        ids = ops.tile(self._ids[None], (ops.shape(vectors)[0], 1))
        x = self._encoder.embedding(ids)
        x = x + ops.cast(self._mask * (vectors - self.own)[:, None], x.dtype)
        outputs = self._tail(x, training=False)
        pooled = self._projection(outputs["sequence_output"], ids, training=False)
        return pooled, outputs["intermediate_output"]


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
