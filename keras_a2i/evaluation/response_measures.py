"""Measures of how the images respond to the audio: swapped, louder, sampled, and in the space of an alignment."""

from collections.abc import Iterator

import numpy as np

from keras_a2i.evaluation.contenders import shuffled_rows
from keras_a2i.evaluation.measures import Evidence, Value, measure, shared
from keras_a2i.evaluation.pairs import MEMORY_BUDGET, chunks_of, rows_that_fit, scaled, to_vectors
from keras_a2i.evaluation.pairs import thumbnails as thumbnails_in
from keras_a2i.evaluation.probes import SOURCE_STEPS, LabelProbe
from keras_a2i.evaluation.report_format import percent
from keras_a2i.spread import spread_rows

GAINS_DB = (-18.0, -12.0, -6.0, 0.0, 6.0)
GALLERY = 120
ALIGNED_GALLERY = 100
_N_GALLERIES = 20
_MAX_WAVEFORMS, _MAX_SAMPLED, _MAX_GROUP, _MAX_SOURCES = 64, 256, 2000, 200
_WAVEFORMS_AT_ONCE = 16
# Half a level of 8 bits in [-1, 1]: less isn't seen in a file.
_LEAST_CHANGE = 1 / 255

_NO_SAMPLES = "the model has no style: it generates one image per clip"
_NO_EMBEDDERS = "the training of the model aligned no embeddings of audio and images"
_NO_WAVEFORM = "the records hold no waveforms"
_ALIGNED = "in the common embedding space of audio and images; reference: chance"
_SWAPPED = "share of images from another pair's audio that are nearer to its real image; reference: chance"


@measure("swapped", "accuracy for swapped audio")
def swapped(evidence: Evidence) -> Value:
    """Whether an image of another pair's audio is nearer to that pair's real image than to the own one."""
    donors = evidence.donors
    if donors is None:
        donors = shuffled_rows(len(evidence.held_out), evidence.seed)
    follows = []
    for rows in chunks_of(len(donors)):
        generated, own, donor = (
            to_vectors(images)
            for images in (
                evidence.generated_thumbnails[donors[rows]],
                evidence.real_thumbnails[rows],
                evidence.real_thumbnails[donors[rows]],
            )
        )
        to_own, to_donor = (np.square(generated - target).mean(axis=1) for target in (own, donor))
        # Half of the ties count: a model that generates one image for everything follows nothing.
        follows.append((to_donor < to_own) + 0.5 * (to_donor == to_own))
    return Value(np.concatenate(follows).mean(), 0.5, _SWAPPED)


@measure("gallery", "recall@1, generated to real image")
def found_in_galleries(evidence: Evidence) -> Value | str:
    """R@1 of generated images among 120 held-out pairs at a time; mean of 20 galleries."""
    if evidence.held_out.references is not None:
        return "the reference image of the model reveals the source"
    found = []
    galleries = list(_galleries(len(evidence.held_out), GALLERY, evidence.seed))
    for rows in galleries:
        made, real = to_vectors(evidence.generated_thumbnails[rows]), to_vectors(evidence.real_thumbnails[rows])
        found.append(_first(2 * made @ real.T - np.square(real).sum(axis=1)))
    n = len(galleries[0])
    return Value(
        np.mean(found),
        1 / n,
        "the real image of the pair is the nearest, by squared error; reference: chance",
        f"recall@1, generated to real image, among {n}",
    )


@measure("own-source", "source accuracy of a probe")
def own_source(evidence: Evidence) -> Value | str:
    """A probe of real training images predicts the source of generated ones; unknown sources count as wrong.

    A probe that can't tell the sources of real images apart judges nothing.
    """
    train, held_out = evidence.train, evidence.held_out
    known = set(train.sources)
    if not 2 <= len(known) <= _MAX_SOURCES or known.isdisjoint(held_out.sources):
        return f"it needs 2 to {_MAX_SOURCES} training sources, and held-out pairs of these sources"
    if len(set(zip(train.sources, train.labels, strict=True))) == len(known) == len(set(train.labels)):
        return "sources and labels coincide: see the label accuracy"
    probe = LabelProbe(train.images, train.sources, SOURCE_STEPS)
    right, wrong, real = (
        float((probe.read(images) == held_out.sources).mean())
        for images in (evidence.generated, evidence.shuffled, held_out.images)
    )
    # Sources that the probe can't know are no reason to doubt it.
    counts = np.unique(held_out.sources[np.isin(held_out.sources, list(known))], return_counts=True)[1]
    most_frequent = counts.max() / len(held_out)
    if real <= most_frequent:
        return (
            f"its probe has an accuracy of {percent(real, 0)} on real images, no more than the most frequent source "
            f"({percent(most_frequent, 0)})"
        )
    explanation = f"probe with an accuracy of {percent(real, 0)} on real images; reference: shuffled audio"
    return Value(right, wrong, explanation)


@measure("quieter", "image change vs. attenuation")
def changes_more_the_quieter(evidence: Evidence) -> Value | str:
    """The rank correlation of quietness and change of the image, 0 where no change is large enough to be seen."""
    if evidence.held_out.waveforms is None:
        return _NO_WAVEFORM
    changes, _ = _at_gains(evidence)
    zero = GAINS_DB.index(0.0)
    order = _rank_correlation(-np.array(GAINS_DB[: zero + 1]), changes[: zero + 1])
    seen = changes[: zero + 1].max() >= _LEAST_CHANGE
    words = f"rank correlation, 0 to -18 dB; mean change at -18 dB {changes[0]:.3f} of 2; reference: no correlation"
    return Value(order if seen else 0.0, 0.0, words)


@measure("louder", "hidden factor vs. level")
def louder_is_more(evidence: Evidence) -> Value | str:
    """The rank correlation of gain and of the mean of the hidden factor that changes most, as a probe reads it."""
    if evidence.held_out.waveforms is None:
        return _NO_WAVEFORM
    if evidence.factors is None:
        return "the pairs have no hidden factors"
    _, readings = _at_gains(evidence)
    most = int((np.abs(readings[-1] - readings[0]) / evidence.factors.deviation).argmax())
    order = _rank_correlation(np.array(GAINS_DB), readings[:, most])
    values = ", ".join(f"{value:.2f}" for value in readings[:, most])
    words = f"rank correlation, -18 to 6 dB; by a probe {values}; reference: no correlation"
    return Value(order, 0.0, words, f"hidden factor {evidence.factors.names[most]} vs. level")


@measure("variety", "variety of samples", better="one")
def variety(evidence: Evidence) -> Value | str:
    """Mean distance of two samples of one audio, relative to that of two real images of its label (any two without)."""
    if evidence.sample is None:
        return _NO_SAMPLES
    apart = np.mean([_mean_distance(to_vectors(samples)) for samples in _samples(evidence)[0]])
    labels = evidence.held_out.labels
    groups = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    distances = [
        _mean_distance(to_vectors(evidence.real_thumbnails[rows[spread_rows(len(rows), _MAX_GROUP)]]))
        for rows in groups
    ]
    expected = np.average(distances, weights=[len(rows) for rows in groups])
    words = f"distance of two samples of a clip {apart:.3f}, of two real images {expected:.3f}; reference: real images"
    return Value(apart / expected, 1.0, words)


@measure("sample-labels", "label accuracy of samples")
def sample_labels(evidence: Evidence) -> Value | str:
    """How many samples a probe names rightly."""
    if evidence.sample is None:
        return _NO_SAMPLES
    if evidence.labels is None:
        return "the pairs have no labels"
    _, rows, named = _samples(evidence)
    labels = evidence.held_out.labels
    right = np.mean(named == labels[rows, None])
    reached = (evidence.labels.read(evidence.held_out.images) == labels).mean()
    return Value(right, reached, "by the probe for labels; reference: real images")


@measure("audio-to-image", "recall@1, audio to image")
def audio_finds_its_image(evidence: Evidence) -> Value | str:
    """Retrieval of the pair's own real image by its audio among 100 held-out pairs, mean of 20 galleries."""
    if evidence.embedders is None:
        return _NO_EMBEDDERS
    values = [_first(near) for _, near in _aligned_galleries(evidence)]
    n = min(ALIGNED_GALLERY, len(evidence.held_out))
    return Value(float(np.mean(values)), 1 / n, _ALIGNED, f"recall@1, audio to image, among {n}")


@measure("image-to-audio", "recall@1, image to audio")
def image_finds_its_audio(evidence: Evidence) -> Value | str:
    """Retrieval of the pair's own audio by its real image, as `audio_finds_its_image`."""
    if evidence.embedders is None:
        return _NO_EMBEDDERS
    values = [_first(near.T) for _, near in _aligned_galleries(evidence)]
    n = min(ALIGNED_GALLERY, len(evidence.held_out))
    return Value(float(np.mean(values)), 1 / n, _ALIGNED, f"recall@1, image to audio, among {n}")


@measure("audio-to-label", "label precision@1, audio to image")
def audio_finds_its_label(evidence: Evidence) -> Value | str:
    """How often the image that is nearest to an audio has its label."""
    if evidence.embedders is None:
        return _NO_EMBEDDERS
    names = evidence.held_out.labels
    if len(set(names)) < 2:
        return "the pairs have no labels"
    hits = [(names[rows][near.argmax(axis=1)] == names[rows]).mean() for rows, near in _aligned_galleries(evidence)]
    chance = np.square(np.unique(names, return_counts=True)[1] / len(names)).sum()
    n = min(ALIGNED_GALLERY, len(names))
    return Value(np.mean(hits), chance, f"the nearest of {n} images has the label of the audio; reference: chance")


@shared
def _at_gains(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """For each of `GAINS_DB` the mean change of the images against 0 dB, and the mean readings of the factors."""
    to_inputs = evidence.to_inputs
    assert evidence.held_out.waveforms is not None and to_inputs is not None
    chosen = spread_rows(len(evidence.held_out), _MAX_WAVEFORMS)

    def images_at(gain: float, waveforms: np.ndarray) -> np.ndarray:
        louder = np.clip(waveforms * 10 ** (gain / 20), -1, 1).astype(np.float32)
        return evidence.predict_fn(to_inputs(louder))

    changes: list[list[np.ndarray]] = [[] for _ in GAINS_DB]
    readings: list[list[np.ndarray]] = [[] for _ in GAINS_DB]
    for rows in chunks_of(len(chosen), _WAVEFORMS_AT_ONCE):
        waveforms = evidence.held_out.waveforms[chosen[rows]]
        found = [images_at(gain, waveforms) for gain in GAINS_DB]
        for i, images in enumerate(found):
            changes[i].append(np.abs(images - found[GAINS_DB.index(0.0)]).mean(axis=(1, 2, 3)))
            if evidence.factors:
                readings[i].append(evidence.factors.read(images))
    means = [np.concatenate(values).mean() for values in changes]
    return np.array(means), np.array([np.concatenate(values).mean(axis=0) for values in readings if values])


@shared
def _samples(evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Samples of at most 256 held-out pairs, spread evenly.

    Returns:
        Thumbnails (n, samples, values), the rows, and the labels that a probe predicts (n, samples) where there is one.
    """
    assert evidence.sample is not None
    held_out, n = evidence.held_out, evidence.n_samples
    rows = spread_rows(len(held_out), _MAX_SAMPLED)
    each = 4 * n * int(np.prod(held_out.images.shape[1:]))
    small, named = [], []
    for part in chunks_of(len(rows), max(1, MEMORY_BUDGET // 2 // each)):
        samples = np.asarray(evidence.sample(held_out.inputs[rows[part]], n, evidence.seed), np.float32)
        flat = samples.reshape(-1, *samples.shape[2:])
        small.append(thumbnails_in(flat).reshape(*samples.shape[:2], -1))
        if evidence.labels is not None:
            named.append(evidence.labels.read(flat).reshape(samples.shape[:2]))
    return np.concatenate(small), rows, np.concatenate(named) if named else None


@shared
def _aligned_galleries(evidence: Evidence) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and similarities (audio, image) of 20 random subsets of 100 held-out pairs."""
    assert evidence.embedders is not None
    embed_inputs, embed_images = evidence.embedders
    held_out = evidence.held_out
    step = rows_that_fit(held_out.images)
    audio = np.concatenate([embed_inputs(held_out.inputs[rows]) for rows in chunks_of(len(held_out), step)])
    images = np.concatenate([embed_images(scaled(held_out.images[rows])) for rows in chunks_of(len(held_out), step)])
    galleries = _galleries(len(held_out), ALIGNED_GALLERY, evidence.seed)
    return [(rows, audio[rows] @ images[rows].T) for rows in galleries]


def _galleries(n: int, size: int, seed: int) -> Iterator[np.ndarray]:
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
    """Spearman's, with ties at their mean rank; 0 where `y` doesn't change at all."""
    if np.ptp(y) < 1e-9:
        return 0.0
    ranks = [(np.sum(v[:, None] > v, axis=1) + np.sum(v[:, None] >= v, axis=1)) / 2 for v in (x, y)]
    return float(np.corrcoef(*ranks)[0, 1])
