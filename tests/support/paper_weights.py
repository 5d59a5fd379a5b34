"""Weights and inputs of the seed network's golden file, drawn anew where they are needed: 10 MB stay out of git."""

import itertools
import math

import numpy as np

N_PICTURES = 4


def draw_weights(rng: np.random.Generator, image_size: int) -> list[list[np.ndarray]]:
    """Keras weights of each layer that has any, from the first to the last."""

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    units = [104, 1024, 768, 512, 256, 100]
    weights = [[normal(i, o, scale=math.sqrt(2 / i)), normal(o, scale=0.1)] for i, o in itertools.pairwise(units)]
    doublings = int(math.log2(image_size))
    channels = [100, *(max(256 >> i, 4) for i in range(doublings - 1)), 3]
    for i in range(doublings):
        inputs, outputs = channels[i : i + 2]
        weights.append([normal(4, 4, outputs, inputs, scale=math.sqrt(2 / (4 * inputs))), normal(outputs, scale=0.1)])
        if i < doublings - 1:
            gamma, beta, mean, log_variance = (normal(outputs, scale=0.1) for _ in range(4))
            weights.append([1 + gamma, beta, mean, np.exp(log_variance)])
    return weights


def draw_features(rng: np.random.Generator) -> np.ndarray:
    """Features (4, 104) of the size MFCC have."""
    return (15 * rng.standard_normal((N_PICTURES, 104))).astype(np.float32)


def sample(pictures: np.ndarray) -> np.ndarray:
    """What the golden file keeps of pictures (4, size, size, 3): all of one at 32 pixels, every 16th pixel at 256."""
    return pictures[:1] if pictures.shape[1] == 32 else pictures[:, 5::16, 5::16]
