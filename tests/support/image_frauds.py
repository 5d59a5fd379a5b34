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


def collaged(images):
    """Two of the quarters are those of two other images."""
    found = images.copy()
    found[:, :16, 16:] = np.roll(images, len(images) // 2, axis=0)[:, :16, 16:]
    found[:, 16:, :16] = np.roll(images, len(images) // 3, axis=0)[:, 16:, :16]
    return found


def overlaid(images):
    """Two images at once, with the contrast of one."""
    mean = images.mean(axis=(0, 1, 2))
    both = (images - mean + np.roll(images, len(images) // 2, axis=0) - mean) / np.sqrt(2)
    return np.clip(both + mean, -1, 1).astype(np.float32)
