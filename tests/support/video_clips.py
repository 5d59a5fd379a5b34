"""Clips of known pictures and sound that the tests of videos write and read."""

from fractions import Fraction

import av
import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.sources.pair import Pair
from keras_a2i.sources.video import VideoSource

RATE = 16_000
IMAGE = ImageConfig(size=16)


def numbered(n: int) -> np.ndarray:
    """A flat picture (48, 64, 3) whose colour tells its number, 0 to 511."""
    return np.full((48, 64, 3), [n % 8 * 32 + 16, n // 8 % 8 * 32 + 16, n // 64 * 32 + 16], np.uint8)


def number_of(picture: np.ndarray) -> int:
    """Inverse of `numbered`."""
    red, green, blue = np.round((picture.mean(axis=(0, 1)) - 16) / 32).astype(int)
    return int(red + 8 * green + 64 * blue)


def tone(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Noise of even loudness below 2 kHz, (n, channels): every piece of it is unlike every other."""
    n = round(seconds * rate)
    noise = np.random.default_rng(7).standard_normal((round(seconds * 4_000) + 1, channels))
    return 0.1 * np.stack([np.interp(np.arange(n) * 4_000 / rate, np.arange(len(c)), c) for c in noise.T], axis=1)


def write_clip(
    path,
    times=None,
    sound=None,
    *,
    pictures=numbered,
    codec="libx264",
    pix_fmt="yuv420p",
    sound_codec="aac",
    rate=RATE,
    layout=None,
    sound_start=0.0,
    time_base=Fraction(1, 90_000),
    tags=(),
    options=(),
    sound_first=False,
):
    """Writes a clip with a picture at each of `times` (s) and `sound` (n, channels) from `sound_start` (s)."""
    with av.open(str(path), "w", options=dict(options)) as out:
        streams = {}
        if times is not None:
            streams["video"] = video = out.add_stream(codec, rate=min(30, int(1 / time_base)))
            picture = pictures(0)
            video.height, video.width = picture.shape[:2]
            video.pix_fmt, video.codec_context.time_base = pix_fmt, time_base
            for name, value in dict(tags).items():
                setattr(video.codec_context, name, value)
        if sound is not None:
            layout = layout or {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[sound.shape[1]]
            streams["audio"] = audio = out.add_stream(sound_codec, rate=rate, layout=layout)
            kind = audio.codec_context.format.name
        packets = []
        for n, time in enumerate(times or ()):
            frame = av.VideoFrame.from_ndarray(pictures(n), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(time / time_base), time_base
            packets += [(time, packet) for packet in video.encode(frame)]
        packets += [(1e9, packet) for packet in video.encode(None)] if times is not None else []
        step = 1024
        for i in range(0, 0 if sound is None else len(sound), step):
            block = np.ascontiguousarray(sound[i : i + step], dtype=np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(sound_start * rate) + i
            for converted in av.AudioResampler(kind, layout, rate).resample(frame):
                converted.pts, converted.time_base = frame.pts, frame.time_base
                packets += [(frame.pts / rate, packet) for packet in audio.encode(converted)]
        packets += [(1e9, packet) for packet in audio.encode(None)] if sound is not None else []
        for _, packet in sorted(packets, key=lambda item: item[1].stream.type) if sound_first else packets:
            out.mux(packet)
    return path


def at(fps, seconds) -> list[Fraction]:
    """Times of the frames of a clip with a constant rate."""
    return [n / Fraction(fps) for n in range(int(seconds * Fraction(fps)))]


def read(path, *, features=None, image=IMAGE, root=None):
    """Everything a source makes of one file: the pairs and what was dropped, in order."""
    source = VideoSource([path], root or path.parent, features=features or FeatureConfig(), image=image)
    plan = source.plan()
    results = [result for unit in plan.units for result in source.read(unit)]
    ids = [result.key.id if isinstance(result, Pair) else result.id for result in results]
    assert ids == [key.id for unit in plan.units for key in unit.keys]
    return [*results, *plan.dropped]


def nearest(times, middle):
    """Reference: number of the frame nearest a time, the earlier of two."""
    return min(range(len(times)), key=lambda n: (abs(times[n] - Fraction(middle)), n))
