"""Audio from a microphone (sounddevice, which is PortAudio), resampled where it can't record at the model's rate."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.audio import Resampler, to_mono
from keras_a2i.serving.audio_inputs import BLOCK_SECONDS
from keras_a2i.serving.ring_buffer import RingBuffer

# A microphone that was unplugged often just stops: no callback, no error.
MAX_SECONDS_WITHOUT_AUDIO = 5.0


def check_microphone(device: str | int | None) -> None:
    """Raises what `Microphone` raises if it can't find one; opens none."""
    _find_microphone(_import_sounddevice(), device)


class Microphone:
    """The default microphone, or one chosen by name or number, resampled where it can't record at the wanted rate.

    Args:
        sample_rate: Hz of the audio to write.
        device: part of the microphone's name, or its number; None for the default one.
        now: a clock, in seconds.

    Raises:
        MissingPackageError: if sounddevice isn't installed.
        SourceError: if there is no such microphone, it can't be opened, or the PortAudio library is missing.
    """

    def __init__(self, sample_rate: int, device: str | int | None = None, now: Callable[[], float] = time.monotonic):
        sounddevice = self._sounddevice = _import_sounddevice()
        self.overflows = 0
        self._now, self._rate_out = now, sample_rate
        found = _find_microphone(sounddevice, device)
        self.name = found["name"]
        self._stream = self._open(found, device)
        self._rate_in = round(self._stream.samplerate)
        self._resampler = Resampler(self._rate_in, sample_rate)
        self._received = self._written = 0
        self._last_call = now()
        self._buffer: RingBuffer | None = None

    def start(self, buffer: RingBuffer) -> None:
        """Begins to record; raises a SourceError if the microphone refuses."""
        self._buffer, self._last_call = buffer, self._now()
        try:
            self._stream.start()
        except self._sounddevice.PortAudioError as error:
            raise self._cant_open(error) from error

    def is_finished(self) -> bool:
        """A microphone has no end; raises a SourceError once nothing came from it for 5 seconds."""
        if self._now() - self._last_call > MAX_SECONDS_WITHOUT_AUDIO:
            raise SourceError(
                f"The microphone {self.name} has recorded no audio for {MAX_SECONDS_WITHOUT_AUDIO:g} s. "
                "Is it still connected?"
            )
        return False

    def stop(self) -> None:
        """Stops recording and releases the microphone."""
        self._stream.close(ignore_errors=True)

    def _open(self, found: dict[str, Any], device: str | int | None) -> Any:
        error: Exception | None = None
        for rate in (self._rate_out, round(found["default_samplerate"])):
            for channels in (1, min(2, found["max_input_channels"])):
                try:
                    return self._sounddevice.InputStream(
                        samplerate=rate,
                        blocksize=round(rate * BLOCK_SECONDS),
                        device=device,
                        channels=channels,
                        dtype="float32",
                        latency="low",
                        callback=self._record,
                    )
                except self._sounddevice.PortAudioError as refused:
                    error = refused
        raise self._cant_open(error) from error

    def _cant_open(self, error: Exception | None) -> SourceError:
        return SourceError(f"The microphone {self.name} can't be opened: {error}. Another program may be using it")

    def _record(self, samples: np.ndarray, n_frames: int, times: Any, status: Any) -> None:
        self._last_call = self._now()
        self.overflows += bool(status.input_overflow)
        block = np.clip(self._resampler(to_mono(samples)), -1, 1)
        self._received += n_frames
        self._written += len(block)
        # The newest sample written is older than the newest one recorded by what the resampler holds back.
        held_back = self._received / self._rate_in - self._written / self._rate_out
        assert self._buffer is not None
        self._buffer.write(block, self._last_call - _age(times, n_frames / self._rate_in) - held_back)


def _age(times: Any, seconds: float) -> float:
    """Returns the seconds since the last sample of a block of `seconds` was recorded; 0 where that isn't reported."""
    if times.inputBufferAdcTime <= 0:
        return 0.0
    return float(np.clip(times.currentTime - times.inputBufferAdcTime - seconds, 0, 1))


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingPackageError("sounddevice", "live", "Audio from a microphone") from None
    except OSError as error:
        raise SourceError(
            f"Audio from a microphone needs the PortAudio library: {error}. Install it (Debian, Ubuntu: apt install "
            "libportaudio2), or use an audio file as the input"
        ) from error
    return sounddevice


def _find_microphone(sounddevice: Any, device: str | int | None) -> dict[str, Any]:
    try:
        return sounddevice.query_devices(device, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        names = [each["name"] for each in sounddevice.query_devices() if each["max_input_channels"] > 0]
        if not names:
            raise SourceError(
                "This machine must have a microphone. Received: none that PortAudio finds. Connect one, or use an "
                "audio file as the input"
            ) from error
        wanted = "the default one, which isn't set" if device is None else repr(device)
        raise SourceError(
            f"device must match exactly one microphone of {', '.join(names)}. Received: {wanted}"
        ) from error
