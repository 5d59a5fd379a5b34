"""Who is scored: the model, and the model with its audio taken away. Baselines without a model are in `baselines`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_a2i.evaluation.pairs import MEMORY_BUDGET, Rows, chunks_of, scaled

PredictFn = Callable[..., np.ndarray]
"""Inputs (batch, n_inputs), and reference images where a model needs them, to images in [-1, 1]."""
_BATCH = 64

MODEL, SHUFFLED, SILENCE = "model", "shuffled", "silence"
KINDS = {
    "model": "Model",
    "control": "Controls: the model with other audio or silence",
    "baseline": "Baselines that receive no audio",
    "audio-baseline": "Baseline that receives audio and needs no training",
    "ceiling": "Ceilings: computed from the target image or its true label",
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
    predict_fn: PredictFn,
    inputs: Rows,
    image_shape: tuple[int, ...],
    silence: np.ndarray | None,
    donors: np.ndarray,
    references: Rows | None = None,
) -> list[Contender]:
    """The model, the model with other pairs' audio, and the model with silence.

    Args:
        predict_fn: the model.
        inputs: its inputs for the held-out pairs.
        image_shape: (size, size, channels).
        silence: the input of silence (n_inputs,), or None where there is none.
        donors: the row whose audio each row receives, as from `donor_rows`.
        references: uint8 images of the held-out pairs, for a model that receives them as the second argument.
    """
    n = len(inputs)

    def generate(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        return in_batches(predict_fn)(values, *([] if references is None else [scaled(references[rows])]))

    images = Generated(lambda rows: generate(rows, inputs[rows]), n, image_shape, keep=True)
    found = [
        Contender(MODEL, "model", "model", "the model, with the audio of each pair", images),
        Contender(
            SHUFFLED,
            "model (shuffled audio)",
            "control",
            "the same model, with the audio of another held-out pair",
            Generated(lambda rows: images[donors[rows]], n, image_shape),
        ),
    ]
    if silence is not None:
        if references is None:
            quiet = constant(generate(np.arange(1), silence[None])[0], n)
        else:
            quiet = Generated(lambda rows: generate(rows, np.tile(silence, (len(rows), 1))), n, image_shape)
        found.append(Contender(SILENCE, "model (silence)", "control", "the same model, with silence", quiet))
    return found


def donor_rows(sources: np.ndarray, seed: int, within: bool) -> np.ndarray:
    """The row whose audio each held-out pair receives as a control.

    Args:
        sources: of the pairs, str (n,).
        seed: of the permutation.
        within: whether the audio stays in its source, for a model whose reference image tells the source. A pair that
            is alone in its source then keeps its own.
    """
    if not within:
        return shuffled_rows(len(sources), seed)
    rows = np.arange(len(sources))
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        rows[own] = own[shuffled_rows(len(own), seed)]
    return rows


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
    return lambda *inputs: np.concatenate(
        [
            np.asarray(predict_fn(*(values[i : i + _BATCH] for values in inputs)), np.float32)
            for i in range(0, len(inputs[0]), _BATCH)
        ]
    )
