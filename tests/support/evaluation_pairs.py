"""Pairs, evidence and reports that the tests of evaluation make up."""

import dataclasses

import numpy as np

import keras_a2i.evaluation.evaluate  # noqa: F401  registers every measure
from keras_a2i.evaluation.contenders import shuffled_rows
from keras_a2i.evaluation.measures import MEASURES, Evidence
from keras_a2i.evaluation.pairs import Pairs, scaled


def make_pairs(n, sources=("a", "b"), seed=0, times=None, labels=None):
    """Pairs of random features and images of 16 pixels, their sources in turn."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 6)).astype(np.float32) * [1, 1, 1, 1, 1, 100]
    return Pairs(
        ids=np.array([f"p{i}" for i in range(n)]),
        sources=np.array([sources[i % len(sources)] for i in range(n)]),
        labels=np.array(labels if labels is not None else [""] * n),
        times=np.array(times if times is not None else [float(i // len(sources)) for i in range(n)]),
        features=features,
        inputs=features,
        images=rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8),
        factors=[{}] * n,
    )


def striped(n, seed):
    """Pairs whose label is the direction of the stripes in the image, and whose factors are shade and direction."""
    rng = np.random.default_rng(seed)
    direction, shade = rng.integers(0, 2, n), rng.uniform(0, 1, n)
    stripes = np.where(np.arange(32) % 8 < 4, 1.0, 0.0)
    images = np.where(direction[:, None, None] == 1, stripes[None, :, None], stripes[None, None, :]) * np.ones(
        (n, 32, 32)
    )
    images = np.uint8(60 * images + 150 * shade[:, None, None] + rng.uniform(0, 20, (n, 32, 32)))
    pairs = make_pairs(n)
    return dataclasses.replace(
        pairs,
        images=np.repeat(images[..., None], 3, axis=3),
        labels=np.array(["across", "down"])[direction],
        factors=[{"shade": float(s), "down": float(d)} for s, d in zip(shade, direction, strict=True)],
    )


def evidence_of(generated, held_out, train=None, seed=0, **options):
    """Evidence about a model that generated these images, float32 in [-1, 1]."""
    return Evidence(
        train=train if train is not None else make_pairs(10),
        held_out=held_out,
        generated=generated,
        shuffled=generated[shuffled_rows(len(held_out), seed)],
        seed=seed,
        **{"predict_fn": None} | options,
    )


def measured(id, generated, held_out, **options):
    """What one measure finds."""
    return MEASURES[id].function(evidence_of(generated, held_out, **options))


def real_of(pairs):
    """The pairs' own images, as a perfect model generates them."""
    return scaled(pairs.images)
