"""The audio of video files: the same samples as in their records, and files without audio."""

import av
import numpy as np
import pytest
import scipy.signal
from support.video_clips import at, read, tone, write_clip

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.audio import open_audio, stream_audio
from keras_a2i.sources.pair import Pair


def stream(path, sample_rate):
    return np.concatenate(list(stream_audio(path, sample_rate)))


def whole(path):
    """A clip of 4 s whose audio starts with its frames."""
    return write_clip(path, at(10, 4), tone(4, 44_100, 2), rate=44_100, sound_codec="flac")


def late(path):
    return write_clip(path, at(10, 4), tone(3, 44_100), rate=44_100, sound_codec="flac", sound_start=0.123)


def early(path):
    times = [time + 1 for time in at(10, 3)]
    return write_clip(path, times, tone(4), sound_codec="flac")


def aac(path):
    return write_clip(path, at(30, 4), tone(4, 48_000, 2), rate=48_000)


def many_planes(path):
    return write_clip(path, at(10, 3), tone(3, 48_000, 8), rate=48_000)


def remuxed(path, keep=lambda time: True, shift=lambda time: 0.0):
    """A copy of a clip in which audio packets are omitted or have other time stamps."""
    source = write_clip(path.with_name("source.mkv"), at(10, 4), tone(4), sound_codec="pcm_s16le")
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = [new.add_stream_from_template(each) for each in old.streams]
        for packet in old.demux():
            audio = packet.stream.type == "audio"
            if packet.size and (not audio or keep(packet.pts * packet.time_base)):
                if audio:
                    moved = round(shift(packet.pts * packet.time_base) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + moved, packet.pts + moved
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return path


def gap(path):
    return remuxed(path, keep=lambda time: not 1.2 <= time < 1.45)


def pause(path):
    return remuxed(path, shift=lambda time: 0.3 if time > 1.7 else 0.0)


def overlap(path):
    return remuxed(path, shift=lambda time: -0.05 if time > 1.7 else 0.0)


def jitter(path):
    return remuxed(path, shift=lambda time: 0.008 if round(time * 1_000) % 3 else 0.0)


def two_formats(path):
    first = write_clip(path.with_name("a.ts"), at(10, 2), tone(2, 48_000, 2), rate=48_000, sound_codec="mp2")
    times = [2 + time for time in at(10, 2)]
    second = write_clip(path.with_name("b.ts"), times, tone(2, 32_000), rate=32_000, sound_codec="mp2", sound_start=2.0)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def truncated(path):
    whole(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    return path


CASES = {
    "clip.mkv": (whole, late, early, gap, pause, overlap, jitter, truncated),
    "clip.mp4": (aac, many_planes),
    "clip.ts": (two_formats,),
}


@pytest.mark.training
@pytest.mark.parametrize(("duration", "sample_rate"), [(1.0, 16_000), (0.3, 22_050)])
@pytest.mark.parametrize(("make", "name"), [(make, name) for name, makes in CASES.items() for make in makes])
def test_stream_audio_of_a_video_equals_the_waveforms_of_its_records(tmp_path, make, name, duration, sample_rate):
    path = make(tmp_path / name)
    features = FeatureConfig(duration=duration, sample_rate=sample_rate, frame=0.1, hop=0.05)
    waveform, n_compared = np.pad(stream(path, sample_rate), (0, features.n_samples)), 0
    for item in read(path, features=features):
        if isinstance(item, Pair):
            start = round(item.key.time * sample_rate)
            np.testing.assert_array_equal(waveform[start : start + features.n_samples], item.waveform)
            n_compared += 1
    assert n_compared >= 2


def test_stream_audio_that_starts_late_begins_with_silence(tmp_path):
    audio = tone(2)
    path = write_clip(tmp_path / "a.mkv", at(10, 3), audio, sound_start=0.75, sound_codec="flac")
    waveform = stream(path, 16_000)
    assert waveform.shape == (2.75 * 16_000,) and not waveform[:11_990].any()
    np.testing.assert_allclose(waveform[12_000:], audio[:, 0], atol=1e-4)


def test_stream_audio_with_a_gap_is_silent_there_and_in_place_after_it(tmp_path):
    waveform, audio = stream(gap(tmp_path / "a.mkv"), 16_000), tone(4)[:, 0]
    assert not waveform[round(1.3 * 16_000) : round(1.4 * 16_000)].any()
    np.testing.assert_allclose(waveform[24_000:64_000], audio[24_000:64_000], atol=1e-3)


def test_stream_audio_of_a_truncated_video_ends_early(tmp_path):
    path = whole(tmp_path / "a.mkv")
    with open_audio(path) as file:
        assert (file.samplerate, file.channels) == (44_100, 2) and abs(file.frames - 4 * 44_100) < 4_410
    (tmp_path / "half.mkv").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    full, half = stream(path, 44_100), stream(tmp_path / "half.mkv", 44_100)
    assert 44_100 < len(half) < 3 * 44_100
    np.testing.assert_array_equal(half, full[: len(half)])


def test_stream_audio_of_a_file_without_a_video_track_is_read(tmp_path):
    path = write_clip(tmp_path / "audio.mp4", None, tone(2), sound_codec="aac")
    assert 2 * 16_000 <= len(stream(path, 16_000)) < 2.2 * 16_000


@pytest.mark.training
def test_open_audio_of_a_video_keeps_stereo_on_the_same_timeline(tmp_path):
    path = late(tmp_path / "mono.mkv")
    with open_audio(path) as file:
        both = np.concatenate(list(file.blocks(16_000, channels=2)))
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_array_equal(both[:, 0], stream(path, 16_000))
    audio = tone(4, 44_100, 2)
    path = whole(tmp_path / "stereo.mkv")
    with open_audio(path) as file:
        both = np.concatenate(list(file.blocks()))
    np.testing.assert_allclose(both[: len(audio)], audio, atol=1e-4)


@pytest.mark.training
def test_open_audio_that_changes_its_format_continues_in_the_first_one(tmp_path):
    path = two_formats(tmp_path / "both.ts")
    with open_audio(path) as file:
        assert (file.samplerate, file.channels) == (48_000, 2)
        blocks = np.concatenate(list(file.blocks()))
    # By the time stamps the second file begins 0.2 s before the first one ends.
    assert blocks.shape[1] == 2 and abs(len(blocks) - 3.81 * 48_000) < 1_000
    # The second half is mono, and starts where the first one ends.
    assert np.abs(blocks[97_000:180_000, 0] - blocks[97_000:180_000, 1]).max() < 1e-5
    again = scipy.signal.resample_poly(tone(2, 32_000)[:, 0], 3, 2)[24_000:48_000]
    lag = scipy.signal.correlate(blocks[100_000:160_000, 0], again, "valid").argmax()
    assert abs(np.corrcoef(blocks[100_000 + lag : 124_000 + lag, 0], again)[0, 1]) > 0.95


def test_stream_audio_of_videos_without_audio_is_refused(tmp_path):
    write_clip(tmp_path / "mute.mp4", at(10, 2))
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    for name, message in (
        ("mute.mp4", r"^mute\.mp4 has no audio track$"),
        ("garbage.mp4", r"^garbage\.mp4 can't be opened as a video: "),
        ("gone.mp4", r"^The audio file gone\.mp4 doesn't exist$"),
    ):
        with pytest.raises(SourceError, match=message):
            list(stream_audio(tmp_path / name, 16_000))
