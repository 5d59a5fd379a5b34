"""`fit_audio_token`: from a records folder to an embedder of audio for a Stable Diffusion 3 model, in a run folder."""

import pathlib
from collections.abc import Sequence
from typing import Any

import keras
from PIL import Image

from keras_a2i.errors import UsageError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.models.audio_token import GUIDANCE_SCALE, AudioToken
from keras_a2i.models.model_file import AUDIO_TOKEN, save_model
from keras_a2i.models.token_diffusion import DiffusionConfig, import_keras_hub
from keras_a2i.models.token_embedder import TokenEmbedder
from keras_a2i.records.orders import Shuffled
from keras_a2i.records.records import Records, as_records
from keras_a2i.training.flow_training import FlowTraining
from keras_a2i.training.run_folder import RunConfig, RunFolder
from keras_a2i.training.run_training import MAX_SCORED, RunTraining, train_into
from keras_a2i.training.sample_sheets import Sheets

_PROMPT, _DTYPE, _LEARNING_RATE = "a photo of *", "bfloat16", 1e-4
_N_SHOWN, _SHEET_STEPS = 4, 20
_SHARE_OF_FINAL_RATE = 0.01


def fit_audio_token(
    records: str | pathlib.Path | Records,
    out: str | pathlib.Path,
    *,
    preset: str | pathlib.Path | None = None,
    prompt: str | None = None,
    frames: int | None = None,
    backbone_dtype: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    command: str = "",
) -> AudioToken:
    """Trains an embedder that turns audio into a token for a pretrained Stable Diffusion 3 model of KerasHub.

    The Stable Diffusion 3 model is frozen; its flow loss trains the embedder only. The run folder contains
    `model.keras` (the embedder, and the name of the preset), `config.json`, `history.csv` and `samples/epoch_*.png`.
    The same seed yields the same embedder on one CPU, also if the training is interrupted and resumed.

    Args:
        records: the records folder, or `Records`, with colour images, and with audio, which a new encoder embeds, or
            with vectors of another model such as BEATs or CLAP.
        out: the run folder to create.
        preset: name of a preset of KerasHub, or the path of a folder that `save_to_preset` wrote. Required for a new
            run.
        prompt: words separated by spaces, one of them "*", which the audio replaces; None is "a photo of *".
        frames: number of vectors over time that an embedding consists of; None is 1.
        backbone_dtype: "bfloat16", "float32" or "float16" for the frozen model; None is "bfloat16".
        epochs: epochs over the training pairs; None is 20, or more to reach 1,500 steps.
        batch_size: pairs per step; None is 8.
        learning_rate: peak of the learning rate, which then decays to a hundredth; None is 0.0001.
        seed: random seed of weights, shuffling and noise; None is 0.
        resume: continue the run in `out`. Arguments that are None keep their values; only `epochs` can change.
        overwrite: replace a run in `out`.
        callbacks: additional Keras callbacks.
        verbose: as for `keras.Model.fit`.
        command: stored in `config.json`.

    Returns:
        The embedder together with the diffusion model, which `AudioToken.generate` uses.

    Raises:
        MissingPackageError: if KerasHub isn't installed.
        UsageError: if `out` holds a run and neither `resume` nor `overwrite` is set, the records hold grey images, no
            preset is given, or an argument is out of range.
        ModelError: if the preset can't be loaded.
        LockedError: if another process is writing into `out`.
        TrainingInterrupted: after Ctrl-C; the last complete epoch is saved.
        KerasA2IError: if the loss is no longer finite.

    Reference:
        Yariv et al., "AudioToken: adaptation of text-conditioned diffusion models for audio-to-image generation", 2023
        (arXiv 2305.13050).

    Example:
        >>> import keras_a2i as a2i
        >>> model = a2i.fit_audio_token("records", "run", preset="stable_diffusion_3.5_medium")  # doctest: +SKIP
    """
    records = as_records(records)
    if records.image.channels != 3:
        raise UsageError(
            "The records must hold colour images, which a Stable Diffusion 3 model draws. Received: grey ones. Build "
            "them with channels=3 (--channels 3)"
        )
    if learning_rate is not None and not 0 < learning_rate <= 1:
        raise UsageError(f"learning_rate must lie in (0, 1]. Received: learning_rate={learning_rate!r}")
    if preset is None and not resume:
        raise UsageError(
            "preset must name the Stable Diffusion 3 model that a new run trains for, such as "
            f"stable_diffusion_3.5_medium. Received: {preset=}"
        )
    if preset is not None:
        # A folder is found again from everywhere.
        preset = str(pathlib.Path(preset).resolve() if pathlib.Path(preset).is_dir() else preset)
    import_keras_hub()
    training = train_into(
        RunFolder(out),
        _Training,
        records,
        options={"epochs": epochs, "batch_size": batch_size, "seed": seed},
        recipe={
            "preset": preset,
            "prompt": prompt,
            "backbone_dtype": backbone_dtype,
            "frames": frames,
            "learning_rate": learning_rate,
        },
        resume=resume,
        overwrite=overwrite,
        callbacks=callbacks,
        verbose=verbose,
        command=command,
    )
    return training.audio_token


class _Training(RunTraining):
    """See `fit_audio_token`."""

    recipe_name = AUDIO_TOKEN
    batch_size = 8
    model: TokenEmbedder

    @classmethod
    def default_recipe(cls, records: Records) -> dict[str, Any]:
        return {"prompt": _PROMPT, "backbone_dtype": _DTYPE, "frames": 1, "learning_rate": _LEARNING_RATE}

    def build(self) -> None:
        recipe, records = self.config.recipe, self.records
        self.input = "waveform" if records.has_waveform else "features"
        config = DiffusionConfig(
            preset=recipe["preset"],
            prompt=recipe["prompt"],
            dtype=recipe["backbone_dtype"],
            image_size=records.image.size,
        )
        diffusion = config.load()
        mean, deviation = records.feature_statistics()
        self.model = TokenEmbedder(
            config,
            token_dims=diffusion.token_dims,
            token_scales=diffusion.token_scales,
            features=records.features,
            input=self.input,
            frames=recipe["frames"],
            normalization=(mean, deviation**2) if self.input == "features" else None,
            labels=records.labels,
        )
        self.audio_token = AudioToken(self.model, diffusion)
        self.network = FlowTraining(self.model, diffusion, self.config.seed)
        rate = keras.optimizers.schedules.CosineDecay(
            recipe["learning_rate"], self.total_steps, alpha=_SHARE_OF_FINAL_RATE
        )
        self.network.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))

    def pairs(self) -> Any:
        order = Shuffled(self.config.seed, self.epoch)
        return self.records.dataset(
            "train", self.config.batch_size, input=self.input, order=order, seed=self.config.seed
        )

    def held_out(self) -> Any:
        if "val" not in self.records.counts:
            return None
        sample = self.records.sample_pairs("val", MAX_SCORED, self.input)
        return sample.inputs, from_uint8(sample.images)

    def sheets(self) -> Sheets:
        return _Sheets(self.folder, self.audio_token, self.records, self.input, self.config)

    def save_model(self, path: pathlib.Path) -> None:
        save_model(self.model, path, self.model.metadata)


class _Sheets(Sheets):
    """Sheets of a few held-out pairs: real images above generated ones."""

    def __init__(self, folder: RunFolder, audio_token: AudioToken, records: Records, input: str, config: RunConfig):
        super().__init__(folder, config.epochs)
        split = "val" if "val" in records.counts else "train"
        self._sample = records.sample_pairs(split, _N_SHOWN, input)
        self._audio_token, self._seed = audio_token, config.seed

    def draw(self) -> Image.Image:
        drawn = self._audio_token.generate(
            self._sample.inputs, steps=_SHEET_STEPS, guidance_scale=GUIDANCE_SCALE, seed=self._seed
        )
        return draw_sheet([self._sample.images, drawn], ["real", "generated"])
