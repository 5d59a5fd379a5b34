"""`fit_image_to_audio`: from a records folder to a trained network from images to audio, in a run folder."""

import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_a2i.errors import UsageError
from keras_a2i.layers import LogMel, StyleSampling
from keras_a2i.losses.log_mel_error import FLOOR, LogMelError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.models.image_to_audio import MIN_DURATION, ImageToAudio, spectrogram_encoder
from keras_a2i.optimizers import make_adam
from keras_a2i.records.decoded_split import DecodedSplit
from keras_a2i.records.orders import Shuffled, WithinLabel
from keras_a2i.records.records import Records, as_records
from keras_a2i.training.run_folder import IMAGE_TO_AUDIO, RunFolder
from keras_a2i.training.run_training import MAX_SCORED, RunTraining, train_into
from keras_a2i.training.sample_sheets import N_SAMPLES, Sheets

_LEARNING_RATE, _STYLE_WEIGHT = 2e-3, 0.03
_LABEL_WEIGHT = 0.5
_LEAST_DEVIATION = 0.1
_LOUDEST_SHOWN = 5.0
_AT_ONCE = 64


def fit_image_to_audio(
    records: str | pathlib.Path | Records,
    out: str | pathlib.Path,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    style_weight: float | None = None,
    seed: int | None = None,
    shuffle_within_label: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    command: str = "",
) -> ImageToAudio:
    """Trains a network from the images of records to the log-mel spectrograms of their audio.

    The bands are normalised by statistics in which every source (for example, a speaker) has the same weight. The run
    folder holds `model.keras`, `config.json`, `history.csv` and `samples/epoch_*.png`: images of held-out pairs, the
    spectrograms of their audio and the generated ones. The same seed yields the same model on one CPU, also if the
    training is interrupted and resumed.

    Args:
        records: the records folder, or `Records`, with audio.
        out: the run folder to create.
        epochs: epochs over the training pairs; None is 20, or more to reach 1,500 steps.
        batch_size: pairs per step; None is 32.
        learning_rate: peak of the learning rate, which then decays to 0; None is 0.002.
        style_weight: weight of the KL divergence of the styles from a normal distribution; None is 0.03. With a larger
            weight, the generated audio is blurred; with a smaller weight, more of the content is in the style.
        seed: random seed of weights, shuffling and dropout; None is 0.
        shuffle_within_label: pair each clip in every epoch with the image of another training pair of its label, for
            data in which image and audio have nothing in common but the label. None does this for labelled clips,
            unless they are moments of longer recordings.
        resume: continue the run in `out`. Arguments that are None keep their values; only `epochs` can change.
        overwrite: replace a run in `out`.
        callbacks: additional Keras callbacks.
        verbose: as for `keras.Model.fit`.
        command: stored in `config.json`.

    Returns:
        The trained model, which is also in `out/model.keras`.

    Raises:
        UsageError: if `out` holds a run and neither `resume` nor `overwrite` is set, the records hold no audio or clips
            of less than 0.25 s, or an argument is out of range.
        LockedError: if another process is writing into `out`.
        TrainingInterrupted: after Ctrl-C; the last complete epoch is saved.
        KerasA2IError: if the loss is no longer finite.

    Example:
        >>> import keras_a2i as a2i
        >>> model = a2i.fit_image_to_audio("records", "run", epochs=30)  # doctest: +SKIP
    """
    records = as_records(records)
    _check_records(records)
    for name, value in (("learning_rate", learning_rate), ("style_weight", style_weight)):
        if value is not None and not 0 < value <= 1:
            raise UsageError(f"{name} must lie in (0, 1]. Received: {name}={value!r}")
    return train_into(
        RunFolder(out),
        _Training,
        records,
        options={"epochs": epochs, "batch_size": batch_size, "seed": seed},
        recipe={
            "learning_rate": learning_rate,
            "style_weight": style_weight,
            "shuffle_within_label": shuffle_within_label,
        },
        resume=resume,
        overwrite=overwrite,
        callbacks=callbacks,
        verbose=verbose,
        command=command,
    ).model


def _check_records(records: Records) -> None:
    if not records.has_waveform:
        raise UsageError(
            f"The records must hold audio. Received: records of {records.features.description} without audio. Build "
            "them from audio and images"
        )
    if records.features.duration < MIN_DURATION:
        raise UsageError(
            f"The clips of the records must last {MIN_DURATION:g} s or more. Received: {records.features.duration:g} s"
        )


class _Training(RunTraining):
    """See `fit_image_to_audio`."""

    recipe_name = IMAGE_TO_AUDIO
    model: ImageToAudio

    @classmethod
    def default_recipe(cls, records: Records) -> dict[str, Any]:
        is_continuous = all(source.get("continuous") for source in records.manifest.sources)
        return {
            "learning_rate": _LEARNING_RATE,
            "style_weight": _STYLE_WEIGHT,
            "shuffle_within_label": bool(records.labels) and not is_continuous,
        }

    def build(self) -> None:
        config, labels = self.config, self.records.labels
        self.model = _build_model(self.records)
        # Compiled apart: a compiled model would store its optimizer.
        self.n_labels = len(labels) if len(labels) > 1 else 0
        self.network = training_network(self.model, config.recipe["style_weight"], self.n_labels, config.seed)
        rate = keras.optimizers.schedules.CosineDecay(config.recipe["learning_rate"], self.total_steps)
        compile_training(self.network, make_adam(rate, global_clipnorm=1.0), self.records.features.sample_rate)

    def pairs(self) -> Any:
        order = WithinLabel if self.config.recipe["shuffle_within_label"] and self.records.labels else Shuffled
        pairs = self.records.dataset(
            "train",
            self.config.batch_size,
            input="waveform",
            order=order(self.config.seed, self.epoch),
            seed=self.config.seed,
            labels=self.n_labels > 0,
        )
        if not self.n_labels:
            return pairs.map(lambda waveforms, images: ((images, waveforms), waveforms))
        return pairs.map(lambda waveforms, shown: ((shown[0], waveforms), (waveforms, shown[1])))

    def held_out(self) -> Any:
        if "val" not in self.records.counts:
            return None
        sample = self.records.sample_pairs("val", MAX_SCORED, "waveform")
        targets = (sample.inputs, sample.label_numbers) if self.n_labels else sample.inputs
        return (from_uint8(sample.images), sample.inputs), targets

    def sheets(self) -> Sheets:
        return _SpectrogramSheets(self.folder, self.model, self.records, self.config.epochs)


def training_network(model: ImageToAudio, style_weight: float, n_labels: int, seed: int) -> keras.Model:
    """The network that is trained: [images, waveforms] to spectrograms, whose style is inferred from the waveforms.

    With labels, its second output is their logits, computed of what the image encoder passes on: the encoder then tells
    the images apart long before the spectrograms alone would teach it.
    """
    image = keras.Input(model.image.shape, name="image")
    waveform = keras.Input((model.n_samples,), name="waveform")
    values = keras.ops.maximum(model.log_mel(waveform), FLOOR)
    values = (values - model.band_mean) / model.band_deviation
    inferred = spectrogram_encoder(values.shape[1], 2 * model.style_units)(values)
    style = StyleSampling(style_weight, seed, name="style_sampling")(inferred)
    both = keras.Model(model.inputs, [model.outputs[0], model.get_layer("latent").output], name="image_to_audio")
    spectrogram, latent = both([image, style])
    outputs = [spectrogram]
    if n_labels:
        outputs.append(keras.layers.Dense(n_labels, dtype="float32", name="labels")(latent))
    return keras.Model([image, waveform], outputs, name="image_to_audio_training")


def compile_training(network: keras.Model, optimizer: keras.optimizers.Optimizer, sample_rate: int) -> None:
    """Compiles a `training_network`."""
    losses: list[Any] = [LogMelError(sample_rate)]
    if len(network.outputs) > 1:
        losses.append(keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="labels"))
    network.compile(optimizer, losses, loss_weights=[1.0, _LABEL_WEIGHT][: len(losses)])


class _SpectrogramSheets(Sheets):
    """Sheets of held-out pairs: images, spectrograms of their audio, and generated ones."""

    def __init__(self, folder: RunFolder, network: ImageToAudio, records: Records, epochs: int):
        super().__init__(folder, epochs)
        split = "val" if "val" in records.counts else "train"
        self._sample, self._network = records.sample_pairs(split, N_SAMPLES, "waveform"), network

    def draw(self) -> Image.Image:
        real = _spectrograms(self._network.log_mel, self._sample)
        generated = self._network.predict_log_mel(from_uint8(self._sample.images))
        rows = [self._sample.images, spectrogram_images(real), spectrogram_images(generated)]
        return draw_sheet(rows, ["image", "real", "generated"])


def spectrogram_images(log_mel: np.ndarray) -> np.ndarray:
    """Returns log-mel spectrograms (n, n_frames, n_mels) as grey images, uint8 (n, n_mels, n_frames, 1): time runs to
    the right, frequency upwards, and white is loud."""
    scaled = np.clip((log_mel - FLOOR) / (_LOUDEST_SHOWN - FLOOR), 0, 1)
    return np.rint(255 * scaled.transpose(0, 2, 1)[:, ::-1, :, None]).astype(np.uint8)


def _build_model(records: Records) -> ImageToAudio:
    features, image = records.features, records.image
    return ImageToAudio(
        image_size=image.size,
        channels=image.channels,
        sample_rate=features.sample_rate,
        duration=features.duration,
        normalization=_band_statistics(records),
    )


def _band_statistics(records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every band over the training clips, in which every source counts the same."""
    log_mel = LogMel.for_inversion(records.features.sample_rate)
    sums: dict[str, np.ndarray] = {}
    for pairs in records.stream("train", "waveform", _AT_ONCE):
        values = _spectrograms(log_mel, pairs).astype(np.float64)
        moments = np.stack([np.ones_like(values), values, values**2], axis=1).sum(axis=2)
        for source in np.unique(pairs.sources):
            part = moments[pairs.sources == source].sum(axis=0)
            sums[source] = part if source not in sums else sums[source] + part
    means, squares = np.mean([(total[1] / total[0], total[2] / total[0]) for total in sums.values()], axis=0)
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    return means, np.maximum(deviations, _LEAST_DEVIATION)


def _spectrograms(log_mel: LogMel, pairs: DecodedSplit) -> np.ndarray:
    return np.maximum(keras.ops.convert_to_numpy(log_mel(pairs.inputs)), FLOOR)
