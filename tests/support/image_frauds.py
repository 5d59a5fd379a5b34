"""Degraded images that measures of realism must expose, from images float32 (n, 32, 32, channels) in [-1, 1]."""

import numpy as np


def blurred(images):
    return sum(np.roll(images, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9


def speckled(images):
    return np.clip(images + 0.1 * np.random.default_rng(1).standard_normal(images.shape), -1, 1).astype(np.float32)


def checkered(images):
    return np.clip(images + 0.06 * (np.indices((32, 32)).sum(axis=0) % 2 * 2 - 1)[..., None], -1, 1).astype(np.float32)


def repeated(images):
    return np.repeat(images[:1], len(images), axis=0)
