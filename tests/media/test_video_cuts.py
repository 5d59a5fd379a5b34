"""Clips cut out of the middle of videos: exact to the frame and the sample, also where reading skips ahead; crops."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import soxr
from support.video_clips import IMAGE, RATE, at, nearest, number_of, tone, write_clip

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.media.video_decode import VideoDecoder, decode_clips
from keras_a2i.media.video_file import VideoFile, open_video
from keras_a2i.media.video_frames import Crop

FEATURES = FeatureConfig()
KEYFRAMES = {"gop_size": 20}


def cut(path, start, n_clips, *, image=IMAGE, features=FEATURES, crop=None):
    return list(decode_clips(path, n_clips, features, image, start=Fraction(start), crop=crop))


def read_from_the_start(path, start, n_clips):
    with open_video(path) as file:
        return list(VideoDecoder(file.from_moment(Fraction(start)), n_clips, FEATURES, IMAGE, skip=False))


def assert_equal(clips, others):
    for (waveform, image), (other_waveform, other_image) in zip(clips, others, strict=True):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_allclose(waveform, other_waveform, atol=1e-6)


@pytest.fixture
def skips(monkeypatch):
    """The moments that reading skipped ahead to, in seconds."""
    done, original = [], VideoFile.skip_ahead
    monkeypatch.setattr(VideoFile, "skip_ahead", lambda file: done.append(float(file.start)) or original(file))
    return done


@pytest.mark.parametrize(
    ("name", "options", "skipped"),
    [
        ("clip.mp4", {"sound_codec": "alac", "rate": 44_100}, True),
        ("clip.mkv", {"sound_codec": "flac", "rate": 44_100}, True),
        (
            "clip.mkv",
            {"sound_codec": "pcm_s16le", "rate": 48_000, "codec": "mpeg4", "time_base": Fraction(1, 25)},
            True,
        ),
        ("clip.avi", {"sound_codec": "pcm_s16le", "codec": "mpeg4", "time_base": Fraction(1, 25)}, False),
    ],
)
@pytest.mark.parametrize("start", ["5", "5.37", "4.566667"])
def test_cut_has_the_nearest_frames_and_the_samples_of_the_file(tmp_path, skips, name, options, skipped, start):
    rate, times = options.get("rate", RATE), at(25, 9)
    sound = tone(9, rate)
    path = write_clip(tmp_path / name, times, sound, tags=KEYFRAMES, **options)
    clips = cut(path, start, 3)
    with av.open(str(path)) as clip:  # muxers of some formats move the frames: what counts is where they are
        shown = [
            Fraction(frame.pts) * frame.time_base - Fraction(clip.start_time, 1_000_000) for frame in clip.decode(0)
        ]
    # The nearest sample of the file, from which on it is resampled with a tenth of a second before it.
    first = round(Fraction(start) * rate)
    expected = soxr.resample(sound[first - rate // 10 :, 0], rate, RATE)[RATE // 10 :]
    for k, (waveform, image) in enumerate(clips):
        assert number_of(image) == nearest(shown, Fraction(start) + k + Fraction(1, 2))
        np.testing.assert_allclose(waveform, expected[k * RATE : (k + 1) * RATE], atol=1e-3)
    assert skips == ([float(Fraction(start))] if skipped else [])
    assert_equal(clips, read_from_the_start(path, start, 3))


@pytest.mark.training
@pytest.mark.parametrize(
    ("name", "codec", "sound_codec", "base"),
    [
        ("clip.webm", "libvpx-vp9", "libopus", 20),
        ("clip.ts", "mpeg2video", "mp2", 25),
        ("clip.mp4", "libx264", "aac", 20),
    ],
)
def test_cut_of_lossy_formats_is_what_reading_from_the_start_has(tmp_path, skips, name, codec, sound_codec, base):
    sound, times = tone(9, 48_000), at(base, 9)
    options = {"sound_codec": sound_codec, "rate": 48_000, "time_base": Fraction(1, base), "tags": KEYFRAMES}
    path = write_clip(tmp_path / name, times, sound, codec=codec, **options)
    clips, others = cut(path, "5.25", 3), read_from_the_start(path, "5.25", 3)
    assert skips == ([] if name == "clip.ts" else [5.25])
    for (waveform, image), (other_waveform, other_image) in zip(clips, others, strict=True):
        assert number_of(image) == number_of(other_image)
        np.testing.assert_allclose(waveform, other_waveform, atol=0.03)
    # 1.5 ms: encoders shift what they encode by the delay that the file states, in whole milliseconds for webm.
    expected, first = soxr.resample(sound[:, 0], 48_000, RATE), round(5.25 * RATE)
    lags = np.arange(-400, 401)
    scores = [clips[0][0] @ expected[first + lag : first + lag + RATE] for lag in lags]
    assert abs(lags[int(np.argmax(scores))]) <= (400 if name == "clip.ts" else 24)


def test_cut_at_zero_is_the_file_itself(tmp_path, skips):
    path = write_clip(tmp_path / "clip.mp4", at(10, 3), tone(3), tags=KEYFRAMES)
    assert_equal(cut(path, 0, 3), read_from_the_start(path, 0, 3))
    assert skips == []


def test_cut_of_other_durations_counts_from_its_start(tmp_path):
    sound, features = tone(6), FeatureConfig(duration=0.5, frame=0.05, hop=0.025)
    path = write_clip(tmp_path / "clip.mkv", at(20, 6), sound, sound_codec="flac", tags=KEYFRAMES)
    for k, (waveform, image) in enumerate(cut(path, "3.2", 4, features=features)):
        assert number_of(image) == nearest(at(20, 6), Fraction("3.2") + Fraction(2 * k + 1, 4))
        np.testing.assert_allclose(waveform, sound[51_200 + k * 8_000 :][:8_000, 0], atol=1e-3)


def test_an_index_that_leads_astray_changes_nothing(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", at(25, 8), tone(8), tags=KEYFRAMES)
    expected = read_from_the_start(path, 3, 4)

    def too_late(file):
        file.container.seek(5_000_000)

    def refused(file):
        raise av.FFmpegError(1, "no index")

    for skip_ahead in (too_late, refused):
        monkeypatch.setattr(VideoFile, "skip_ahead", skip_ahead)
        assert_equal(cut(path, 3, 4), expected)


def test_tracks_that_are_far_apart_in_the_file_are_read_from_the_start(tmp_path, skips):
    path = write_clip(
        tmp_path / "clip.mkv",
        at(25, 9),
        tone(9),
        sound_codec="flac",
        sound_first=True,
        tags=KEYFRAMES,
        options={"max_interleave_delta": "1"},
    )
    clips = cut(path, 6, 2)
    assert skips == [6] and [number_of(image) for _, image in clips] == [162, 187]
    np.testing.assert_allclose(clips[1][0], tone(9)[7 * RATE : 8 * RATE, 0], atol=1e-3)


def test_frames_that_are_lost_behind_the_keyframe_are_looked_for_from_the_start(tmp_path, monkeypatch):
    """The first attempt lacks a frame that its packets promise: the second, without skipping, decides."""
    path = write_clip(
        tmp_path / "clip.mp4", at(25, 8), tone(8), codec="mpeg4", time_base=Fraction(1, 25), tags=KEYFRAMES
    )
    attempts, original = [], VideoDecoder._decode_frame

    def lossy(self, packet):
        attempts.append(self._ahead)
        if not (self._ahead and packet is not None and packet.pts * packet.time_base == Fraction(112, 25)):
            original(self, packet)

    monkeypatch.setattr(VideoDecoder, "_decode_frame", lossy)
    assert [number_of(image) for _, image in cut(path, 4, 2)] == [112, 137]
    assert attempts[0] and not attempts[-1]


def test_frame_before_the_cut_is_used_only_while_it_is_shown(tmp_path):
    """Slides at 0, 4 and 6 s; from 6 s on there are five frames a second."""
    times = [Fraction(0), Fraction(4), *(6 + time for time in at(5, 3))]
    path = write_clip(tmp_path / "slides.mp4", times, tone(9), time_base=Fraction(1, 10))
    assert [number_of(image) for _, image in cut(path, "4.6", 4)] == [1, 2, nearest(times, 7.1), nearest(times, 8.1)]
    # 5.9 s: the slide of 4 s is shown at the start, but a frame of the clip lies near the middle.
    assert number_of(cut(path, "5.9", 1)[0][1]) == nearest(times, 6.4)


def test_reasons_count_from_the_start_of_the_file(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", at(10, 4), tone(4), sound_codec="flac")
    assert cut(path, "3.2", 3)[1:] == ["it has no audio: the audio track ends at 4.00 s"] * 2
    assert cut(path, 20, 1) == ["it has no audio: the audio track ends at 4.00 s"]
    late = [6 + time for time in at(10, 3)]
    path = write_clip(tmp_path / "late.mkv", late, tone(9), sound_codec="flac")
    clips = cut(path, 4, 3)
    assert clips[0] == "no frame within 0.25 s of 4.50 s: the video track starts at 6.00 s"
    assert number_of(clips[2][1]) == nearest(late, 6.5)
    path = write_clip(tmp_path / "quiet.mkv", at(10, 6), tone(3), sound_codec="flac", sound_start=3.7)
    assert cut(path, "2.5", 1) == ["it has no audio: the audio track starts at 3.70 s"]


def test_audio_before_the_cut_is_not_kept(tmp_path, monkeypatch):
    """Where reading can't skip ahead, only what the clips need is resampled."""
    from keras_a2i.media import audio_track

    path = write_clip(
        tmp_path / "clip.avi", at(25, 9), tone(9), codec="mpeg4", sound_codec="pcm_s16le", time_base=Fraction(1, 25)
    )
    sizes, original = [], audio_track.Resampler.__call__
    monkeypatch.setattr(
        audio_track.Resampler,
        "__call__",
        lambda self, x, last=False: sizes.append(len(x)) or original(self, x, last=last),
    )
    assert len(cut(path, 7, 1)) == 1
    assert sum(sizes) < 2.5 * RATE


def ramp(width, height):
    """Pixels whose red is 3 x column and whose green is 3 x row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([3 * columns, 3 * rows, np.full_like(rows, 100)], axis=-1).astype(np.uint8)


def write_ramp(path, **options):
    """A second of ten frames of 64 x 48 pixels that are all a `ramp`."""
    return write_clip(path, at(10, 1), tone(1), pictures=lambda n: ramp(64, 48), **options)


def centre_of(image):
    """The middle of what a crop of `ramp` shows, in pixels from the left and the top."""
    return (image[..., :2].reshape(-1, 2).mean(axis=0) / 3 + 0.5).tolist()


@pytest.mark.parametrize(
    ("x", "y", "size", "centre"),
    [
        (0.5, 0.5, 0.5, (32, 24)),
        (0.25, 0.625, 0.5, (16, 30)),
        (0.5, 0.5, 1.0, (32, 24)),
        (0.6, 0.1, 1.0, (38, 24)),
        (0.0, 0.0, 0.5, (12, 12)),
        (1.0, 1.0, 0.5, (52, 36)),
        (0.95, 0.5, 0.25, (58, 24)),
    ],
)
def test_crop_is_a_square_round_its_centre_within_the_frame(tmp_path, x, y, size, centre):
    path = write_ramp(
        tmp_path / "clip.mkv", codec="ffv1", pix_fmt="bgr0", sound_codec="flac", time_base=Fraction(1, 10)
    )
    ((_, image),) = cut(path, 0, 1, crop=Crop(x, y, size), image=ImageConfig(size=16))
    assert centre_of(image) == pytest.approx(centre, abs=0.2)
    side = 48 * size
    # The first and the last column show the border pixels of the square, and nothing beyond them.
    assert np.ptp(image[8, :, 0].astype(int)) == pytest.approx(3 * side * 15 / 16, abs=3)
    assert np.ptp(image[:, 8, 1].astype(int)) == pytest.approx(3 * side * 15 / 16, abs=3)


@pytest.mark.parametrize(
    ("matrix", "centre"),
    [
        ((0, 1, -1, 0), lambda x, y: (48 - y, x)),
        ((-1, 0, 0, -1), lambda x, y: (64 - x, 48 - y)),
        ((0, -1, 1, 0), lambda x, y: (y, 64 - x)),
        ((-1, 0, 0, 1), lambda x, y: (64 - x, y)),
    ],
    ids=["90 clockwise", "180", "90 counterclockwise", "mirrored"],
)
def test_crop_is_placed_in_the_frame_as_it_is_displayed(tmp_path, matrix, centre):
    """A point of the stored frame, (20, 16), and where the display matrix brings it."""
    path = write_ramp(tmp_path / "clip.mp4", pix_fmt="yuv444p", tags={"bit_rate": 1_000_000})
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    width, height = (48, 64) if a == 0 else (64, 48)
    x, y = centre(20, 16)
    ((_, image),) = cut(path, 0, 1, crop=Crop(x / width, y / height, 0.5), image=ImageConfig(size=16))
    assert centre_of(image) == pytest.approx((20, 16), abs=1.5)


def test_crop_of_wide_pixels_is_square_as_displayed(tmp_path):
    path = write_ramp(tmp_path / "clip.mp4", pix_fmt="yuv444p", tags={"sample_aspect_ratio": Fraction(2)})
    ((_, image),) = cut(path, 0, 1, crop=Crop(0.5, 0.5, 0.5), image=ImageConfig(size=16))
    assert centre_of(image) == pytest.approx((32, 24), abs=1)
    assert np.ptp(image[8, :, 0].astype(int)) == pytest.approx(3 * 12 * 15 / 16, abs=6)
    assert np.ptp(image[:, 8, 1].astype(int)) == pytest.approx(3 * 24 * 15 / 16, abs=6)
