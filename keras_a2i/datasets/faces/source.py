"""The embedded data set `synthetic:faces`: moments of rendered faces whose mouths follow their rendered voices."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.datasets.faces.identity import Identity, draw_identity
from keras_a2i.datasets.faces.image import render_face
from keras_a2i.datasets.faces.speech import Speech, make_speech
from keras_a2i.datasets.faces.voice import render_voice
from keras_a2i.datasets.rendered import RenderedType
from keras_a2i.errors import UsageError
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit
from keras_a2i.sources.registry import SourceOptions, option, register_source

NAME = "synthetic:faces"
DEFAULT_PAIRS = 3_200
MIN_PAIRS, MAX_PAIRS = 4, 100_000
MIN_SAMPLE_RATE = 8_000
FRAME_RATE = 10
"""Pairs per second of a face's recording."""
FACE_PAIRS = 20
_MIN_FACES = 2
_IDENTITY_STREAM, _SPEECH_STREAM, _BREATH_STREAM = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class FacesOptions(SourceOptions):
    """Options of `FacesSource`."""

    seed: int = option(0, "Random seed of rendered data.", shared=True)


class FacesSource:
    """Recordings of faces that speak, ten pairs per second; each face with its voice is one source.

    The image of a pair shows the middle of its clip of audio, at (k + 0.5) / 10 s for the pair k. The factors `opening`
    and `width` of the mouth follow the loudness and the first two formants of the voice, see `speech.mouth_of`; `lids`
    are random blinks, which can't be predicted from the audio; `tone` and `face`, the skin and the width of the face,
    are part of the identity. Before its beginning, a recording is silent. Every pair depends only on (seed, face,
    number).

    Args:
        n_pairs: number of pairs, 4 to 100,000, spread evenly over the faces: one for every 20, at least 2.
        seed: random seed, 0 or more; another seed renders other faces.
        features: sample rate (8 kHz or more) and duration of a clip.
        image: size and channels of an image.

    Raises:
        UsageError: if `n_pairs`, `seed` or the sample rate is out of range.
    """

    split_by_source = True

    def __init__(self, n_pairs: int = DEFAULT_PAIRS, seed: int = 0, *, features: FeatureConfig, image: ImageConfig):
        if not (isinstance(n_pairs, int) and MIN_PAIRS <= n_pairs <= MAX_PAIRS):
            raise UsageError(
                f"n_pairs must lie between {MIN_PAIRS} and {MAX_PAIRS:,} for {NAME}. Received: n_pairs={n_pairs!r}"
            )
        if not (isinstance(seed, int) and seed >= 0):
            raise UsageError(f"seed must be a whole number, 0 or more, for {NAME}. Received: seed={seed!r}")
        if features.sample_rate < MIN_SAMPLE_RATE:
            raise UsageError(
                f"sample_rate must be at least {MIN_SAMPLE_RATE} Hz for {NAME}, whose voices have formants up to 3 "
                f"kHz. Received: sample_rate={features.sample_rate}. Raise the sample rate of the features"
            )
        self.n_pairs, self.seed = n_pairs, seed
        self.features, self.image = features, image

    def plan(self) -> Plan:
        """Lists the faces, a unit each."""
        return Plan(tuple(self._unit(face) for face in range(self._n_faces())))

    def read(self, unit: Unit) -> Iterator[Pair]:
        """Renders the pairs of a unit: uint8 image, float32 waveform and the factors behind both."""
        for key in unit.keys:
            face = int(key.source_id.removeprefix("face-"))
            identity, speech, voice = _recording(
                self.seed, face, self._pairs_of(face) / FRAME_RATE + self.features.duration, self.features.sample_rate
            )
            opening, width = speech.mouth_at(key.time)
            lids = speech.lids_at(key.time)
            yield Pair(
                key=key,
                image=render_face(identity, opening, width, lids, self.image),
                waveform=_clip_around(voice, key.time, self.features),
                origin=NAME,
                factors={
                    "opening": opening,
                    "width": width,
                    "lids": lids,
                    "tone": identity.tone,
                    "face": identity.face,
                },
            )

    def describe(self) -> dict[str, Any]:
        """Describes the source for the manifest."""
        return {"kind": NAME, "has_audio": True, "continuous": True, "pairs": self.n_pairs, "seed": self.seed}

    def _n_faces(self) -> int:
        return max(_MIN_FACES, self.n_pairs // FACE_PAIRS)

    def _pairs_of(self, face: int) -> int:
        faces = self._n_faces()
        return self.n_pairs // faces + (face < self.n_pairs % faces)

    def _unit(self, face: int) -> Unit:
        name, n = f"face-{face:04d}", self._pairs_of(face)
        keys = (PairKey(f"{name}@{k}", name, time=(k + 0.5) / FRAME_RATE) for k in range(n))
        return Unit(name, tuple(keys), cost=float(n))


@functools.lru_cache(maxsize=2)
def _recording(seed: int, face: int, seconds: float, sample_rate: int) -> tuple[Identity, Speech, np.ndarray]:
    identity = draw_identity(_stream(seed, face, _IDENTITY_STREAM))
    speech = make_speech(seconds, identity.pitch, identity.tract, _stream(seed, face, _SPEECH_STREAM))
    return identity, speech, render_voice(speech, sample_rate, _stream(seed, face, _BREATH_STREAM))


def face_with_mouth(source_id: str, seed: int, opening: float, width: float, image: ImageConfig) -> np.ndarray:
    """Renders a face of the data set with a given mouth and open eyes, uint8 (size, size, channels).

    Args:
        source_id: of its recording, such as "face-0003".
        seed: of the data set.
        opening, width: of the mouth.
        image: size and channels.
    """
    identity = draw_identity(_stream(seed, int(source_id.removeprefix("face-")), _IDENTITY_STREAM))
    return render_face(identity, opening, width, 0.0, image)


def _stream(seed: int, face: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(face, stream)))


def _clip_around(voice: np.ndarray, seconds: float, features: FeatureConfig) -> np.ndarray:
    """The clip whose middle is at a moment; silence before the beginning."""
    start = round(seconds * features.sample_rate - features.n_samples / 2)
    clip = voice[max(0, start) : start + features.n_samples]
    return np.pad(clip, (features.n_samples - len(clip), 0))


@register_source
class Faces(RenderedType):
    """The names of the embedded data set: `synthetic:faces` and `synthetic:faces:N`."""

    id = "faces"
    title = NAME
    usage = f"{NAME} or {NAME}:N"
    details = f"{NAME} or {NAME}:N: N rendered pairs of faces that speak (default: {DEFAULT_PAIRS})"
    names = (NAME,)
    options = FacesOptions
    position = 61
    default_pairs = DEFAULT_PAIRS
    make_source = FacesSource
