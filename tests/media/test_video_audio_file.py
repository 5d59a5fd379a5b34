"""The sound of videos where a sound file may stand: the same seconds as of their records, and what can't be heard."""

import sys

import numpy as np
import pytest
import scipy.signal
import soundfile
from support.loudness_model import Loudness, decode
from support.video_clips import at, read, tone, write_clip

from keras_a2i.cli.generate import command
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.media.audio import open_audio, stream_audio, stream_clips
from keras_a2i.serving import predictor
from keras_a2i.serving.video import generate_video

QUIETER = FeatureConfig(sample_rate=16_000)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_windows_of_a_video_are_the_sounds_of_its_records(tmp_path, channels):
    path = write_clip(tmp_path / "a.mkv", at(10, 4.2), tone(3.5, 48_000, channels), rate=48_000, sound_codec="flac")
    windows = list(stream_clips(path, QUIETER))
    pairs = read(path, features=QUIETER)
    assert len(windows) == len(pairs) == 4
    for window, pair in zip(windows, pairs, strict=True):
        np.testing.assert_allclose(window, pair.waveform, atol=2e-4)


def test_sound_that_starts_late_or_pauses_stays_where_it_is(tmp_path):
    sound = tone(2)
    path = write_clip(tmp_path / "a.mkv", at(10, 3), sound, sound_start=0.75, sound_codec="flac")
    heard = np.concatenate(list(stream_audio(path, 16_000)))
    assert heard.shape == (2.75 * 16_000,) and not heard[:11_990].any()
    np.testing.assert_allclose(heard[12_000:], sound[:, 0], atol=1e-4)


def test_it_says_what_it_holds_and_is_cut_short_where_the_file_is(tmp_path):
    whole = write_clip(tmp_path / "a.mkv", at(10, 4), tone(4, 44_100, 2), rate=44_100, sound_codec="flac")
    with open_audio(whole) as file:
        assert (file.samplerate, file.channels) == (44_100, 2) and abs(file.frames - 4 * 44_100) < 4_410
    (tmp_path / "half.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    heard, half = (np.concatenate(list(stream_audio(path, 44_100))) for path in (whole, tmp_path / "half.mkv"))
    assert 44_100 < len(half) < 3 * 44_100
    np.testing.assert_array_equal(half, heard[: len(half)])


def test_sound_that_changes_its_form_goes_on_in_the_one_it_began_with(tmp_path):
    sound = tone(2, 48_000, 2)
    begins = write_clip(tmp_path / "a.ts", at(10, 2), sound, rate=48_000, sound_codec="mp2")
    goes_on = write_clip(
        tmp_path / "b.ts",
        [2 + time for time in at(10, 2)],
        tone(2, 32_000),
        rate=32_000,
        sound_codec="mp2",
        sound_start=2.0,
    )
    (tmp_path / "both.ts").write_bytes(begins.read_bytes() + goes_on.read_bytes())
    with open_audio(tmp_path / "both.ts") as file:
        assert (file.samplerate, file.channels) == (48_000, 2)
        heard = np.concatenate(list(file.blocks()))
    # By the time stamps the second file begins 0.2 s before the first one ends.
    assert heard.shape[1] == 2 and abs(len(heard) - 3.81 * 48_000) < 1_000
    # The second half is mono from there on, and starts where the first one ends.
    assert np.abs(heard[97_000:180_000, 0] - heard[97_000:180_000, 1]).max() < 1e-5
    again = scipy.signal.resample_poly(tone(2, 32_000)[:, 0], 3, 2)[24_000:48_000]
    lag = scipy.signal.correlate(heard[100_000:160_000, 0], again, "valid").argmax()
    assert abs(np.corrcoef(heard[100_000 + lag : 124_000 + lag, 0], again)[0, 1]) > 0.95


def test_videos_without_sound_are_named(tmp_path):
    write_clip(tmp_path / "mute.mp4", at(10, 2))
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    for name, message in (
        ("mute.mp4", r"^mute\.mp4 has no sound$"),
        ("garbage.mp4", r"^garbage\.mp4 can't be read as a video: "),
        ("gone.mp4", r"^The sound file gone\.mp4 doesn't exist$"),
    ):
        with pytest.raises(SourceError, match=message):
            list(stream_audio(tmp_path / name, 16_000))


def test_a_video_of_a_video_has_its_sound_in_stereo(tmp_path):
    sound = tone(2, 44_100, 2)
    path = write_clip(tmp_path / "a.mov", at(10, 2), sound, rate=44_100, sound_codec="pcm_s16le")
    summary = generate_video(Loudness(), path, tmp_path / "out.mp4", fps=25)
    assert summary.frames == 50
    _, pictures, _, heard, rate, start = decode(tmp_path / "out.mp4")
    assert len(pictures) == 50 and rate == 44_100 and heard.shape[1] == 2
    first = round(-start * rate)
    for channel in (0, 1):
        cut = heard[first : first + 80_000, channel]
        assert np.corrcoef(cut, sound[: len(cut), channel])[0, 1] > 0.99


def test_the_command_takes_videos_beside_sound_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predictor, "load", lambda _: Loudness(features=QUIETER))
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.mp4", at(10, 2), tone(2))
    write_clip(tmp_path / "mute.mp4", at(10, 2))
    soundfile.write("b.wav", tone(1), 16_000)
    arguments = ["model", "a.mp4", "mute.mp4", "b.wav", "--out", "out", "--no-sheet"]
    command.main(arguments, standalone_mode=False)
    out, err = capsys.readouterr()
    # AAC fills its last block.
    assert "out/a: 3 images" in out and "out/b: 1 image" in out and "skipped: mute.mp4 has no sound" in err
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r'Reading video files needs .* pip install "keras-a2i\[video\]"'):
        command.main([*arguments[:2], "--out", "other"], standalone_mode=False)
