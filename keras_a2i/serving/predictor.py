"""One facade over every model format: sound or features in, pictures out."""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters.runtime import load_saved_model, load_tflite
from keras_a2i.models.model_file import ModelMetadata, load_model
from keras_a2i.sources.mfcc import from_pcm16, mfcc, pcm16
from keras_a2i.sources.sound import resample, stream_windows, to_mono

_BATCH = 32


class Predictor:
    """A loaded model with the feature and image configurations it was made for.

    Args:
        run: float32 features (batch, n_features) to pictures (batch, size, size, channels) in [-1, 1].
        metadata: what it takes and gives.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], metadata: ModelMetadata):
        self._run = run
        self.metadata = metadata

    def predict_features(self, features: np.ndarray) -> np.ndarray:
        """Pictures for feature vectors.

        Args:
            features: (batch, n_features).

        Returns:
            float32 (batch, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the features have another length or aren't finite.
        """
        features = np.asarray(features, dtype=np.float32)
        wanted = self.metadata.features.n_features
        if features.ndim != 2 or features.shape[1] != wanted or not np.isfinite(features).all():
            raise UsageError(f"Features must be finite, (batch, {wanted}). Received: shape {features.shape}")
        parts = [self._run(features[i : i + _BATCH]) for i in range(0, len(features), _BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, *self.metadata.image.shape), np.float32)

    def predict(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """One picture for each window of sound (a second unless configured otherwise), the last filled with silence.

        Args:
            waveform: (n,) or (n, channels), float in [-1, 1] or int16; at least one sample.
            sample_rate: Hz.

        Returns:
            float32 (n_windows, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the sound is empty, not finite or has its channels first, or the rate is out of range.
        """
        waveform = np.asarray(waveform)
        if waveform.dtype == np.int16:
            waveform = from_pcm16(waveform)
        if waveform.ndim not in (1, 2) or waveform.size == 0 or not np.isfinite(waveform).all():
            raise UsageError(
                f"Sound must be finite samples (n,) or (n, channels), at least one. Received: shape {waveform.shape}"
            )
        if waveform.ndim == 2 and waveform.shape[0] < waveform.shape[1] and waveform.shape[0] <= 8:
            raise UsageError(f"Sound has its channels last, (n, channels). Received: shape {waveform.shape}")
        if not 1_000 <= sample_rate <= 768_000:
            raise UsageError(f"sample_rate must lie between 1000 and 768000 Hz. Received: {sample_rate}")
        config = self.metadata.features
        sound = np.clip(resample(to_mono(waveform), sample_rate, config.sample_rate), -1, 1)
        n_windows = max(1, -(-len(sound) // config.n_samples))
        sound = np.pad(sound, (0, n_windows * config.n_samples - len(sound)))
        return self._predict_windows(sound.reshape(n_windows, config.n_samples))

    def stream_file(self, path: str | pathlib.Path) -> Iterator[np.ndarray]:
        """Pictures for a sound file, a batch at a time, in constant memory.

        Args:
            path: wav, flac, ogg or mp3 of any rate and length.

        Yields:
            float32 (n, size, size, channels), one picture for each window of sound.

        Raises:
            SourceError: if the file can't be read as sound.
        """
        batch = []
        for window in stream_windows(pathlib.Path(path), self.metadata.features):
            batch.append(window)
            if len(batch) == _BATCH:
                yield self._predict_windows(np.stack(batch))
                batch = []
        if batch:
            yield self._predict_windows(np.stack(batch))

    def _predict_windows(self, windows: np.ndarray) -> np.ndarray:
        # Records hold 16-bit sound and its features: a model must hear here what it heard in training.
        return self.predict_features(mfcc(from_pcm16(pcm16(windows)), self.metadata.features))


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
        model, metadata = load_model(path)
        return Predictor(lambda features: np.asarray(model.predict_on_batch(features), np.float32), metadata)
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
