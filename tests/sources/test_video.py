"""Videos as a source: the right frame, the right sound, every second accounted for."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import soxr
from support.video_clips import RATE, at, nearest, number_of, read, tone, write_clip

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.sources.pair import Dropped

FLUCTUATING = [Fraction(n, 30) + Fraction(n % 7, 250) for n in range(0, 120, 1) if n % 11 not in (3, 4, 5)]
SLIDES = [Fraction(n) for n in range(5)]


@pytest.mark.training
@pytest.mark.parametrize(
    "times",
    [*(at(fps, 4) for fps in (30, 25, 12, Fraction(43, 2), Fraction(30_000, 1_001))), FLUCTUATING, SLIDES],
    ids=["30", "25", "12", "43/2", "29.97", "variable", "slides"],
)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_nearest_frame_is_chosen(tmp_path, times, codec):
    base = Fraction(1, 90_000) if codec == "libx264" else Fraction(1, 60_000)
    path = write_clip(tmp_path / "clip.mp4", times, tone(4), codec=codec, time_base=base)
    ticked = [round(time / base) * base for time in times]
    results = read(path)
    assert len(results) >= 3
    for k, pair in enumerate(results):
        assert number_of(pair.image) == nearest(ticked, k + 0.5)
        assert pair.key.id == f"clip.mp4@{k}" and pair.key.time == k and pair.key.source_id == pair.origin == "clip.mp4"


@pytest.mark.training
@pytest.mark.parametrize(
    ("name", "codec", "sound_codec", "rate"),
    [
        ("clip.webm", "libvpx-vp9", "libopus", 48_000),
        ("clip.mkv", "ffv1", "flac", 44_100),
        ("clip.avi", "mpeg4", "pcm_s16le", 44_100),
    ],
)
def test_other_formats_have_the_nearest_frame_and_the_audio_in_place(tmp_path, name, codec, sound_codec, rate):
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


@pytest.mark.training
@pytest.mark.parametrize(
    ("rate", "channels"), [(16_000, 1), (44_100, 2), (48_000, 6), (8_000, 1), (96_000, 2), (44_100, 8)]
)
@pytest.mark.parametrize("sound_codec", ["pcm_s16le", "flac"])
def test_waveform_is_the_mean_of_the_channels_in_place(tmp_path, rate, channels, sound_codec):
    sound = tone(3, rate, channels)
    path = write_clip(tmp_path / "clip.mkv", at(10, 3), sound, sound_codec=sound_codec, rate=rate)
    expected = soxr.resample(sound.mean(axis=1), rate, RATE)
    for k, pair in enumerate(read(path)):
        assert pair.waveform.dtype == np.float32 and pair.waveform.shape == (RATE,)
        np.testing.assert_allclose(pair.waveform, expected[k * RATE : (k + 1) * RATE], atol=1e-3)


@pytest.mark.training
def test_waveform_of_eight_planes_is_their_mean(tmp_path):
    sound = tone(3, 48_000, 8)
    path = write_clip(tmp_path / "clip.mp4", at(10, 3), sound, sound_codec="aac", rate=48_000)
    expected = soxr.resample(sound.mean(axis=1), 48_000, RATE)
    for k, pair in enumerate(read(path)):
        assert np.corrcoef(pair.waveform, expected[k * RATE : (k + 1) * RATE])[0, 1] > 0.8


@pytest.mark.training
@pytest.mark.parametrize("start", [0.3, 0.123])
def test_late_audio_is_preceded_by_silence(tmp_path, start):
    sound = tone(3, 44_100)
    path = write_clip(tmp_path / "clip.mkv", at(10, 3), sound, sound_codec="flac", rate=44_100, sound_start=start)
    first, second, third = read(path)[:3]
    n = round(start * RATE)
    assert np.abs(first.waveform[: n - 8]).max() == 0
    heard = np.concatenate([first.waveform[n:], second.waveform, third.waveform])
    expected = soxr.resample(sound[:, 0], 44_100, RATE)[: len(heard)]
    np.testing.assert_allclose(heard[8:], expected[8:], atol=4e-3)


def test_clip_with_too_little_audio_is_dropped(tmp_path):
    path = write_clip(tmp_path / "late.mkv", at(10, Fraction(42, 10)), tone(1.9), sound_codec="flac", sound_start=0.7)
    first, second, third, fourth = read(path)
    assert first == Dropped("late.mkv@0", "only 0.30 s of its 1 s have audio: the audio track starts at 0.70 s")
    assert np.abs(second.waveform).max() > 0.1
    assert (
        np.abs(third.waveform[: round(0.59 * RATE)]).max() > 0.1
        and np.abs(third.waveform[round(0.61 * RATE) :]).max() == 0
    )
    assert fourth == Dropped("late.mkv@3", "it has no audio: the audio track ends at 2.60 s")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frame_that_is_being_shown_is_chosen_where_none_is_near(tmp_path, codec):
    """Slides, screen recordings, one picture with music: the last frame before stays on the screen."""
    base = Fraction(1, 10) if codec == "libx264" else Fraction(1, 25)
    options = {"codec": codec, "time_base": base}
    times = [Fraction(t) for t in (0, 4)] + [6 + time for time in at(5, 2)] + [Fraction(12)]
    path = write_clip(tmp_path / "slides.mp4", times, tone(16), **options)
    shown = [max(n for n, time in enumerate(times) if time <= k + Fraction(1, 2)) for k in range(16)]
    shown[6:8] = [nearest(times, k + 0.5) for k in (6, 7)]
    assert [number_of(pair.image) for pair in read(path)[:16]] == shown
    path = write_clip(tmp_path / "picture.mp4", [Fraction(0)], tone(5), **options)
    assert [number_of(pair.image) for pair in read(path)[:5]] == [0] * 5
    path = write_clip(tmp_path / "short.mp4", at(5, Fraction(21, 10)), tone(4), **options)
    assert [number_of(pair.image) for pair in read(path)[:4]] == [2, 7, 9, 9]


def test_frame_before_lost_ones_does_not_stay(tmp_path):
    # FLAC starts with its first sample: no version of FFmpeg moves the tracks when they are copied.
    options = {"codec": "mpeg4", "sound_codec": "flac", "time_base": Fraction(1, 10)}
    whole = write_clip(tmp_path / "whole.mkv", at(10, 4), tone(4), **options)
    with av.open(str(whole)) as clip, av.open(str(tmp_path / "lost.mkv"), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
            if packet.size:
                time, stream = packet.pts * packet.time_base, packet.stream
                if stream.type == "video" and 1 <= time < 2.9:
                    damaged = av.Packet(b"\xff" * 90)
                    damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                    packet = damaged
                packet.stream = streams[stream.index]
                out.mux(packet)
    first, *lost, last = read(tmp_path / "lost.mkv")[:4]
    assert number_of(first.image) == 5
    assert all("frames are missing or damaged there" in item.reason for item in lost) and len(lost) == 2
    assert number_of(last.image) == 35


def test_clip_before_the_video_track_is_dropped_and_one_in_a_gap_is_not(tmp_path):
    times = [time for time in at(10, 5) if time >= Fraction("1.8") and not 3.1 <= time < 3.9]
    path = write_clip(tmp_path / "clip.mkv", times, tone(5), sound_codec="flac")
    results = read(path)
    assert results[0].reason == "no frame within 0.25 s of 0.50 s: the video track starts at 1.80 s"
    assert results[1].reason == "no frame within 0.25 s of 1.50 s: the video track starts at 1.80 s"
    assert number_of(results[2].image) == times.index(Fraction(5, 2))
    assert number_of(results[3].image) == times.index(Fraction(31, 10))
    assert number_of(results[4].image) == times.index(Fraction(9, 2))


def test_gap_in_the_audio_is_silent_and_the_rest_stays_in_place(tmp_path):
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


@pytest.mark.training
@pytest.mark.parametrize("duration", [0.5, 2.0, 0.1])
def test_other_durations_have_the_frame_at_their_middle(tmp_path, duration):
    sound, times = tone(3), at(20, 3)
    path = write_clip(tmp_path / "clip.mkv", times, sound, sound_codec="flac", time_base=Fraction(1, 20))
    features = FeatureConfig(duration=duration, frame=0.05, hop=0.025)
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
def test_centre_square_fills_the_image(tmp_path, width, height):
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


def test_pixel_aspect_is_applied(tmp_path):
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
def test_display_matrix_is_applied(tmp_path, turn):
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
def test_colours_follow_the_tags_of_the_stream(tmp_path, full, matrix, red, blue):
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
