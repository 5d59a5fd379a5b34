"""A Stable Diffusion 3 model of KerasHub with random weights, small enough to be built offline in seconds."""

import keras
import keras_hub
from keras_hub.src.models.vae.vae_backbone import VAEBackbone

WORDS = ("a", "photo", "of", "drawing", "dog", "*")
IMAGE_SIZE, SEQUENCE_LENGTH = 16, 8


def save_tiny_preset(folder, *, words=WORDS, dtype="float32"):
    """Writes a preset with the weights and tokenizers of a tiny model, and returns the model."""
    keras.utils.set_random_seed(0)
    model = tiny_text_to_image(words, dtype)
    model.save_to_preset(str(folder))
    return model


def tiny_text_to_image(words=WORDS, dtype="float32"):
    """Builds the model with its tokenizers, whose words are all that it knows."""
    vocabulary, merges = _byte_pairs(words)
    encoders = {
        name: keras_hub.models.CLIPTextEncoder(
            vocabulary_size=len(vocabulary),
            embedding_dim=width,
            hidden_dim=width,
            num_layers=2,
            num_heads=2,
            intermediate_dim=2 * width,
            intermediate_activation=activation,
            intermediate_output_index=-2,
            max_sequence_length=SEQUENCE_LENGTH,
            dtype=dtype,
            name=name,
        )
        for name, width, activation in (("clip_l", 16, "quick_gelu"), ("clip_g", 24, "gelu"))
    }
    vae = VAEBackbone(
        [32] * 4, [1] * 4, [32] * 4, [1] * 4, sampler_method="mode", sample_channels=32, dtype=dtype, name="vae"
    )
    backbone = keras_hub.models.StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=16,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=24,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=vae,
        image_shape=(IMAGE_SIZE, IMAGE_SIZE, 3),
        dtype=dtype,
        name="sd3",
        **encoders,
    )
    tokenizers = {
        f"{name}_preprocessor": keras_hub.models.CLIPPreprocessor(
            keras_hub.models.CLIPTokenizer(
                vocabulary, merges, pad_with_end_token=name == "clip_l", config_file=f"{name}_tokenizer.json"
            ),
            sequence_length=SEQUENCE_LENGTH,
            config_file=f"{name}_preprocessor.json",
        )
        for name in encoders
    }
    preprocessor = keras_hub.models.StableDiffusion3TextToImagePreprocessor(**tokenizers)
    return keras_hub.models.StableDiffusion3TextToImage(backbone, preprocessor)


def _byte_pairs(words):
    """The vocabulary and the merges in which every word is one token."""
    letters = sorted(set("".join(words)))
    tokens, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
    for word in words:
        first, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for part in rest:
            merges.append(f"{first} {part}")
            first += part
            tokens.append(first)
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}, list(dict.fromkeys(merges))
