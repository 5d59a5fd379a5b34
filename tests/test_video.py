"""Videos as a source: the right frame, the right sound, every second accounted for."""

import pathlib
import pickle
import struct
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import soxr

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import MissingPackageError, UsageError
from keras_a2i.sources import video_decode
from keras_a2i.sources.pair import Dropped, Pair
from keras_a2i.sources.video import VIDEO_SUFFIXES, VideoSource, find_videos

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


FLUCTUATING = [Fraction(n, 30) + Fraction(n % 7, 250) for n in range(0, 120, 1) if n % 11 not in (3, 4, 5)]
SLIDES = [Fraction(n) for n in range(5)]


@pytest.mark.parametrize(
    "times",
    [*(at(fps, 4) for fps in (30, 25, 12, Fraction(43, 2), Fraction(30_000, 1_001))), FLUCTUATING, SLIDES],
    ids=["30", "25", "12", "43/2", "29.97", "variable", "slides"],
)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_the_nearest_frame_is_chosen(tmp_path, times, codec):
    base = Fraction(1, 90_000) if codec == "libx264" else Fraction(1, 60_000)
    path = write_clip(tmp_path / "clip.mp4", times, tone(4), codec=codec, time_base=base)
    ticked = [round(time / base) * base for time in times]
    results = read(path)
    assert len(results) >= 3
    for k, pair in enumerate(results):
        assert number_of(pair.image) == nearest(ticked, k + 0.5)
        assert pair.key.id == f"clip.mp4@{k}" and pair.key.time == k and pair.key.source_id == pair.origin == "clip.mp4"


@pytest.mark.parametrize(
    ("name", "codec", "sound_codec", "rate"),
    [
        ("clip.webm", "libvpx-vp9", "libopus", 48_000),
        ("clip.mkv", "ffv1", "flac", 44_100),
        ("clip.avi", "mpeg4", "pcm_s16le", 44_100),
    ],
)
def test_other_formats(tmp_path, name, codec, sound_codec, rate):
    times, pix_fmt = at(20, 3), "bgr0" if codec == "ffv1" else "yuv420p"
    path = write_clip(
        tmp_path / name,
        times,
        tone(3, rate),
        codec=codec,
        pix_fmt=pix_fmt,
        sound_codec=sound_codec,
        rate=rate,
        time_base=Fraction(1, 20),
    )
    results = read(path)[:3]
    with av.open(str(path)) as clip:  # AVI's muxer moves frames: what counts is where they are in the file
        shown = {frame.time: number_of(frame.to_ndarray(format="rgb24")) for frame in clip.decode(video=0)}
        start = clip.start_time / 1_000_000  # below 0 by the priming of some codecs
    times = [Fraction(time - start).limit_denominator(1_000) for time in shown]
    assert [number_of(pair.image) for pair in results] == [
        list(shown.values())[nearest(times, k + 0.5)] for k in range(3)
    ]
    expected = soxr.resample(tone(3, rate)[:, 0], rate, RATE)
    for k, pair in enumerate(results):
        # Lossy encoders: the sound must be in its place within 1 ms; its wave form is close, not equal.
        lags = np.arange(-160, 161)
        inner = pair.waveform[500:-500]
        scores = [inner @ expected[k * RATE + 500 + lag : (k + 1) * RATE - 500 + lag] for lag in lags]
        assert lags[int(np.argmax(scores))] == pytest.approx(start * RATE, abs=16)


@pytest.mark.parametrize(
    ("rate", "channels"), [(16_000, 1), (44_100, 2), (48_000, 6), (8_000, 1), (96_000, 2), (44_100, 8)]
)
@pytest.mark.parametrize("sound_codec", ["pcm_s16le", "flac"])
def test_sound_is_the_mean_of_the_channels_in_its_place(tmp_path, rate, channels, sound_codec):
    sound = tone(3, rate, channels)
    path = write_clip(tmp_path / "clip.mkv", at(10, 3), sound, sound_codec=sound_codec, rate=rate)
    expected = soxr.resample(sound.mean(axis=1), rate, RATE)
    for k, pair in enumerate(read(path)):
        assert pair.waveform.dtype == np.float32 and pair.waveform.shape == (RATE,)
        np.testing.assert_allclose(pair.waveform, expected[k * RATE : (k + 1) * RATE], atol=1e-3)


def test_sound_of_eight_planes(tmp_path):
    sound = tone(3, 48_000, 8)
    path = write_clip(tmp_path / "clip.mp4", at(10, 3), sound, sound_codec="aac", rate=48_000)
    expected = soxr.resample(sound.mean(axis=1), 48_000, RATE)
    for k, pair in enumerate(read(path)):
        assert np.corrcoef(pair.waveform, expected[k * RATE : (k + 1) * RATE])[0, 1] > 0.8


@pytest.mark.parametrize("start", [0.3, 0.123])
def test_late_sound_leaves_silence_before(tmp_path, start):
    sound = tone(3, 44_100)
    path = write_clip(tmp_path / "clip.mkv", at(10, 3), sound, sound_codec="flac", rate=44_100, sound_start=start)
    first, second, third = read(path)[:3]
    n = round(start * RATE)
    assert np.abs(first.waveform[: n - 8]).max() == 0
    heard = np.concatenate([first.waveform[n:], second.waveform, third.waveform])
    expected = soxr.resample(sound[:, 0], 44_100, RATE)[: len(heard)]
    np.testing.assert_allclose(heard[8:], expected[8:], atol=4e-3)


def test_a_second_with_too_little_sound_or_no_frame_is_named(tmp_path):
    path = write_clip(tmp_path / "late.mkv", at(10, Fraction(42, 10)), tone(1.9), sound_codec="flac", sound_start=0.7)
    first, second, third, fourth = read(path)
    assert first == Dropped("late.mkv@0", "only 0.30 s of its 1 s has sound: the sound starts at 0.70 s")
    assert np.abs(second.waveform).max() > 0.1
    assert (
        np.abs(third.waveform[: round(0.59 * RATE)]).max() > 0.1
        and np.abs(third.waveform[round(0.61 * RATE) :]).max() == 0
    )
    assert fourth == Dropped("late.mkv@3", "it has no sound: the sound ends at 2.60 s")

    path = write_clip(tmp_path / "short_picture.mp4", at(10, Fraction(21, 10)), tone(4), time_base=Fraction(1, 10))
    *pairs, third, fourth = read(path)
    assert [number_of(pair.image) for pair in pairs] == [5, 15]
    assert third == Dropped("short_picture.mp4@2", "no frame within 0.25 s of 2.50 s: the picture ends at 2.00 s")
    assert fourth.reason == "no frame within 0.25 s of 3.50 s: the picture ends at 2.00 s"


def test_a_gap_in_the_picture_and_a_late_picture_are_named(tmp_path):
    times = [time for time in at(10, 5) if time >= Fraction("1.8") and not 3.1 <= time < 3.9]
    path = write_clip(tmp_path / "clip.mkv", times, tone(5), sound_codec="flac")
    results = read(path)
    assert results[0].reason == "no frame within 0.25 s of 0.50 s: the picture starts at 1.80 s"
    assert results[1].reason == "no frame within 0.25 s of 1.50 s: the picture starts at 1.80 s"
    assert number_of(results[2].image) == times.index(Fraction(5, 2))
    assert results[3].reason == "no frame within 0.25 s of 3.50 s: frames are missing or damaged there"
    assert number_of(results[4].image) == times.index(Fraction(9, 2))


def test_a_gap_in_the_sound_is_silent_and_what_follows_stays_in_place(tmp_path):
    sound = tone(3)
    path = write_clip(tmp_path / "whole.mkv", at(10, 3), sound, sound_codec="pcm_s16le")
    with av.open(str(path)) as whole, av.open(str(tmp_path / "clip.mkv"), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in whole.streams]
        for packet in whole.demux():
            if packet.size and not (packet.stream.type == "audio" and 1.2 <= packet.pts * packet.time_base < 1.45):
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    first, second, third = read(tmp_path / "clip.mkv")
    assert np.abs(second.waveform[round(0.3 * RATE) : round(0.4 * RATE)]).max() == 0
    np.testing.assert_allclose(first.waveform, sound[:RATE, 0], atol=1e-3)
    np.testing.assert_allclose(third.waveform, sound[2 * RATE : 3 * RATE, 0], atol=1e-3)


@pytest.mark.parametrize("duration", [0.5, 2.0, 0.1])
def test_other_durations(tmp_path, duration):
    sound, times = tone(3), at(20, 3)
    path = write_clip(tmp_path / "clip.mkv", times, sound, sound_codec="flac", time_base=Fraction(1, 20))
    features = FeatureConfig(duration=duration, window=0.05, hop=0.025)
    results = read(path, features=features)
    assert len(results) == int(3 / duration + 1e-6)
    n = features.n_samples
    for k, pair in enumerate(results):
        assert pair.key.id == f"clip.mkv@{k * duration:g}" and pair.key.time == pytest.approx(k * duration)
        assert number_of(pair.image) == nearest(times, (k + Fraction(1, 2)) * Fraction(str(duration)))
        np.testing.assert_allclose(pair.waveform, sound[k * n : (k + 1) * n, 0], atol=1e-3)


def scene(width: int, height: int) -> np.ndarray:
    """A picture whose centre square has red, green, blue and white quarters, with black beside it."""
    side = min(width, height)
    square = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    square[:half, :half], square[:half, half:], square[half:, :half] = (230, 20, 20), (20, 230, 20), (20, 20, 230)
    square[half:, half:] = 230
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = square
    return picture


QUARTERS = np.array([[(230, 20, 20), (20, 230, 20)], [(20, 20, 230), (230, 230, 230)]])


def quarters(picture: np.ndarray) -> np.ndarray:
    """Colours in the middle of the quarters of a picture (size, size, channels)."""
    size = len(picture)
    return picture[size // 4 :: size // 2, size // 4 :: size // 2].astype(int)


@pytest.mark.parametrize(("width", "height"), [(128, 64), (64, 128), (64, 64), (98, 66)])
def test_the_centre_square_fills_the_picture(tmp_path, width, height):
    path = write_clip(
        tmp_path / "c.mp4", at(10, 1), tone(1), pictures=lambda n: scene(width, height), pix_fmt="yuv444p"
    )
    (pair,) = read(path, image=ImageConfig(size=32))
    np.testing.assert_allclose(quarters(pair.image), QUARTERS, atol=6)
    # At the border too: nothing of what lies outside the square.
    np.testing.assert_allclose(pair.image[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(2, 2, 3), QUARTERS, atol=20)
    (pair,) = read(path, image=ImageConfig(size=32, channels=1))
    assert pair.image.shape == (32, 32, 1) and pair.image.dtype == np.uint8
    np.testing.assert_allclose(quarters(pair.image)[..., 0], QUARTERS @ [0.299, 0.587, 0.114], atol=6)


def test_pixels_that_are_not_square(tmp_path):
    def squeezed(n):
        return scene(128, 64)[:, ::2]

    tags = {"sample_aspect_ratio": Fraction(2)}
    path = write_clip(tmp_path / "c.mp4", at(10, 1), tone(1), pictures=squeezed, pix_fmt="yuv444p", tags=tags)
    (pair,) = read(path, image=ImageConfig(size=32))
    np.testing.assert_allclose(quarters(pair.image), QUARTERS, atol=6)
    np.testing.assert_allclose(pair.image[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(2, 2, 3), QUARTERS, atol=20)


TURNS = {
    "90 clockwise": ((0, 1, -1, 0), np.rot90(QUARTERS, -1)),
    "180": ((-1, 0, 0, -1), np.rot90(QUARTERS, 2)),
    "90 counterclockwise": ((0, -1, 1, 0), np.rot90(QUARTERS)),
    "mirrored": ((-1, 0, 0, 1), QUARTERS[:, ::-1]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_display_matrix_is_applied(tmp_path, turn):
    (a, b, c, d), expected = TURNS[turn]
    path = write_clip(tmp_path / "c.mp4", at(10, 1), tone(1), pictures=lambda n: scene(96, 64), pix_fmt="yuv444p")
    data = bytearray(path.read_bytes())
    matrix = (
        data.index(b"tkhd") + 4 + 40
    )  # ISO 14496-12: nine 16.16 and 2.30 numbers after 40 bytes of the track's header
    data[matrix : matrix + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (pair,) = read(path, image=ImageConfig(size=32))
    np.testing.assert_allclose(quarters(pair.image), expected, atol=6)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114)], ids=["bt709", "bt601"])
def test_colours_are_those_the_stream_says(tmp_path, full, matrix, red, blue):
    rgb = np.array([200, 40, 60])
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    planes = np.array([luma, (rgb[2] - luma) / (2 - 2 * blue), (rgb[0] - luma) / (2 - 2 * red)])
    planes = np.round(planes * (1 if full else np.array([219, 224, 224]) / 255) + [0 if full else 16, 128, 128])
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as out:
        video, audio = out.add_stream("ffv1", rate=10), out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        video.width = video.height = 32
        video.pix_fmt = "yuv444p"
        video.codec_context.colorspace, video.codec_context.color_range = matrix, 2 if full else 1
        for n in range(10):
            frame = av.VideoFrame.from_ndarray(
                np.tile(planes[:, None, None], (1, 32, 32)).astype(np.uint8), format="yuv444p"
            )
            frame.pts = n
            out.mux(video.encode(frame))
        frame = av.AudioFrame.from_ndarray(np.ones((1, RATE), np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE
        out.mux([*audio.encode(frame), *video.encode(None), *audio.encode(None)])
    (pair,) = read(path, image=ImageConfig(size=16))
    np.testing.assert_allclose(pair.image.reshape(-1, 3), np.tile(rgb, (256, 1)), atol=2)


def test_files_that_give_nothing_are_named(tmp_path):
    write_clip(tmp_path / "mute.mp4", at(10, 2))
    write_clip(tmp_path / "blind.mp4", None, tone(2))
    write_clip(tmp_path / "short.mkv", at(10, Fraction(6, 10)), tone(0.6), sound_codec="flac")
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / "empty.mkv").write_bytes(b"")
    whole = write_clip(tmp_path / "whole.mp4", at(10, 2), tone(2)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    names = ["mute.mp4", "blind.mp4", "short.mkv", "garbage.mp4", "empty.mkv", "half.mp4", "gone.mp4"]
    paths = [tmp_path / name for name in names]
    plan = VideoSource(paths, tmp_path, features=FeatureConfig(), image=IMAGE).plan()
    assert plan.units == ()
    assert [drop.id for drop in plan.dropped] == names
    reasons = [drop.reason for drop in plan.dropped]
    assert reasons[0] == "The file has no sound"
    assert reasons[1] == "The file has no picture"
    assert reasons[2].startswith("The clip lasts 0.6") and reasons[2].endswith("a pair needs 1 s")
    assert all(reason.startswith("The file can't be opened as a video: ") for reason in reasons[3:])
    assert not any(str(tmp_path) in reason for reason in reasons)


def test_a_cover_is_no_picture(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        audio, cover = out.add_stream("aac", rate=RATE, layout="mono"), out.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        frame = av.AudioFrame.from_ndarray(tone(2).T.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        out.mux(audio.encode(frame))
        out.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(1), format="rgb24")))
        out.mux([*audio.encode(None), *cover.encode(None)])
    assert read(path) == [Dropped("song.mp4", "The file has no picture, only a cover")]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_file_that_breaks_off_gives_what_came_before(tmp_path, name):
    options = {"movflags": "faststart"} if name == "clip.mp4" else {}
    sound_codec = "aac" if name == "clip.mp4" else "flac"
    path = write_clip(tmp_path / name, at(30, 8), tone(8), sound_codec=sound_codec, options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    results = read(path)
    assert len(results) == 8
    n_pairs = sum(isinstance(result, Pair) for result in results)
    assert 2 <= n_pairs <= 6
    for k, result in enumerate(results):
        if k < n_pairs:
            assert number_of(result.image) == 30 * k + 15
        else:
            assert "ends at" in result.reason or "could be read" in result.reason


def test_damage_in_the_middle_costs_only_some_seconds(tmp_path):
    path = write_clip(
        tmp_path / "clip.mkv", at(30, 8), tone(8), sound_codec="flac", options={"cluster_time_limit": "500"}
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = np.random.default_rng(1).bytes(3_000)
    path.write_bytes(data)
    results = read(path)
    assert [result.id if isinstance(result, Dropped) else result.key.id for result in results] == [
        f"clip.mkv@{k}" for k in range(8)
    ]
    assert [number_of(result.image) for result in results[:3]] == [15, 45, 75]
    np.testing.assert_allclose(results[1].waveform, tone(8)[RATE : 2 * RATE, 0], atol=1e-3)


def test_a_file_that_vanishes_after_planning(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", at(10, 2), tone(2))
    source = VideoSource([path], tmp_path, features=FeatureConfig(), image=IMAGE)
    (unit,) = source.plan().units
    path.unlink()
    assert [drop.id for drop in source.read(unit)] == ["clip.mp4@0", "clip.mp4@1"]


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_duration_and_start_that_the_header_does_not_say(tmp_path, name):
    sound = tone(3.1)
    start, codec, live = (10, "mpeg2video", {}) if name == "clip.ts" else (0, "libx264", {"live": "1"})
    times = [start + time for time in at(25, Fraction(31, 10))]
    path = write_clip(
        tmp_path / name, times, sound, codec=codec, time_base=Fraction(1, 25), sound_start=start, options=live
    )
    with av.open(str(path)) as clip:
        assert clip.start_time >= 9_900_000 if name == "clip.ts" else clip.duration is None
        start = Fraction(clip.start_time, 1_000_000)  # with the priming of AAC the sound starts before the picture
    results = read(path)
    assert [number_of(pair.image) for pair in results] == [nearest(times, start + k + Fraction(1, 2)) for k in range(3)]


def test_skipping_frames_changes_nothing(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", at(30, 5), tone(5))
    skipped, reader = read(path), video_decode.ClipReader.__iter__
    asked = []

    def spoiled(self):
        asked.append(self._skip)
        for k, second in enumerate(reader(self)):
            if self._skip and k == 2:
                raise video_decode.InexactSkipError
            yield second

    monkeypatch.setattr(video_decode.ClipReader, "__iter__", spoiled)
    plain = read(path)
    assert asked == [True, False]
    assert len(plain) == len(skipped) == 5
    for one, other in zip(plain, skipped, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.waveform, other.waveform)


def test_tracks_far_apart_in_the_file_are_not_held_in_memory(tmp_path, monkeypatch):
    path = write_clip(
        tmp_path / "clip.mkv",
        at(10, 8),
        tone(8),
        sound_codec="flac",
        sound_first=True,
        options={"max_interleave_delta": "1"},
    )
    assert [number_of(pair.image) for pair in read(path)] == [10 * k + 5 for k in range(8)]
    monkeypatch.setattr(video_decode, "MAX_SKEW", 3.5)
    results = read(path)
    assert [isinstance(result, Pair) for result in results] == [False] * 4 + [True] * 4
    assert [number_of(pair.image) for pair in results[4:]] == [45, 55, 65, 75]
    reason = "no frame could be read, and none follows in the next 3.5 s of the file"
    assert results[0].reason == f"no frame within 0.25 s of 0.50 s: {reason}"


def test_find_videos(tmp_path):
    for name in ("b.MP4", "a/z.webm", "a/notes.txt", ".hidden.mp4", ".cache/x.mp4", "a.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in find_videos(tmp_path)] == ["a.mkv", "a/z.webm", "b.MP4"]
    assert {".mp4", ".mkv", ".webm", ".mov", ".avi"} <= set(VIDEO_SUFFIXES)


def test_the_source_is_picklable_and_names_are_relative(tmp_path):
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "c.mp4", at(10, 2), tone(2))
    source = VideoSource([tmp_path / "in" / "c.mp4"], tmp_path, features=FeatureConfig(), image=IMAGE)
    (unit,) = source.plan().units
    copy = pickle.loads(pickle.dumps(source))
    assert [pair.key.id for pair in copy.read(unit)] == ["in/c.mp4@0", "in/c.mp4@1"]
    assert source.describe() == {"kind": "videos", "files": 1}
    with pytest.raises(UsageError, match=r"Every video must lie within the folder in\. Received: c\.mp4"):
        VideoSource([pathlib.Path("/elsewhere/c.mp4")], tmp_path / "in", features=FeatureConfig(), image=IMAGE)


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    source = VideoSource([tmp_path / "c.mp4"], tmp_path, features=FeatureConfig(), image=IMAGE)
    with pytest.raises(MissingPackageError, match=r"Reading video files needs the package av.*keras-a2i\[video\]"):
        source.plan()
