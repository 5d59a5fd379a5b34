"""Who is scored: the model, and the model with its audio taken away. Baselines without a model are in `baselines`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_a2i.evaluation.pairs import MEMORY_BUDGET, Rows, chunks_of

PredictFn = Callable[[np.ndarray], np.ndarray]
"""Inputs (batch, n_inputs) to images (batch, size, size, channels) in [-1, 1]."""
_BATCH = 64

MODEL, SHUFFLED, SILENCE = "model", "shuffled", "silence"
KINDS = {
    "model": "Model",
    "control": "Control: the model without the right audio",
    "baseline": "Baseline: no audio at all",
    "audio-baseline": "Audio baseline: audio, but no model",
    "ceiling": "Ceiling: what could be reached",
}
"""The kinds of contenders and their titles, in the order of a report."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """Something that has an image for each held-out pair.

    Attributes:
        id: what it is found by.
        title: for tables.
        kind: one of `KINDS`.
        explanation: what it does, in a line.
        images: float32 in [-1, 1], (n, size, size, channels), by row number.
    """

    id: str
    title: str
    kind: str
    explanation: str
    images: Rows


class Generated:
    """Images by row number that a function computes when they are asked for.

    Args:
        function: row numbers (n,) to images, float32 (n, size, size, channels) in [-1, 1].
        n: number of rows.
        shape: (size, size, channels).
        keep: compute all rows once and keep them, where they fit `MEMORY_BUDGET`.
    """

    def __init__(
        self, function: Callable[[np.ndarray], np.ndarray], n: int, shape: tuple[int, ...], keep: bool = False
    ):
        self._function, self.shape = function, (n, *shape)
        self._kept: np.ndarray | None = None
        self._keep = keep and 4 * int(np.prod(self.shape)) <= MEMORY_BUDGET

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if not self._keep:
            return self._function(np.asarray(rows))
        if self._kept is None:
            self._kept = np.concatenate([self._function(chunk) for chunk in chunks_of(len(self))])
        return self._kept[rows]


def model_and_controls(
    predict_fn: PredictFn, inputs: Rows, image_shape: tuple[int, ...], silence: np.ndarray | None, seed: int
) -> list[Contender]:
    """The model, the model with other pairs' audio, and the model with silence.

    Args:
        predict_fn: the model.
        inputs: its inputs for the held-out pairs.
        image_shape: (size, size, channels).
        silence: the input of silence (n_inputs,), or None where there is none.
        seed: of the permutation.
    """
    predict_fn, n, donors = in_batches(predict_fn), len(inputs), shuffled_rows(len(inputs), seed)
    images = Generated(lambda rows: predict_fn(inputs[rows]), n, image_shape, keep=True)
    found = [
        Contender(MODEL, "model", "model", "the model, with the audio of each image", images),
        Contender(
            SHUFFLED,
            "audio shuffled",
            "control",
            "the same model, with the audio of another held-out pair",
            Generated(lambda rows: images[donors[rows]], n, image_shape),
        ),
    ]
    if silence is not None:
        quiet = predict_fn(silence[None])[0]
        found.append(Contender(SILENCE, "silence", "control", "the same model, with silence", constant(quiet, n)))
    return found


def constant(image: np.ndarray, n: int) -> Rows:
    """One image for every row."""
    return np.broadcast_to(image, (n, *image.shape))


def shuffled_rows(n: int, seed: int) -> np.ndarray:
    """A permutation in which no pair keeps its own audio (for n >= 2)."""
    order = np.random.default_rng(seed).permutation(n)
    rows = np.empty(n, int)
    rows[order] = np.roll(order, 1)
    return rows


def in_batches(predict_fn: PredictFn) -> PredictFn:
    """The same function on any number of inputs, at most 64 at a time; images as float32."""
    return lambda inputs: np.concatenate(
        [np.asarray(predict_fn(inputs[i : i + _BATCH]), np.float32) for i in range(0, len(inputs), _BATCH)]
    )
