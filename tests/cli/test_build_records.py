"""`keras-a2i build-records`: the options that the source types declare, and their flags in messages."""

import re

import numpy as np
import pytest
import python_speech_features
import soundfile
from click.testing import CliRunner
from PIL import Image

from keras_a2i.cli.build_records import command
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.records import Records
from keras_a2i.sources.open_sources import all_options
from keras_a2i.sources.registry import SOURCE_TYPES


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_help_lists_every_source_type_and_option():
    result = run("--help")
    assert result.exit_code == 0
    for source_type in SOURCE_TYPES.values():
        assert source_type.details.splitlines()[0] in result.output
    for option, _ in all_options().values():
        assert f"--{option.flag}" in result.output
    assert "--short [pad|skip]" in result.output and "--class NAME" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class", "A", "--exclude", "b*"], "--class and --exclude can only be used with the Kaggle scenes"),
        (["--short", "skip"], "--short can only be used with a csv of pairs"),
        (["--crop-size", "0.5"], "--crop-size can only be used with AVSpeech's csv (id,start,end,x,y)"),
        (["--id-files", "cut"], "--id-files can only be used with AVSpeech's csv (id,start,end,x,y) or VGGSound's csv"),
        (["--embedding-name", "CLAP"], "--embedding-name can only be used with a csv of embeddings"),
    ],
)
def test_options_that_no_source_uses_are_refused_by_their_flags(tmp_path, arguments, message):
    result = run("synthetic:surf:4", "--out", tmp_path / "rec", *arguments)
    assert isinstance(result.exception, UsageError) and message in str(result.exception)
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--holdout", "surf0", "--val-fraction", "0.9"], "val_fraction must .*On the command line: --val-fraction"),
        (["--holdout", "surf0", "--guard", "60"], "guard must be left out, .*On the command line: --guard, --split"),
        (["--split-file", "split.csv", "--guard", "60"], "guard must be left out, .*guard=60.0 with the kind 'file'"),
        (
            ["--split-file", "split.csv", "--holdout", "a"],
            "holdout must .*On the command line: --holdout, --split-file",
        ),
    ],
)
def test_options_that_the_split_ignores_are_refused_by_their_flags(tmp_path, arguments, message):
    result = run("synthetic:surf:4", "--out", tmp_path / "rec", *arguments)
    assert isinstance(result.exception, UsageError) and re.search(message, str(result.exception))
    assert not (tmp_path / "rec").exists()


def test_seed_that_neither_split_nor_source_uses_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", embeddings=np.eye(8, dtype=np.float32), images=np.zeros((8, 16, 16, 3), np.uint8))
    arguments = (tmp_path / "a.npz", "--out", tmp_path / "rec", "--image-size", 16, "--channels", 3, "--workers", 1)
    refused = run(*arguments, "--seed", 0).exception
    assert isinstance(refused, UsageError) and str(refused).startswith("--seed can only be used with --split random")
    assert run(*arguments, "--seed", 3, "--split", "random").exit_code == 0
    assert Manifest.read(tmp_path / "rec").split["seed"] == 3


@pytest.mark.parametrize(("duration", "frame", "hop", "n_frames"), [(0.05, 0.05, 0.025, 2), (0.3, 0.25, 0.125, 3)])
def test_clips_shorter_than_a_frame_are_one_frame(tmp_path, duration, frame, hop, n_frames):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16_000), 16_000)
    for i in range(4):
        Image.new("RGB", (16, 16), (i, i, 0)).save(tmp_path / f"{i}.png")
    rows = "".join(f"a.wav,{i}.png,{i * duration:g}\n" for i in range(4))
    (tmp_path / "pairs.csv").write_text(f"audio,image,time\n{rows}")
    arguments = ("--out", tmp_path / "rec", "--image-size", 16, "--workers", 1, "--val-fraction", 0)
    assert run(tmp_path / "pairs.csv", *arguments, "--duration", duration).exit_code == 0
    records = Records(tmp_path / "rec")
    assert (records.features.frame, records.features.hop, records.features.n_frames) == (frame, hop, n_frames)
    decoded = records.decoded("train", "waveform")
    assert np.isfinite(decoded.features).all() and len(np.unique(decoded.features[:, 0])) == 4
    expected = python_speech_features.mfcc(
        np.pad(decoded.waveforms[0], (0, 8_000)), 16_000, frame, hop, nfft=records.features.n_fft
    )
    np.testing.assert_allclose(decoded.features[0].reshape(-1, 13), expected[:n_frames], atol=1e-3)


@pytest.mark.parametrize("duration", [0, 0.01, 61])
def test_duration_out_of_range_is_refused_by_its_own_name(tmp_path, duration):
    error = run("synthetic:surf:4", "--out", tmp_path / "rec", "--duration", duration).exception
    assert isinstance(error, UsageError) and str(error).startswith("duration must lie between 0.05 and 60 seconds")


def test_image_size_out_of_range_is_refused_by_its_flag(tmp_path):
    error = run("synthetic:surf:4", "--out", tmp_path / "rec", "--image-size", 100).exception
    assert isinstance(error, UsageError) and str(error).endswith("size=100. On the command line: --image-size")


def test_sources_to_hold_out_are_listed_by_name(tmp_path):
    arguments = ("synthetic:surf:8", "--out", tmp_path / "rec", "--image-size", 16, "--workers", 1)
    output = run(*arguments, "--holdout", "surf-00", "--holdout", "surf-02").output
    assert "split: kind source, holdout surf-00 and surf-02\n" in output


def test_images_are_stored_raw_or_as_png(tmp_path):
    arguments = ("synthetic:surf:4", "--image-size", 16, "--workers", 1)
    for option, encoding in ((), "raw pixels"), (("--raw-images",), "raw pixels"), (("--no-raw-images",), "PNG"):
        out = tmp_path / (option[0] if option else "default")
        assert run(*arguments, "--out", out, *option).exit_code == 0
        assert Manifest.read(out).image.encoding == encoding


def test_build_then_again_rebuilds_nothing(tmp_path):
    arguments = ("synthetic:surf:4", "--out", tmp_path / "rec", "--image-size", 16, "--workers", 1, "--seed", 5)
    first, second = run(*arguments), run(*arguments)
    assert first.exit_code == 0 and " val) from 2 sources" in first.output
    assert second.exit_code == 0 and "complete already; nothing was rebuilt" in second.output
    manifest = Manifest.read(tmp_path / "rec")
    assert manifest.sources[0]["seed"] == 5 and manifest.image.size == 16


def test_given_splits_without_val_are_named_with_what_makes_one(tmp_path):
    arguments = ["synthetic:surf:8", "--image-size", 16, "--channels", 3, "--workers", 1]
    run(*arguments, "--out", tmp_path / "rec", "--val-fraction", 0)
    ids = [str(id) for id in Records(tmp_path / "rec").table("train").ids]
    (tmp_path / "split.csv").write_text(
        "id,split\n" + "".join(f"{id},{'test' if id.endswith('@0') else 'train'}\n" for id in ids)
    )
    arguments += ["--split-file", tmp_path / "split.csv", "--out"]
    sentence = "There is no split val, on which fit scores epochs. --val-fraction 0.05 makes one from training sources"
    assert sentence in run(*arguments, tmp_path / "two").output
    three = run(*arguments, tmp_path / "three", "--val-fraction", 0.5).output
    assert sentence not in three and "split: kind file, val_fraction 0.5" in three
    assert set(Records(tmp_path / "three").counts) == {"test", "train", "val"}


def test_unreadable_val_rows_are_named_without_a_remedy_that_is_refused(tmp_path):
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(16_000), 16_000)
        Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.png")
    (tmp_path / "pairs.csv").write_text(
        "audio,image,split\na.wav,a.png,train\nb.wav,b.png,train\nc.wav,c.png,train\n"
        "v/1.wav,v/1.png,val\nv/2.wav,v/2.png,val\n"
    )
    arguments = (tmp_path / "pairs.csv", "--image-size", 16, "--channels", 3, "--workers", 1, "--out", tmp_path / "rec")
    for result in (run(*arguments), run(*arguments)):
        assert result.exit_code == 0 and "3 pairs (3 train)" in result.output and "skipped: 2" in result.output
        assert re.search(r"^Warning: All 2 pairs of val were skipped, the first: .*1\.", result.output, re.MULTILINE)
        assert "--val-fraction" not in result.output


def test_broken_file_is_named_once(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    for options, start in (([], "At least one pair is needed. Received none: "), (["--strict"], "")):
        error = run(tmp_path / "broken.mp4", "--out", tmp_path / "rec", "--channels", 3, *options).exception
        assert isinstance(error, RecordsError) and str(error).startswith(
            f"{start}broken.mp4 can't be opened as a video"
        )
        assert str(error).count("broken.mp4") == 1
