"""Videos of audio files: every frame shows its own moment, images and audio stay in step, no half file is left."""

import dataclasses
import itertools
import sys
import tracemalloc
from fractions import Fraction

import keras
import numpy as np
import pytest
import scipy.ndimage
import soundfile
from support.loudness_model import Loudness, decode
from support.networks import tiny_network

from keras_a2i.cli.generate import command
from keras_a2i.config import ImageConfig
from keras_a2i.errors import KerasA2IError, MissingPackageError, SourceError, UsageError
from keras_a2i.models.model_file import ModelMetadata, save_model
from keras_a2i.models.shipped import shipped_models
from keras_a2i.serving import film_codecs, muxing, predictor
from keras_a2i.serving.film_settings import FilmSettings
from keras_a2i.serving.sliding import clip_start, frame_start, slide_clips, smooth_frames
from keras_a2i.serving.staged_film import LIST_FILE
from keras_a2i.serving.video import Flicker, generate_video, stream_frames

NTSC = Fraction(30_000, 1001)


def write_clicks(path, times, seconds=4.0, rate=16_000, channels=1):
    """Silence with a burst of 2 kHz, 40 ms long, from each of `times` (s)."""
    sound = np.zeros((round(seconds * rate), channels), np.float32)
    burst = 0.8 * np.cos(2 * np.pi * 2_000 * np.arange(round(0.04 * rate)) / rate)
    for time in times:
        sound[round(time * rate) :][: len(burst)] = burst[:, None]
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return path


def in_blocks(sound, lengths):
    starts = np.cumsum([0, *lengths])
    return [sound[start:stop] for start, stop in itertools.pairwise([*starts, len(sound)]) if start <= stop]


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(25), NTSC, Fraction(60)])
@pytest.mark.parametrize(("n_samples", "total"), [(16_000, 50_000), (800, 31_999), (801, 16_000), (16_000, 1)])
def test_slide_clips_are_centred_on_the_middle_of_their_frame(fps, n_samples, total):
    sound = np.random.default_rng(0).uniform(-1, 1, total).astype(np.float32)
    batches = list(slide_clips(in_blocks(sound, [1, 0, 700, 9_000]), 16_000, n_samples, fps, 7))
    windows = np.concatenate(batches)
    assert {len(batch) for batch in batches[:-1]} <= {7} and windows.dtype == np.float32
    # As many frames as begin before the sound ends: its last part of a frame has one too.
    assert len(windows) == max(1, -(-total * fps // 16_000))
    padded = np.pad(sound, 40_000)
    for k, window in enumerate(windows):
        first = (k + Fraction(1, 2)) / fps * 16_000 - Fraction(n_samples, 2)
        start = 40_000 + int(np.floor(first + Fraction(1, 2)))
        np.testing.assert_array_equal(window, padded[start : start + n_samples])


def test_clip_start_does_not_drift_and_agrees_with_records():
    for k in (0, 1, 90_000, 10_000_000):
        assert clip_start(k, Fraction(1), 16_000, 16_000) == k * 16_000 == frame_start(k, Fraction(1), 16_000)
        middle = (2 * k + 1) * 1001 * 44_100 / 60_000
        assert abs(clip_start(k, NTSC, 44_100, 1_001) + 500.5 - middle) <= 0.5
    assert frame_start(108_000, NTSC, 16_000) == 3603.6 * 16_000


@pytest.mark.training
def test_slide_clips_holds_audio_no_longer_than_a_clip_needs_it():
    blocks = (np.zeros(65_536, np.float32) for _ in range(200))
    tracemalloc.start()
    count = sum(len(batch) for batch in slide_clips(blocks, 16_000, 16_000, Fraction(5), 32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == -(-200 * 65_536 // 3_200) and peak < 12e6


@pytest.mark.parametrize(("n", "sigma"), [(100, 2.5), (7, 5.0), (1, 1.0), (64, 0.1)])
def test_smooth_frames_equals_scipy_gaussian_with_renormalised_edges(n, sigma):
    values = np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32)
    smoothed = list(smooth_frames(in_blocks(values, [4, 1, 9]) if n > 14 else [values], sigma))
    reach = int(np.ceil(3 * sigma))

    def gaussian(x):
        return scipy.ndimage.gaussian_filter1d(x, sigma, axis=0, mode="constant", radius=reach)

    expected = gaussian(values.astype(np.float64)) / gaussian(np.ones((n, 1)))
    np.testing.assert_allclose(np.concatenate(smoothed), expected, atol=1e-6)


def test_smooth_frames_reads_ahead_no_further_than_needed_and_keeps_batches_small():
    received = []

    def batches():
        for i in range(50):
            received.append(i)
            yield np.full((4, 1), i, np.float32)

    frames = smooth_frames(batches(), 3.0)
    next(frames)
    assert len(received) == 3  # 9 frames ahead and one to give
    rest = list(frames)
    assert max(map(len, rest)) <= 4 and sum(map(len, rest)) == 200 - 3
    assert list(smooth_frames([], 1.0)) == []


def test_flicker_is_the_mean_absolute_change():
    images = np.random.default_rng(2).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    flicker = Flicker()
    assert flicker.value == 0
    for part in (images[:1], images[1:6], images[6:]):
        flicker.add(part)
    assert flicker.value == pytest.approx(np.abs(np.diff(images.astype(int), axis=0)).mean() / 255)


@pytest.mark.training
@pytest.mark.parametrize(
    ("codec", "fps", "rate", "channels"),
    [
        ("h264", 25.0, 44_100, 2),
        ("h264", 60.0, 11_025, 1),
        ("h264", 29.97003, 16_000, 6),
        ("vp9", 25.0, 44_100, 2),
        ("vp9", 29.97003, 16_000, 1),
        ("vp9", 60.0, 48_000, 6),
    ],
)
def test_generate_video_shows_a_click_when_it_plays(tmp_path, codec, fps, rate, channels):
    times = (0.51, 1.73, 3.37)
    sound = write_clicks(tmp_path / "clicks.wav", times, 3.83, rate, channels)
    summary = generate_video(Loudness(), sound, tmp_path / "video", fps=fps, codec=codec)
    about, pictures, shown, heard, heard_rate, start = decode(tmp_path / "video")
    exact = NTSC if fps == 29.97003 else Fraction(fps)
    assert about == (("h264", "aac", "yuv420p") if codec == "h264" else ("vp9", "opus", "yuv420p"))
    assert heard_rate == (48_000 if codec == "vp9" else rate) and heard.shape[1] == (2 if channels == 2 else 1)
    assert len(pictures) == summary.frames == -(-383 * exact // 100)
    np.testing.assert_allclose(shown, np.arange(len(shown)) / float(exact), atol=0.0011)
    # AAC comes in packets of 1,024 samples.
    assert 3.83 - 1e-3 <= start + len(heard) / heard_rate <= 3.83 + 1024 / heard_rate + 1e-3
    onsets = start + np.flatnonzero(np.abs(heard[:, 0]) > 0.4) / heard_rate
    light = pictures.mean(axis=(1, 2, 3)) > 127
    for time in times:
        onset = onsets[onsets > time - 0.3][0]
        assert abs(onset - time) < 0.002
        seen = np.flatnonzero(light & (shown > time - 0.3))[0]
        assert abs(seen - int(onset * exact)) <= 1
        if exact == 25:
            assert seen == int(time * 25)


def test_generate_video_keeps_both_channels_and_loudness(tmp_path):
    rate, n = 44_100, 44_100
    left, right = (0.5 * np.sin(2 * np.pi * f * np.arange(n) / rate) for f in (440, 1_000))
    soundfile.write(tmp_path / "two.flac", np.stack([left, right], axis=1), rate)
    generate_video(Loudness(), tmp_path / "two.flac", tmp_path / "two.mp4")
    heard = decode(tmp_path / "two.mp4")[3][:n]
    for i, channel in enumerate((left, right)):
        assert np.corrcoef(heard[4_000:40_000, i], channel[4_000:40_000])[0, 1] > 0.999
        assert np.std(heard[:, i]) == pytest.approx(np.std(channel), rel=0.02)


@pytest.mark.training
@pytest.mark.parametrize("codec", ["h264", "vp9"])
@pytest.mark.parametrize("channels", [1, 3])
def test_generate_video_keeps_the_colours_of_the_model(tmp_path, codec, channels):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 40], [128, 128, 128], [0, 0, 0]])[
        :, :channels
    ]

    class Colours(Loudness):
        def show(self, latents):
            picked = colours[np.rint(latents[:, 0] * 10).astype(int)]
            return np.tile(picked[:, None, None] / 127.5 - 1, (1, 32, 32, 1)).astype(np.float32)

    # 25 frames of each colour, chosen by a loudness of 0, 0.1, 0.2 ... of their clips.
    soundfile.write(tmp_path / "steps.wav", np.repeat(np.arange(6) / 10, 16_000), 16_000, subtype="FLOAT")
    generate_video(Colours(32, channels), tmp_path / "steps.wav", tmp_path / "steps", codec=codec)
    pictures = decode(tmp_path / "steps")[1][12::25]
    assert pictures.shape == (6, 32, 32, 3)
    expected = np.broadcast_to(colours, (6, 3))[:, None, None]
    assert np.abs(pictures.astype(int) - expected).max() <= 4


def test_generate_video_smoothing_reduces_flicker_without_delay(tmp_path):
    sound = write_clicks(tmp_path / "clicks.wav", (2.0,))
    rough = generate_video(Loudness(), sound, tmp_path / "rough.mp4")
    smooth = generate_video(Loudness(), sound, tmp_path / "smooth.mp4", smooth=0.2)
    assert rough.frames == smooth.frames == 100 and rough.seconds == 4.0
    assert 0 < smooth.flicker < 0.5 * rough.flicker
    plain, calm = (
        np.concatenate(list(stream_frames(Loudness(), sound, FilmSettings(smooth=s))))[:, 0, 0, 0] for s in (0, 0.2)
    )
    centres = [np.average(np.arange(100), weights=x + 0.8) for x in (plain, calm)]
    assert centres[0] == pytest.approx(centres[1], abs=0.01)


@pytest.mark.training
def test_generate_video_of_a_real_model_shows_its_images(tmp_path, capsys):
    keras.utils.set_random_seed(0)
    save_model(
        tiny_network(image_size=16, normalization=(np.zeros(104), np.full(104, 225.0))),
        tmp_path / "model.keras",
        ModelMetadata(image=ImageConfig(size=16)),
    )
    sound = np.random.default_rng(3).uniform(-0.5, 0.5, 2 * 22_050).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", sound, 22_050)
    args = [str(tmp_path / "model.keras"), str(tmp_path / "noise.wav"), "--out", str(tmp_path / "out"), "--video"]
    command.main([*args, "--smooth", "0.1", "--fps", "10"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert "noise.mp4: 20 frames, 2.0 s in" in out and "times real time), flicker" in out and "20/20 frames" in err
    model = predictor.load(tmp_path / "model.keras")
    with pytest.raises(UsageError, match=r"path must not exist. Received: .*noise.mp4. Choose another"):
        generate_video(model, tmp_path / "noise.wav", tmp_path / "out" / "noise.mp4")
    expected = np.concatenate(list(stream_frames(model, tmp_path / "noise.wav", FilmSettings(fps=10, smooth=0.1))))
    _, pictures, shown, *_ = decode(tmp_path / "out" / "noise.mp4")
    # Colours of neighbouring pixels are shared, brightness isn't.
    brightness = np.array([0.2126, 0.7152, 0.0722])
    difference = np.abs((pictures / 127.5 - 1 - expected) @ brightness).mean(axis=(1, 2))
    assert difference.max() < 0.03
    np.testing.assert_allclose(shown, np.arange(20) / 10)
    # At one frame a second and without smoothing they are the pictures that `predict` gives.
    whole = np.concatenate(list(stream_frames(model, tmp_path / "noise.wav", FilmSettings(fps=1))))
    np.testing.assert_allclose(whole, model.predict(tmp_path / "noise.wav"), atol=1e-6)


@pytest.fixture
def generate(tmp_path, monkeypatch):
    """Calls the command in `tmp_path` with a stand-in for the model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictor, "load", lambda path: Loudness())
    write_clicks(tmp_path / "a.wav", (0.5,), 1.02)
    return lambda *args: command.main(["model", *args], standalone_mode=False)


def test_generate_command_names_counts_and_skips_unreadable_files(generate, tmp_path, capsys):
    (tmp_path / "b.wav").write_bytes(b"not sound")
    (tmp_path / "c.raw").write_bytes(bytes(1000))
    late = np.zeros(200_000, np.float32)
    late[-1] = np.nan
    soundfile.write(tmp_path / "d.wav", late, 16_000, subtype="FLOAT")
    names = ("b.wav", "c.raw", "d.wav", "a.wav")
    generate(*names, "--out", "out", "--video", "--codec", "vp9")
    out, err = capsys.readouterr()
    assert out.startswith("out/a.webm: 26 frames, 1.0 s in")
    for text in (
        "skipped: b.wav can't be read",
        "skipped: c.raw can't be",
        "d.wav with NaN",
        "3 of 4 audio files skipped",
    ):
        assert text in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [LIST_FILE, "a.webm"]
    with pytest.raises(SourceError, match=r"b.wav can't be read as audio"):
        generate(*names, "--out", "strict", "--video", "--strict")
    with pytest.raises(KerasA2IError, match=r"No audio file could be read \(1 given\)"):
        generate("b.wav", "--out", "strict", "--video")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--fps", "25"], "--fps must be left out without --video. Received: --fps without it"),
        (["--codec", "vp9"], "--codec must be left out without --video"),
        (["--smooth", "0"], "--smooth must be left out without --video"),
        (["--video", "--sheet"], "--sheet must be left out with --video, .* Received: --video and --sheet"),
        (["--video", "--no-sheet"], "Received: --video and --no-sheet"),
        (
            ["--video", "--fps", "0.5"],
            "fps must be between 1 and 60 frames per second. Received: fps=0.5. On the command line: --fps",
        ),
        (["--video", "--fps", "nan"], "fps must be between 1 and 60 frames per second. Received: fps=nan"),
        (
            ["--video", "--smooth", "-1"],
            "smooth must be between 0 and 10 seconds. Received: smooth=-1. On the command line: --smooth",
        ),
        (["--video", "--out", "a.wav"], "--out must be a folder. Received: the file a.wav"),
    ],
)
def test_generate_command_with_bad_options_is_refused(generate, tmp_path, args, sentence):
    with pytest.raises(UsageError, match=sentence):
        generate("a.wav", *([] if "--out" in args else ["--out", "out"]), *args)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_generate_video_replaces_only_films_of_an_earlier_call_and_only_when_asked(generate, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(
        UsageError, match=r"must not exist. Received: a.mp4. .* overwrite=True. On the command line: --out, --overwrite"
    ):
        generate("a.wav", "--out", ".", "--video")
    foreign = r"Only films that an earlier call wrote are replaced. Received: a\.mp4, which is another file. Move it"
    with pytest.raises(UsageError, match=foreign):
        generate("a.wav", "--out", ".", "--video", "--overwrite")
    assert path.read_bytes() == b"mine"
    path.unlink()
    generate("a.wav", "--out", ".", "--video")
    write_clicks(tmp_path / "a.wav", (0.5,), 2.0)
    generate("a.wav", "--out", ".", "--video", "--overwrite")
    assert len(decode(path)[1]) == 50
    # A file that took the film's place has another size.
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match=foreign):
        generate("a.wav", "--out", ".", "--video", "--overwrite")
    (tmp_path / LIST_FILE).write_text("[1]")
    with pytest.raises(UsageError, match=foreign):
        generate("a.wav", "--out", ".", "--video", "--overwrite")
    assert path.read_bytes() == b"mine"


def test_generate_video_onto_a_folder_or_the_audio_itself_is_refused(generate, tmp_path):
    (tmp_path / "a.wav").rename(tmp_path / "a.mp4")
    (tmp_path / "folder" / "a.mp4").mkdir(parents=True)
    for folder, sentence in ((".", "must not be an audio file of this call"), ("folder", "must not be a folder")):
        with pytest.raises(UsageError, match=f"path {sentence}"):
            generate("a.mp4", "--out", folder, "--video", "--overwrite")


def test_inputs_of_the_same_name_overwrite_nothing_silently(generate, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_clicks(tmp_path / name / "x.wav", (0.5,), 1.0 if name == "a" else 2.0)
    write_clicks(tmp_path / "b" / "x.aiff", (0.5,), 1.0)
    for options in (["--video"], ["--video", "--overwrite"], ["--no-sheet"]):
        with pytest.raises(UsageError, match=r"AUDIO files must have different names. Received: x\.wav twice"):
            generate("a/x.wav", "b/x.wav", "--out", "out", *options)
    assert not (tmp_path / "out").exists()
    generate("a/x.wav", "b/x.aiff", "--out", "out", "--video", "--fps", "5")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["x.aiff.mp4", "x.wav.mp4"]
    # One after the other: the film of the first is kept unless it may be replaced.
    generate("a/x.wav", "--out", "one", "--video", "--fps", "5")
    with pytest.raises(UsageError, match=r"path must not exist. Received: one/x\.mp4"):
        generate("b/x.wav", "--out", "one", "--video", "--fps", "5")
    assert len(decode(tmp_path / "one" / "x.mp4")[1]) == 5


@pytest.mark.parametrize("where", ["show", "write"])
def test_generate_video_that_breaks_off_keeps_the_earlier_file_only(tmp_path, monkeypatch, where):
    sound, path = write_clicks(tmp_path / "a.wav", (), 10.0), tmp_path / "films" / "a.mp4"
    generate_video(Loudness(), sound, path, fps=5)
    earlier = path.read_bytes()
    target = Loudness if where == "show" else muxing.VideoWriter
    whole, calls = getattr(target, where), []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(self, *args)

    monkeypatch.setattr(target, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_video(Loudness(), sound, path, overwrite=True)
    assert path.read_bytes() == earlier and sorted(p.name for p in path.parent.iterdir()) == [LIST_FILE, "a.mp4"]
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        generate_video(Loudness(), sound, tmp_path / "new" / "a.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "films"]


def test_generate_video_smoothing_without_latent_vectors_is_refused(tmp_path):
    model = predictor.Predictor(lambda x: np.zeros((len(x), 16, 16, 3)), ModelMetadata(image=ImageConfig(size=16)))
    sound = write_clicks(tmp_path / "a.wav", ())
    with pytest.raises(UsageError, match=r"smooth must be 0 for a model without latent vectors. Received: smooth=0.1"):
        generate_video(model, sound, tmp_path / "a.mp4", smooth=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.skipif("surf" not in shipped_models(), reason="The shipped models aren't installed")
def test_shipped_model_is_smoothed_by_its_keras_file(tmp_path):
    sound = write_clicks(tmp_path / "a.wav", (0.2,))
    films = [generate_video("surf", sound, tmp_path / f"{smooth}.mp4", fps=5, smooth=smooth) for smooth in (0, 0.5)]
    assert films[0].frames == films[1].frames > 0 and films[1].flicker < films[0].flicker
    with pytest.raises(UsageError, match="smooth must be 0"):
        generate_video(shipped_models()["surf"] / "model.tflite", sound, tmp_path / "b.mp4", smooth=0.5)


def test_generate_video_without_encoder_or_package_names_it(generate, tmp_path, monkeypatch):
    without = dataclasses.replace(muxing.CODECS["h264"], video="libnonesuch")
    monkeypatch.setitem(muxing.CODECS, "h264", without)
    with pytest.raises(UsageError, match=r"with the encoder libnonesuch.* Try codec='vp9'"):
        generate("a.wav", "--out", "out", "--video")
    with pytest.raises(UsageError, match=r"codec must be one of h264, vp9, gif, webp\. Received: codec='av1'"):
        film_codecs.find_codec("av1")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r'Writing video files needs .* pip install "keras-a2i\[video\]"'):
        generate("a.wav", "--out", "out", "--video")
    assert not (tmp_path / "out").exists()


def test_generate_command_without_video_writes_images(generate, tmp_path, capsys):
    generate("a.wav", "--out", "out", "--no-sheet")
    count = -(-102 // 5)
    assert capsys.readouterr().out == f"out/a: {count} images\n"
    assert len(list((tmp_path / "out" / "a").glob("*.png"))) == count and not (tmp_path / "out" / "a.png").exists()
