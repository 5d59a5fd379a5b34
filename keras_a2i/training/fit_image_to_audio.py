"""`fit_image_to_audio`: from a records folder to a trained network from images to audio, in a run folder."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.layers import LogMel, StyleSampling
from keras_a2i.losses.log_mel_error import FLOOR, LogMelError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.durable import replace_durably
from keras_a2i.media.folder_lock import folder_lock
from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.models.image_to_audio import MIN_DURATION, ImageToAudio, spectrogram_encoder
from keras_a2i.optimizers import make_adam
from keras_a2i.records.decoded_split import DecodedSplit
from keras_a2i.records.orders import Shuffled, WithinLabel
from keras_a2i.records.records import Records, as_records
from keras_a2i.training.callbacks import Checkpoint, History
from keras_a2i.training.early_end import assign_state, check_finite, records_read, save_interrupted
from keras_a2i.training.fit import check_unchanged
from keras_a2i.training.run_folder import IMAGE_TO_AUDIO, RunConfig, RunFolder
from keras_a2i.training.trainer import Epoch, count_trainable
from keras_a2i.version import library_versions

_BATCH_SIZE, _LEARNING_RATE, _STYLE_WEIGHT = 32, 2e-3, 0.03
_LABEL_WEIGHT = 0.5
_MIN_EPOCHS, _MIN_STEPS = 20, 1500
_MAX_SCORED, _N_SAMPLES, _MAX_SHEETS = 128, 8, 20
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

    The bands are normalised by statistics in which every source (a speaker, say) counts the same. The run folder holds
    `model.keras`, `config.json`, `history.csv` and `samples/epoch_*.png`: images of held-out pairs, the spectrograms of
    their audio and the generated ones. The same seed gives the same model on one CPU, also after a resumed training.

    Args:
        records: the records folder, or `Records`, with audio.
        out: the run folder to create.
        epochs: epochs over the training pairs; None is 20, or more to reach 1,500 steps.
        batch_size: pairs per step; None is 32.
        learning_rate: peak of the learning rate, which then decays to 0; None is 0.002.
        style_weight: weight of the divergence of the styles from a normal distribution; None is 0.03. A larger one
            makes the generated audio blurred, a smaller one leaves more of the content to the style.
        seed: random seed of weights, shuffling and dropout; None is 0.
        shuffle_within_label: pair each clip in every epoch with the image of another training pair of its label, for
            pairs whose label is all that image and audio share. None does so for labelled clips that aren't moments of
            longer recordings.
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
    records, folder = as_records(records), RunFolder(out)
    _check_records(records)
    if resume and overwrite:
        raise UsageError(
            "resume and overwrite are mutually exclusive. Received: resume=True, overwrite=True. Choose one"
        )
    for name, value in (("learning_rate", learning_rate), ("style_weight", style_weight)):
        if value is not None and not 0 < value <= 1:
            raise UsageError(f"{name} must lie in (0, 1]. Received: {name}={value!r}")
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    given = {name: value for name, value in given.items() if value is not None}
    recipe = {
        "learning_rate": learning_rate,
        "style_weight": style_weight,
        "shuffle_within_label": shuffle_within_label,
    }
    recipe = {name: value for name, value in recipe.items() if value is not None}
    # Before the lock, which creates the folder.
    if resume:
        folder.read_config()
    else:
        folder.check_free(overwrite=overwrite)
    with folder_lock(folder.path):
        if resume:
            before = folder.read_config()
            config = dataclasses.replace(before, **given, recipe=before.recipe | recipe)
            _check_resumed(before, config, records)
        else:
            folder.check_free(overwrite=overwrite, is_locked=True)
            config = _new_config(records, given, recipe, command)
        return _Training(folder, config, records, resume).run(callbacks, verbose)


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


def _new_config(records: Records, given: dict[str, Any], recipe: dict[str, Any], command: str) -> RunConfig:
    batch_size = given.get("batch_size", _BATCH_SIZE)
    steps = math.ceil(records.counts.get("train", 0) / max(1, batch_size))
    is_continuous = all(source.get("continuous") for source in records.manifest.sources)
    return RunConfig(
        recipe={
            "name": IMAGE_TO_AUDIO,
            "learning_rate": _LEARNING_RATE,
            "style_weight": _STYLE_WEIGHT,
            "shuffle_within_label": bool(records.labels) and not is_continuous,
        }
        | recipe,
        records=str(records.path),
        fingerprint=records.fingerprint,
        monitor="val_loss",
        command=command,
        versions=library_versions("keras", keras.backend.backend(), "numpy"),
        **{"epochs": max(_MIN_EPOCHS, math.ceil(_MIN_STEPS / max(1, steps))), "batch_size": batch_size} | given,
    )


def _check_resumed(before: RunConfig, config: RunConfig, records: Records) -> None:
    if before.recipe.get("name") != IMAGE_TO_AUDIO:
        raise UsageError(
            f"A run that generates images is resumed by fit. Received: one of the recipe {before.recipe.get('name')!r}"
        )
    check_unchanged(before, config, records)
    for name, value in config.recipe.items():
        if before.recipe[name] != value:
            raise UsageError(f"{name} of a resumed run must stay {before.recipe[name]!r}. Received: {name}={value!r}")


class _Training:
    """One training, new or resumed from the state in its folder."""

    def __init__(self, folder: RunFolder, config: RunConfig, records: Records, resume: bool):
        self.folder, self.records = folder, records
        keras.utils.set_random_seed(config.seed)
        state, variables = folder.read_state() if resume else ({}, [])
        self.epoch, self._resume = Epoch(state.get("epoch", 0)), resume
        self.model = _build_model(records)
        self.config = dataclasses.replace(config, n_parameters=count_trainable(self.model), finished=False)
        # Compiled apart: a compiled model would store its optimizer.
        self.n_labels = len(records.labels) if len(records.labels) > 1 else 0
        self.network = training_network(self.model, config.recipe["style_weight"], self.n_labels, config.seed)
        steps = math.ceil(records.counts["train"] / config.batch_size) * config.epochs
        rate = keras.optimizers.schedules.CosineDecay(config.recipe["learning_rate"], steps)
        compile_training(self.network, make_adam(rate, global_clipnorm=1.0), records.features.sample_rate)
        if variables:
            assign_state(self.network, variables, folder)
        self.history: list[dict[str, float]] = state.get("history", [])

    def run(self, callbacks: Sequence[keras.callbacks.Callback], verbose: str | int) -> ImageToAudio:
        """Trains and saves; see `fit_image_to_audio`."""
        first = self.epoch.value
        if not self._resume:
            self.folder.clear()
        self.folder.create(self.config)
        checkpoint = Checkpoint(self.folder, first, lambda: {"history": list(self.history)})
        try:
            if first < self.config.epochs:
                with records_read():
                    self.network.fit(
                        self._pairs(),
                        validation_data=self._held_out(),
                        validation_batch_size=self.config.batch_size,
                        initial_epoch=first,
                        epochs=self.config.epochs,
                        callbacks=[*self._callbacks(checkpoint), *callbacks],
                        shuffle=False,
                        verbose=verbose,
                    )
        except KeyboardInterrupt:
            raise save_interrupted(
                checkpoint,
                self._save,
                command="fit-image-to-audio",
                records=self.records,
                epochs=self.config.epochs,
            ) from None
        check_finite(self.history, "Lower learning_rate")
        checkpoint.save()
        self._save()
        self.folder.create(dataclasses.replace(self.config, finished=True))
        return self.model

    def _pairs(self) -> Any:
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

    def _held_out(self) -> tuple[Any, Any] | None:
        if "val" not in self.records.counts:
            return None
        sample = self.records.sample_pairs("val", _MAX_SCORED, "waveform")
        targets = (sample.inputs, sample.label_numbers) if self.n_labels else sample.inputs
        return (from_uint8(sample.images), sample.inputs), targets

    def _callbacks(self, checkpoint: Checkpoint) -> list[keras.callbacks.Callback]:
        def set_epoch(epoch: int, logs: Any = None) -> None:
            self.epoch.value = epoch

        return [
            keras.callbacks.LambdaCallback(on_epoch_begin=set_epoch),
            History(self.folder, self.history),
            keras.callbacks.TerminateOnNaN(),
            checkpoint,
            _SpectrogramSheets(self.folder, self.model, self.records, self.config.epochs),
        ]

    def _save(self) -> None:
        temporary = self.folder.model.with_name(".model.tmp.keras")
        self.model.save(temporary)
        replace_durably(temporary, self.folder.model)


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


class _SpectrogramSheets(keras.callbacks.Callback):
    """Writes a sheet of held-out pairs every few epochs: images, spectrograms of their audio, and generated ones."""

    def __init__(self, folder: RunFolder, network: ImageToAudio, records: Records, epochs: int):
        super().__init__()
        split = "val" if "val" in records.counts else "train"
        self._sample = records.sample_pairs(split, _N_SAMPLES, "waveform")
        self._folder, self._network, self._epochs = folder, network, epochs
        self._every = max(1, math.ceil(epochs / _MAX_SHEETS))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs:
            real = _spectrograms(self._network.log_mel, self._sample)
            generated = self._network.predict_log_mel(from_uint8(self._sample.images))
            rows = [self._sample.images, spectrogram_images(real), spectrogram_images(generated)]
            sheet = draw_sheet(rows, ["image", "real", "generated"])
            save_png(sheet, self._folder.samples / f"epoch_{epoch + 1:04d}.png")


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
