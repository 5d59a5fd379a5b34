"""Clips of a folder: shares of its files, unreadable ones named, and sentences for folders without audio."""

import numpy as np
import pytest
import soundfile

from keras_a2i.config import FeatureConfig
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.audio_folder import audio_files, read_folder_clips

FEATURES = FeatureConfig()


def write(path, seconds, level=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(seconds * 16_000), level, np.float32), 16_000)


def test_files_share_the_clips_and_bad_ones_are_named(tmp_path):
    write(tmp_path / "a.wav", 10, 0.1)
    write(tmp_path / "b" / "short.flac", 0.5, 0.2)
    write(tmp_path / "c.ogg", 10, 0.3)
    write(tmp_path / ".hidden.wav", 1)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    (tmp_path / "notes.txt").write_text("no audio")
    clips = read_folder_clips(tmp_path, FEATURES, 8)
    assert clips.waveforms.dtype == np.float32 and clips.waveforms.shape[1] == FEATURES.n_samples
    assert (clips.n_files, len(clips.skipped), clips.name) == (3, 1, tmp_path.name)
    assert "bad.wav" in clips.skipped[0]
    # What the short file leaves goes to the last one.
    assert clips.waveforms[:, 4000] == pytest.approx([0.1, 0.1, 0.2, *[0.3] * 5], abs=0.05)
    assert (clips.waveforms[2, 8000:] == 0).all()


def test_files_beyond_the_number_of_clips_are_chosen_evenly(tmp_path):
    for i in range(9):
        write(tmp_path / f"{i}.wav", 2, i / 10)
    clips = read_folder_clips(tmp_path, FEATURES, 3)
    assert clips.n_files == 3 and clips.waveforms[:, 100] == pytest.approx([0.0, 0.4, 0.8], abs=1e-3)


def test_folders_without_audio_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"must hold at least one \(\.wav.*which holds none"):
        audio_files(tmp_path)
    with pytest.raises(SourceError, match="must exist"):
        audio_files(tmp_path / "nothing")
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(UsageError, match="must be a folder"):
        audio_files(tmp_path / "bad.wav")
    with pytest.raises(SourceError, match=r"one that can be read\. Received: 1 files"):
        read_folder_clips(tmp_path, FEATURES, 3)
