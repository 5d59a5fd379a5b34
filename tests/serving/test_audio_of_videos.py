"""Video files where an audio file is expected: their audio in generated videos and images."""

import pathlib
import re
import sys

import numpy as np
import pytest
import soundfile
from support.loudness_model import Loudness, decode
from support.video_clips import at, tone, write_clip

from keras_a2i.cli.generate import command
from keras_a2i.config import FeatureConfig
from keras_a2i.errors import MissingPackageError, SourceError
from keras_a2i.serving import predictor
from keras_a2i.serving.video import generate_video

QUIETER = FeatureConfig(sample_rate=16_000)


@pytest.mark.training
def test_write_video_of_a_video_keeps_its_stereo_audio(tmp_path):
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


def test_generate_accepts_videos_beside_audio_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predictor, "load", lambda _: Loudness(features=QUIETER))
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.mp4", at(10, 2), tone(2))
    write_clip(tmp_path / "mute.mp4", at(10, 2))
    soundfile.write("b.wav", tone(1), 16_000)
    arguments = ["model", "a.mp4", "mute.mp4", "b.wav", "--out", "out", "--no-sheet"]
    command.main(arguments, standalone_mode=False)
    out, err = capsys.readouterr()
    # AAC fills its last block, which the header's duration doesn't count.
    assert "out/a: 2 images" in out and "out/b: 1 image" in out and "skipped: mute.mp4 has no audio track" in err
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        MissingPackageError, match=r'Reading video files and .* needs .* pip install "keras-a2i\[video\]"'
    ):
        command.main([*arguments[:2], "--out", "other"], standalone_mode=False)


def test_generate_says_what_breaks_off_and_strict_stops_at_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predictor, "load", lambda _: Loudness(features=QUIETER))
    monkeypatch.chdir(tmp_path)
    soundfile.write("whole.flac", tone(6), 16_000)
    data = pathlib.Path("whole.flac").read_bytes()
    pathlib.Path("part.flac").write_bytes(data[: len(data) // 2])
    command.main(["model", "whole.flac", "part.flac", "--out", "out", "--no-sheet"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert "out/whole: 6 images" in out and "out/part: 3 images" in out
    assert re.search(r"damaged, but used: part\.flac breaks off at \d\.\d s; its header states 6\.0 s", err)
    with pytest.raises(SourceError, match=r"part\.flac breaks off at .*\(--strict\)"):
        command.main(["model", "part.flac", "--out", "strict", "--strict"], standalone_mode=False)


def test_file_of_dots_alone_writes_nothing_outside_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "load", lambda _: Loudness(features=QUIETER))
    monkeypatch.chdir(tmp_path)
    soundfile.write("...wav", tone(1), 16_000, format="WAV")
    command.main(["model", "...wav", "--out", "out"], standalone_mode=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["...wav", "out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["...wav", "...wav.png"]
