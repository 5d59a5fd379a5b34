"""`calibrate`: calibrated class probabilities, and the answer "unknown", of a model that classifies."""

import pathlib

import numpy as np

from keras_a2i.datasets.foreign_audio import N_CLIPS, foreign_audio
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.audio_folder import read_folder_clips
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.classifier import can_classify, classify
from keras_a2i.models.label_calibration import LabelCalibration, fit_calibration
from keras_a2i.models.model_file import load_model, save_model
from keras_a2i.records.records import Records, as_records
from keras_a2i.remote.address import local_path
from keras_a2i.spread import spread_rows

MAX_PAIRS, MIN_PAIRS = 1000, 20


def calibrate(
    model: AudioToImage | str | pathlib.Path,
    records: Records | str | pathlib.Path,
    *,
    split: str = "val",
    foreign: str | pathlib.Path | None = None,
    seed: int = 0,
) -> LabelCalibration:
    """Fits the temperature of a model's class probabilities and the threshold of its answer "unknown".

    The temperature minimises the cross-entropy on up to 1,000 held-out pairs, in which every source has the same
    weight. Among the thresholds that call at most a tenth of the held-out clips unknown, the function chooses the one
    that best separates foreign from held-out clips. `fit` calls this function at its end for models that classify; call
    it again for a model of an earlier version, or to use your own foreign audio.

    Args:
        model: an `AudioToImage`, or the path of a run folder or `.keras` file, in which the values are stored.
        records: with the labels of the model.
        split: pairs that the model wasn't trained on.
        foreign: a folder of audio that belongs to none of the labels; None uses rendered audio: tones, noise, clicks,
            sweeps and speech.
        seed: random seed of the rendered audio.

    Returns:
        The values, which are also the model's attribute `calibration`; saving the model stores them.

    Raises:
        UsageError: if the model doesn't classify, or the records don't fit it.
        RecordsError: if the records lack the split, or 20 pairs in it whose labels the model knows.
        ModelError: if the path can't be loaded.
        SourceError: if `foreign` doesn't exist or holds no audio that can be read.

    Example:
        >>> import keras_a2i as a2i
        >>> a2i.calibrate("run", "records", foreign="other_audio")  # doctest: +SKIP
        LabelCalibration(temperature=1.02, threshold=11.9)
    """
    records = as_records(records)
    if isinstance(model, AudioToImage):
        return _calibrate(model, records, split, foreign, seed)
    path = local_path(model, "model")
    path = path / "model.keras" if path.is_dir() else path
    loaded, metadata = load_model(path)
    if not isinstance(loaded, AudioToImage):
        raise UsageError(f"model must be an AudioToImage to be calibrated. Received: {type(loaded).__name__} in {path}")
    calibration = _calibrate(loaded, records, split, foreign, seed)
    save_model(loaded, path, metadata.with_calibration(calibration))
    return calibration


def can_calibrate(model: AudioToImage, records: Records, split: str = "val") -> bool:
    """Whether a model classifies, and there are enough held-out pairs for `calibrate`."""
    return can_classify(model) and len(_known_rows(model, records, split)[0]) >= MIN_PAIRS


def _calibrate(
    model: AudioToImage, records: Records, split: str, foreign: str | pathlib.Path | None, seed: int
) -> LabelCalibration:
    if not can_classify(model):
        raise UsageError(
            "model must classify labels to be calibrated, as those of the recipes words-exemplars and "
            f"words-adversarial do. Received: {model.name}, which has no classifier and no labelled exemplars"
        )
    model.metadata.require_records(records.features, records.image)
    records.require_split(split, "A calibration needs held-out pairs", is_choice=True)
    rows, targets = _known_rows(model, records, split)
    if len(rows) < MIN_PAIRS:
        raise RecordsError(
            f"A calibration needs {MIN_PAIRS} held-out pairs or more with labels of the model. Received: {len(rows)} "
            f"in {split!r}"
        )
    pairs = records.rows(split, rows, model.input_kind)
    inputs, clips = pairs.inputs, None
    if foreign is not None:
        model.metadata.require_audio(str(foreign))
        clips = read_folder_clips(pathlib.Path(foreign), model.features, N_CLIPS).waveforms
    elif not model.features.embedding:
        clips = foreign_audio(N_CLIPS, model.features.n_samples, seed)
    if clips is not None and model.input_kind == "features":
        clips = mfcc(clips, model.features)
    foreign_logits = None if clips is None else classify(model, clips)
    model.calibration = fit_calibration(classify(model, inputs), targets, pairs.sources, foreign_logits)
    return model.calibration


def _known_rows(model: AudioToImage, records: Records, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns up to 1,000 rows of pairs whose label the model knows, and the numbers of these labels in the model."""
    if split not in records.counts:
        return np.zeros(0, int), np.zeros(0, int)
    numbers = {label: i for i, label in enumerate(model.labels or records.labels)}
    targets = np.array([numbers.get(label, -1) for label in records.table(split).labels])
    known = np.flatnonzero((targets >= 0) & (targets < model.n_labels))
    rows = known[spread_rows(len(known), MAX_PAIRS)]
    return rows, targets[rows]
