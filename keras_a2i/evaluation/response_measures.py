"""How the pictures answer to the sound: swapped, louder, drawn again, and in the space of an alignment."""

from collections.abc import Callable

import numpy as np

from keras_a2i.evaluation.baselines import Run, shuffled_rows
from keras_a2i.evaluation.pairs import Pairs, scaled
from keras_a2i.evaluation.probes import FactorProbe, LabelProbe
from keras_a2i.evaluation.report_data import Measure
from keras_a2i.evaluation.statistics import thumbnails

Sample = Callable[[np.ndarray, int, int], np.ndarray]
"""(inputs (n, n_inputs), pictures of each, seed) -> pictures (n, pictures of each, size, size, channels)."""
Embed = Callable[[np.ndarray], np.ndarray]
"""Inputs or pictures (n, ...) -> unit vectors (n, d)."""

GAINS_DB = (-18.0, -12.0, -6.0, 0.0, 6.0)
GALLERY = 120
ALIGNED_GALLERY = 100
N_SAMPLES = 8
_N_GALLERIES = 20
_MOST_SOUNDS, _MOST_DRAWN = 64, 256
# Half a level of 8 bits in [-1, 1]: less isn't seen in a file.
_LEAST_CHANGE = 1 / 255


def swapped(generated: np.ndarray, held_out: Pairs, seed: int) -> Measure:
    """Whether a picture drawn from another pair's sound is nearer to that pair's real picture than to the own one.

    Args:
        generated: pictures (n, size, size, channels) in [-1, 1], from each pair's own sound.
        held_out: the held-out pairs.
        seed: of which sound goes to which pair, as the shuffled control's.
    """
    donors = shuffled_rows(len(held_out), seed)
    made, real = _flat(generated)[donors], _flat(scaled(held_out.images))
    to_own, to_donor = (np.square(made - target).mean(axis=1) for target in (real, real[donors]))
    # Half of the ties count: a model that gives one picture for everything follows nothing.
    follows = (to_donor < to_own).mean() + 0.5 * (to_donor == to_own).mean()
    return Measure("follows a swapped sound", float(follows), 0.5, "nearer to the real picture of the sound it heard")


def found_in_galleries(generated: np.ndarray, held_out: Pairs, seed: int) -> Measure:
    """R@1 of `retrieval`, but among 120 held-out pairs at a time; mean of 20 galleries."""
    made, real = _flat(generated), _flat(scaled(held_out.images))
    distances = np.square(real).sum(axis=1) - 2 * made @ real.T
    rows = list(_galleries(len(held_out), GALLERY, seed))
    value = np.mean([_first(-distances[np.ix_(part, part)]) for part in rows])
    n = len(rows[0])
    return Measure(f"finds its target among {n}", float(value), 1 / n, "R@1 of generated pictures, by squared error")


def named_sources(
    train: Pairs, held_out: Pairs, generated: np.ndarray, shuffled: np.ndarray, most: int = 200
) -> list[Measure]:
    """A reader of real training pictures names the source of generated ones.

    Returns:
        The share named rightly beside that on shuffled sounds; a source without training pairs counts as wrong. []
        where no held-out source occurs in training, there is one or more than `most`, or sources and labels are one.
    """
    known = set(train.sources)
    if not 2 <= len(known) <= most or known.isdisjoint(held_out.sources):
        return []
    if len(set(zip(train.sources, train.labels, strict=True))) == len(known) == len(set(train.labels)):
        return []
    reader = LabelProbe(train.images, train.sources)
    right, wrong, real = (
        float((reader.read(pictures) == held_out.sources).mean())
        for pictures in (generated, shuffled, scaled(held_out.images))
    )
    return [Measure("shows its own source", right, wrong, f"named by a reader that names {real:.0%} of real ones")]


def loudness(run: Run, to_inputs: Run, waveforms: np.ndarray, reader: FactorProbe | None) -> list[Measure]:
    """How pictures change as the same sounds get louder, from -18 to +6 dB.

    Args:
        run: inputs to pictures.
        to_inputs: sound (n, n_samples) in [-1, 1] to inputs.
        waveforms: held-out sounds; up to 64 of them, spread evenly, are heard.
        reader: of hidden factors, where there are any.

    Returns:
        The rank correlation of quietness and change of the picture, 0 where no change is large enough to be seen; with
        a reader, also of gain and mean reading for the factor that changes most.
    """
    sounds = waveforms[np.unique(np.linspace(0, len(waveforms) - 1, _MOST_SOUNDS).astype(int))]
    pictures = [run(to_inputs(np.clip(sounds * 10 ** (gain / 20), -1, 1).astype(np.float32))) for gain in GAINS_DB]
    zero = GAINS_DB.index(0.0)
    changes = [float(np.abs(drawn - pictures[zero]).mean()) for drawn in pictures[: zero + 1]]
    seen = max(changes) >= _LEAST_CHANGE
    order = _rank_correlation(-np.array(GAINS_DB[: zero + 1]), np.array(changes)) if seen else 0.0
    found = [Measure("changes more the quieter", order, 0.0, f"rank correlation; at -18 dB by {changes[0]:.3f} of 2")]
    if reader is not None:
        readings = np.array([reader.read(drawn).mean(axis=0) for drawn in pictures])
        spread = np.abs(readings[-1] - readings[0]) / reader.deviation
        most = int(spread.argmax())
        order = _rank_correlation(np.array(GAINS_DB), readings[:, most])
        values = ", ".join(f"{value:.2f}" for value in readings[:, most])
        found.append(Measure(f"louder is more {reader.names[most]}", order, 0.0, f"rank correlation; {values}"))
    return found


def variety(sample: Sample, held_out: Pairs, labels: LabelProbe | None, seed: int) -> list[Measure]:
    """How much pictures of one sound differ, and whether they still show the right label.

    Args:
        sample: draws several pictures of each sound.
        held_out: the held-out pairs; up to 256 of them, spread evenly, are drawn.
        labels: a reader of labels, where there are labels.
        seed: of the draws.

    Returns:
        Mean distance of two of 8 pictures of a sound, relative to that of two real pictures of its label (any two where
        there are no labels); and how many of them are named rightly, beside real pictures.
    """
    rows = np.unique(np.linspace(0, len(held_out) - 1, _MOST_DRAWN).astype(int))
    drawn = sample(held_out.inputs[rows], N_SAMPLES, seed)
    apart = np.mean([_mean_distance(_flat(pictures)) for pictures in drawn])
    real = _flat(scaled(held_out.images))
    groups = [real[held_out.labels == name] for name in np.unique(held_out.labels)]
    expected = np.average([_mean_distance(g) for g in groups], weights=[len(g) for g in groups])
    words = f"distance of two pictures of a sound {apart:.3f}, of two real ones {expected:.3f}"
    found = [Measure("variety of samples", float(apart / expected), 1.0, words)]
    if labels is not None:
        read = labels.read(drawn.reshape(-1, *drawn.shape[2:])).reshape(drawn.shape[:2])
        right = float((read == held_out.labels[rows, None]).mean())
        reached = float((labels.read(scaled(held_out.images)) == held_out.labels).mean())
        found.append(Measure("samples named rightly", right, reached, "beside it real pictures"))
    return found


def alignment(embed_inputs: Embed, embed_images: Embed, held_out: Pairs, seed: int) -> list[Measure]:
    """Retrieval between sounds and real pictures among 100 held-out pairs, mean of 20 galleries."""
    heard, seen = embed_inputs(held_out.inputs), embed_images(scaled(held_out.images))
    near = heard @ seen.T
    rows = list(_galleries(len(held_out), ALIGNED_GALLERY, seed))
    n = len(rows[0])
    there, back = (np.mean([_first(side[np.ix_(part, part)]) for part in rows]) for side in (near, near.T))
    found = [
        Measure(f"sound finds its picture among {n}", float(there), 1 / n, "R@1 of the very pair"),
        Measure(f"picture finds its sound among {n}", float(back), 1 / n, "R@1 of the very pair"),
    ]
    if len(set(held_out.labels)) > 1:
        names = held_out.labels
        hits = np.mean([(names[part][near[np.ix_(part, part)].argmax(axis=1)] == names[part]).mean() for part in rows])
        chance = float(np.square(np.unique(names, return_counts=True)[1] / len(names)).sum())
        found.append(Measure("sound finds a picture of its label", float(hits), chance, f"the first among {n}"))
    return found


def _flat(pictures: np.ndarray) -> np.ndarray:
    return thumbnails(pictures).reshape(len(pictures), -1).astype(np.float64)


def _galleries(n: int, size: int, seed: int):
    """Rows of 20 random subsets; of all where there are no more."""
    random = np.random.default_rng(seed)
    for _ in range(_N_GALLERIES if n > size else 1):
        yield random.permutation(n)[:size]


def _first(near: np.ndarray) -> float:
    """Share of rows whose own column is the nearest; ties shared."""
    own = np.diagonal(near)[:, None]
    best = own[:, 0] >= near.max(axis=1) - 1e-9
    return float((best / (np.abs(near - own) <= 1e-9).sum(axis=1)).mean())


def _mean_distance(rows: np.ndarray) -> float:
    """Mean over all pairs of the root mean square difference."""
    if len(rows) < 2:
        return 0.0
    squares = np.square(rows).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)[np.triu_indices(len(rows), 1)]
    return float(np.sqrt(distances / rows.shape[1]).mean())


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, for values of which no two are equal; 0 where `y` doesn't change at all."""
    ranks = [np.argsort(np.argsort(values)) for values in (x, y)]
    return 0.0 if np.ptp(y) < 1e-9 else float(np.corrcoef(*ranks)[0, 1])
