"""One facade over every model format: sound or features in, pictures out."""

import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.exporters.runtime import load_saved_model, load_tflite
from keras_a2i.features.mfcc import mfcc
from keras_a2i.media.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, resample, stream_audio, to_mono
from keras_a2i.media.clips import cut_clips
from keras_a2i.media.conversion import from_int16, to_int16
from keras_a2i.models.model_file import ModelMetadata, load_model
from keras_a2i.sources.vectors import VECTOR_SUFFIXES, checked_parts, read_vectors

if TYPE_CHECKING:
    import keras

BATCH = 32
Run = Callable[[np.ndarray], np.ndarray]


class Predictor:
    """A loaded model with the feature and image configurations it was made for.

    Args:
        run: float32 inputs (batch, n_inputs) to pictures (batch, size, size, channels) in [-1, 1].
        metadata: what it takes and gives.
        encode: the first half of `run`, inputs to latent vectors (batch, n_latent); None where it can't be cut in two.
        generate: the second half, latent vectors to pictures.
    """

    def __init__(self, run: Run, metadata: ModelMetadata, encode: Run | None = None, generate: Run | None = None):
        self._run, self._encode, self._generate = run, encode, generate
        self.metadata = metadata

    def predict(self, sound: np.ndarray | str | pathlib.Path, sample_rate: int | None = None) -> np.ndarray:
        """Pictures for sound, a sound file, features or embeddings.

        Sound gives one picture for each window (a second unless configured otherwise), the last filled with silence.

        Args:
            sound: a sound file; or samples (n,) or (n, channels), float in [-1, 1] or int16, at least one; or, without
                a sample rate, features (batch, n_features). For a model of embeddings: vectors (batch, n) or (n,), or a
                `.npy` or `.npz` file of them.
            sample_rate: of the samples, 1,000 to 768,000 Hz.

        Returns:
            float32 (n_frames, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the sound is empty, not finite or has its channels first, the rate is out of range,
                features have another length than the model takes, or a model of embeddings is given sound.
            SourceError: if the file can't be read as sound, or as vectors of the model's length.
        """
        if isinstance(sound, str | pathlib.Path):
            return np.concatenate(list(self.stream_file(sound)))
        if sample_rate is None:
            return self.predict_features(sound)
        self.metadata.require_audio(f"samples at {sample_rate} Hz")
        return self.predict_clips(self._cut(_check_sound(np.asarray(sound)), sample_rate))

    def predict_features(self, features: np.ndarray) -> np.ndarray:
        """Pictures for feature vectors.

        Args:
            features: (batch, n_features); a single embedding may be (n_features,).

        Returns:
            float32 (batch, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the features have another length or aren't finite, or the model takes sound itself.
        """
        features = np.asarray(features, dtype=np.float32)
        if self.metadata.input != "features":
            raise UsageError(
                f"This model takes sound, not features: give predict a sample_rate. Received: shape {features.shape}"
            )
        if self.metadata.features.embedding and features.ndim == 1:
            features = features[None]
        return self.predict_inputs(features)

    def predict_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Pictures for what the model itself takes, as records hold it: features or sound, by `metadata.input`.

        Args:
            inputs: float32 (batch, n_inputs).

        Returns:
            float32 (batch, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the inputs have another length or aren't finite.
        """
        wanted = self.metadata.n_inputs
        if inputs.ndim != 2 or inputs.shape[1] != wanted or not np.isfinite(inputs).all():
            raise UsageError(f"{self._name_inputs()} must be finite, (batch, {wanted}). Received: shape {inputs.shape}")
        return self._in_batches(self._run, inputs, self.metadata.image.shape)

    def predict_clips(self, windows: np.ndarray) -> np.ndarray:
        """Pictures for windows of sound.

        Args:
            windows: float32 (n, n_samples) in [-1, 1] at the model's sample rate.

        Returns:
            float32 (n, size, size, channels) in [-1, 1].
        """
        return self._in_batches(lambda part: self._run(self._inputs(part)), windows, self.metadata.image.shape)

    def _name_inputs(self) -> str:
        if self.metadata.input != "features":
            return "Windows of sound"
        config = self.metadata.features
        return f"This model takes {config.description}: they" if config.embedding else "Features"

    @property
    def can_encode(self) -> bool:
        """Whether it gives latent vectors."""
        return self._encode is not None

    def encode_clips(self, windows: np.ndarray) -> np.ndarray:
        """Latent vectors, float32 (n, n_latent), for windows of sound (n, n_samples).

        Raises:
            UsageError: if the model's format doesn't give them: a run folder and a `.keras` file do.
        """
        self._check_halves()
        return self._in_batches(lambda part: self._encode(self._inputs(part)), windows, (0,))

    def encode_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """Latent vectors, float32 (n, n_latent), for what the model itself takes (n, n_inputs); as `encode_clips`."""
        self._check_halves()
        return self._in_batches(self._encode, inputs, (0,))

    def generate_latents(self, latents: np.ndarray) -> np.ndarray:
        """Pictures, float32 (n, size, size, channels), for latent vectors of `encode_clips`."""
        return self._in_batches(self._generate, latents, self.metadata.image.shape)

    def sample_latents(
        self, latents: np.ndarray, n_samples: int, *, temperature: float = 1.0, seed: int = 0
    ) -> np.ndarray:
        """Several pictures of each latent vector, with a style that is drawn from a normal distribution.

        Args:
            latents: (n, n_latent) of `encode_clips` or `encode_inputs`.
            n_samples: pictures of each, from 1.
            temperature: standard deviation of the style, 0 to 4; 0 gives the picture of `predict` each time.
            seed: of the draws; the same styles are drawn for every vector.

        Returns:
            float32 (n, n_samples, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the model has no style, or an argument is out of range.
        """
        units = self.metadata.style_units
        if not units:
            raise UsageError(
                f"This model draws one picture of a sound: its recipe {self.metadata.recipe!r} learns no style. Train "
                "one that does, such as words-adversarial, or leave samples and temperature out"
            )
        if n_samples < 1 or not 0 <= temperature <= 4:
            raise UsageError(
                "samples must be 1 or more and temperature lie between 0 and 4. "
                f"Received: samples={n_samples}, temperature={temperature}"
            )
        styles = temperature * np.random.default_rng(seed).standard_normal((n_samples, units))
        drawn = []
        for style in styles.astype(np.float32):
            latents = latents.copy()
            latents[:, -units:] = style
            drawn.append(self.generate_latents(latents))
        return np.stack(drawn, axis=1)

    def stream_file(self, path: str | pathlib.Path) -> Iterator[np.ndarray]:
        """Pictures for a sound file, a batch at a time, in constant memory.

        Args:
            path: wav, flac, ogg or mp3 of any rate and length, or a video, whose sound is heard; for a model of
                embeddings, as for `open_vectors`.

        Yields:
            float32 (n, size, size, channels), one picture for each window of sound or each vector.

        Raises:
            SourceError: if the file can't be read as sound.
            UsageError: if a model of embeddings is given a sound file.
        """
        if self.metadata.features.embedding:
            vectors = self.open_vectors(path)
            yield from map(self.predict_inputs, checked_parts(vectors, pathlib.Path(path).name, BATCH))
            return
        for windows in self.stream_clips(path):
            yield self.predict_clips(windows)

    def stream_clips(self, path: str | pathlib.Path) -> Iterator[np.ndarray]:
        """Windows of a sound file, float32 (n, n_samples), up to 32 at a time; as `stream_file`."""
        self.metadata.require_audio(str(path))
        config = self.metadata.features
        windows = cut_clips(stream_audio(pathlib.Path(path), config.sample_rate), config.n_samples)
        while batch := list(itertools.islice(windows, BATCH)):
            yield np.stack(batch)

    def open_vectors(self, path: str | pathlib.Path) -> np.ndarray:
        """Vectors of a file for a model of embeddings, (n, n_features), as they lie on the disk.

        Args:
            path: a `.npy` file with one vector (n_features,) or many (n, n_features), or a `.npz` file: its array
                "embeddings", or all of its arrays.

        Raises:
            SourceError: if the file can't be read, or its vectors aren't of the model's length.
            UsageError: if it is another file, such as sound.
        """
        path, wanted = pathlib.Path(path), self.metadata.features
        if path.suffix.lower() not in VECTOR_SUFFIXES:
            self.metadata.require_audio(str(path))
        vectors = read_vectors(path)
        if vectors.shape[1] != wanted.embedding:
            raise SourceError(
                f"This model takes {wanted.description}. Received: {path.name} with vectors of {vectors.shape[1]}"
            )
        return vectors

    def _check_halves(self) -> None:
        if not self.can_encode:
            raise UsageError(
                "Latent vectors must come from a run folder or a .keras file with a layer named latent. Received: a "
                "model of another format or without that layer"
            )

    def _cut(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Consecutive windows (n_frames, n_samples) of a sound, at least one, the last filled with silence."""
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
            raise UsageError(
                f"sample_rate must lie between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz. Received: {sample_rate}"
            )
        config = self.metadata.features
        sound = np.clip(resample(to_mono(waveform), sample_rate, config.sample_rate), -1, 1)
        return np.stack(list(cut_clips([sound], config.n_samples)) or [np.zeros(config.n_samples, np.float32)])

    def _inputs(self, windows: np.ndarray) -> np.ndarray:
        self.metadata.require_audio("windows of sound")
        # Records hold 16-bit sound and its features: a model must hear here what it heard in training.
        sound = from_int16(to_int16(windows))
        return sound if self.metadata.input == "waveform" else mfcc(sound, self.metadata.features)

    @staticmethod
    def _in_batches(run: Run, inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        parts = [run(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, *shape), np.float32)


def _check_sound(waveform: np.ndarray) -> np.ndarray:
    """Floating-point samples (n,) or (n, channels), or a UsageError."""
    if waveform.dtype == np.int16:
        waveform = from_int16(waveform)
    if waveform.ndim not in (1, 2) or waveform.size == 0 or not np.isfinite(waveform).all():
        raise UsageError(
            f"Sound must be finite samples (n,) or (n, channels), at least one. Received: shape {waveform.shape}"
        )
    if waveform.ndim == 2 and waveform.shape[0] < waveform.shape[1] and waveform.shape[0] <= 8:
        raise UsageError(f"Sound has its channels last, (n, channels). Received: shape {waveform.shape}")
    return waveform


def load(path: str | pathlib.Path) -> Predictor:
    """Loads a model of any format.

    Args:
        path: a run folder, a `.keras` file, a SavedModel folder or a `.tflite` file.

    Raises:
        ModelError: if it is none of these, or can't be loaded.
    """
    path = pathlib.Path(path)
    if (path / "model.keras").is_file():
        path = path / "model.keras"
    if path.suffix == ".keras" and path.is_file():
        return _from_keras(*load_model(path))
    if path.suffix == ".tflite" and path.is_file():
        return Predictor(*load_tflite(path))
    if (path / "saved_model.pb").is_file():
        return Predictor(*load_saved_model(path))
    if (path / "config.json").is_file():
        raise ModelError(f"The run in {path} has no model.keras yet: go on training it with keras-a2i fit --resume")
    what = "doesn't exist" if not path.exists() else "is something else"
    raise ModelError(
        f"A model is a run folder, a .keras file, a SavedModel folder or a .tflite file. Received: {path}, which {what}"
    )


def _from_keras(model: "keras.Model", metadata: ModelMetadata) -> Predictor:
    from keras_a2i.models.latent_split import LATENT, split_at_latent

    if not any(layer.name == LATENT for layer in model.layers):
        return Predictor(_run(model), metadata)
    encoder, generator = split_at_latent(model)
    return Predictor(_run(model), metadata, _run(encoder), _run(generator))


def _run(model: "keras.Model") -> Run:
    return lambda inputs: np.asarray(model.predict_on_batch(inputs), np.float32)
