"""Cutting a stream of audio into clips of equal length."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np


def cut_clips(blocks: Iterable[np.ndarray], n_samples: int, pad: bool = True) -> Iterator[np.ndarray]:
    """Cuts a stream into consecutive clips.

    Args:
        blocks: the waveform in pieces (n,), float32, of any length; held no longer than a clip needs them.
        n_samples: samples of a clip.
        pad: whether the last clip is padded with silence; otherwise it has the samples that remain.

    Yields:
        float32 (n_samples,), or shorter for the last one where `pad` is False; none for a stream without samples.
    """
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        whole = len(held) // n_samples * n_samples
        for i in range(0, whole, n_samples):
            yield held[i : i + n_samples]
        held = held[whole:]
    if len(held):
        yield np.pad(held, (0, n_samples - len(held))) if pad else held


def cut_clips_at(
    blocks: Iterable[np.ndarray], n_samples: int, start: Callable[[int], int], onset: Callable[[int], int]
) -> Iterator[np.ndarray]:
    """Cuts clips that may overlap out of a stream, with silence before its first sample and after its last.

    Args:
        blocks: the waveform in pieces (n,), float32, of any length; held no longer than a clip needs them.
        n_samples: samples of a clip.
        start: returns the position of the first sample of clip k, which may be negative; never decreases.
        onset: returns the position that a stream must reach for clip k to exist, within the clip.

    Yields:
        float32 (n_samples,): clip 0 always, then every clip k whose `onset` the stream reaches.
    """
    # held[0] is the sample at the position `first`.
    first = min(0, start(0))
    held = np.zeros(-first, np.float32)
    k = 0
    for block in blocks:
        held = np.concatenate([held, block])
        while start(k) + n_samples <= first + len(held):
            yield held[start(k) - first : start(k) - first + n_samples]
            k += 1
        past = min(len(held), max(0, start(k) - first))
        held, first = held[past:], first + past
    total = first + len(held)
    while k == 0 or onset(k) < total:
        held = np.pad(held, (0, max(0, start(k) + n_samples - first - len(held))))
        yield held[start(k) - first : start(k) - first + n_samples]
        k += 1
