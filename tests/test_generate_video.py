"""Videos of sounds: a picture for each frame from the sound around it, the sound in step, nothing half written."""

import pathlib
from fractions import Fraction

import av
import numpy as np
import pytest
import scipy.ndimage
import soundfile

from keras_a2i.cli import main
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import MissingPackageError, SourceError, UsageError
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.serving.predictor import Predictor
from keras_a2i.serving.sliding import slide_windows, smooth_frames
from keras_a2i.serving.video import Flicker, stream_frames, write_video

RATE = 16_000
SIZE = 32


def predictor(duration=0.05, latents=True):
    """Pictures as bright as the loudest sample of their window."""
    metadata = ModelMetadata(
        features=FeatureConfig(duration=duration, window=0.05, hop=0.05),
        image=ImageConfig(size=SIZE),
        input="waveform",
    )

    def encode(windows):
        return np.abs(windows).max(axis=1, keepdims=True).astype(np.float32)

    def draw(values):
        return np.broadcast_to((2 * values - 1)[:, None, None], (len(values), SIZE, SIZE, 3)).astype(np.float32)

    halves = (encode, draw) if latents else ()
    return Predictor(lambda windows: draw(encode(windows)), metadata, *halves)


def decode(path):
    """Brightness of each frame in [0, 1], the sound (n, channels), its rate, and the frame times (s)."""
    with av.open(str(path)) as container:
        frames = [(float(f.time), f.to_ndarray(format="gray").mean() / 255) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate, sound, start = stream.rate, [], None
        for frame in container.decode(audio=0):
            start = float(frame.time) if start is None else start
            samples = frame.to_ndarray()
            channels = frame.layout.nb_channels
            sound.append(samples.T if frame.format.is_planar else samples.reshape(-1, channels))
    sound = np.concatenate(sound)
    lead = round(start * rate)
    sound = np.concatenate([np.zeros((lead, sound.shape[1])), sound]) if lead > 0 else sound[-lead:]
    times, shades = map(np.array, zip(*frames, strict=True))
    return shades, sound, rate, times


@pytest.mark.parametrize(("codec", "suffix"), [("h264", "mp4"), ("vp9", "webm")])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (22_050, 6)])
def test_a_click_is_seen_and_heard_at_the_same_frame(tmp_path, codec, suffix, rate, channels):
    sound = np.zeros((int(2.4 * rate), channels), np.float32)
    clicks = [0.5, 1.3, 2.1]
    for click in clicks:
        sound[int(click * rate) : int((click + 0.01) * rate)] = 0.9
    soundfile.write(tmp_path / "clicks.wav", sound, rate)
    summary = write_video(predictor(), tmp_path / "clicks.wav", tmp_path / f"clicks.{suffix}", fps=25.0, codec=codec)
    assert summary.frames == 60 and summary.seconds == pytest.approx(2.4)
    shades, heard, heard_rate, times = decode(tmp_path / f"clicks.{suffix}")
    np.testing.assert_allclose(times, np.arange(60) / 25, atol=0.002)
    seen = [int(np.median(run)) for run in _runs(shades > 0.4)]
    level = scipy.ndimage.maximum_filter1d(np.abs(heard).max(axis=1), heard_rate // 50)
    onsets = [int((run[0] / heard_rate + 0.01) * 25) for run in _runs(level > 0.4)]
    expected = [int(click * 25) for click in clicks]
    assert len(seen) == len(onsets) == 3
    assert np.abs(np.subtract(seen, expected)).max() <= 1 and np.abs(np.subtract(onsets, expected)).max() <= 1
    assert heard.shape[1] == min(channels, 2) if channels != 6 else heard.shape[1] == 1
    assert abs(len(heard) / heard_rate - 2.4) < 0.1


def _runs(mask):
    where = np.flatnonzero(mask)
    return np.split(where, np.flatnonzero(np.diff(where) > 1) + 1)


def test_windows_are_centred_on_frames_and_never_drift():
    sound = np.arange(1, 50_001, dtype=np.float32)
    for fps in (Fraction(25), Fraction(30_000, 1001), Fraction(7)):
        blocks = np.split(sound, [3, 1000, 1001, 30_000])
        windows = np.concatenate(list(slide_windows(blocks, RATE, 1600, fps, 8)))
        starts = np.round((np.arange(len(windows)) + 0.5) / float(fps) * RATE - 800).astype(int)
        padded = np.pad(sound, (10_000, 10_000))
        for window, start in zip(windows, starts, strict=True):
            near = [padded[start + 10_000 + off :][:1600] for off in (-1, 0, 1)]
            assert any(np.array_equal(window, each) for each in near)
        assert len(windows) == int(np.ceil(50_000 / RATE * float(fps)))


def test_smoothing_is_scipy_s_gaussian_and_delays_nothing():
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = np.concatenate(list(smooth_frames(iter(np.split(values, [7, 8, 30])), 2.0)))
    expected = scipy.ndimage.gaussian_filter1d(values, 2.0, axis=0, mode="constant", truncate=3.0)
    weights = scipy.ndimage.gaussian_filter1d(np.ones(50), 2.0, mode="constant", truncate=3.0)
    np.testing.assert_allclose(found, expected / weights[:, None], atol=1e-5)


def test_smoothing_calms_the_flicker(tmp_path):
    sound = np.random.default_rng(0).uniform(-1, 1, RATE) * np.repeat(np.random.default_rng(1).uniform(0, 1, 25), 640)
    soundfile.write(tmp_path / "sound.wav", sound, RATE)
    path = tmp_path / "sound.wav"
    plain = write_video(predictor(), path, tmp_path / "a.mp4").flicker
    calm = write_video(predictor(), path, tmp_path / "b.mp4", smooth=0.2).flicker
    assert calm < 0.4 * plain
    with pytest.raises(UsageError, match="Latent vectors must come from"):
        write_video(predictor(latents=False), path, tmp_path / "c.mp4", smooth=0.2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "sound.wav"]


def test_flicker_is_the_mean_change():
    flicker = Flicker()
    flicker.add(np.zeros((1, 4, 4, 3), np.uint8))
    assert flicker.value == 0
    flicker.add(np.stack([np.full((4, 4, 3), 51, np.uint8), np.full((4, 4, 3), 0, np.uint8)]))
    assert flicker.value == pytest.approx(0.2)


def test_frames_come_in_pieces_however_long_the_sound_is(tmp_path):
    soundfile.write(tmp_path / "long.flac", np.zeros(60 * RATE), RATE)
    sizes = [len(batch) for batch in stream_frames(predictor(), tmp_path / "long.flac", Fraction(25))]
    assert sum(sizes) == 1500 and max(sizes) == 32


def test_an_interruption_leaves_the_old_video_and_no_half_one(tmp_path):
    soundfile.write(tmp_path / "sound.wav", np.zeros(4 * RATE), RATE)
    target = tmp_path / "sound.mp4"
    target.write_bytes(b"old")

    def interrupt(frames):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(predictor(), tmp_path / "sound.wav", target, progress=interrupt)
    assert target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    with pytest.raises(SourceError, match=r"broken.wav can't be read as sound"):
        write_video(predictor(), tmp_path / "broken.wav", tmp_path / "broken.mp4")
    assert not (tmp_path / "broken.mp4").exists()


def test_encoders_that_are_missing_are_named(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "sound.wav", np.zeros(RATE), RATE)

    def missing(name, mode):
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av.codec, "Codec", missing)
    with pytest.raises(UsageError, match=r"needs a build of PyAV with the encoder libx264.* Try --codec vp9"):
        write_video(predictor(), tmp_path / "sound.wav", tmp_path / "sound.mp4")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"Writing video files needs the package av"):
        write_video(predictor(), tmp_path / "sound.wav", tmp_path / "sound.mp4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0.5}, "fps must lie between 1 and 60 frames a second. Received: 0.5"),
        ({"smooth": -1.0}, "smooth must lie between 0 and 10 seconds. Received: -1"),
        ({"codec": "gif"}, "codec must be one of h264, vp9. Received: 'gif'"),
    ],
)
def test_options_out_of_range(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        write_video(predictor(), tmp_path / "sound.wav", tmp_path / "sound.mp4", **options)


def generate(monkeypatch, *args):
    monkeypatch.setattr("keras_a2i.serving.predictor.load", lambda path: predictor())
    return main.cli.main(["generate", *map(str, args)], standalone_mode=False)


def test_the_command_skips_what_it_can_t_read_and_replaces_only_when_asked(tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "good.wav", np.zeros(RATE), RATE)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    out, sounds = tmp_path / "films", (tmp_path / "good.wav", tmp_path / "bad.wav")
    generate(monkeypatch, "model", *sounds, "--out", out, "--video", "--fps", 10)
    shown = capsys.readouterr()
    assert "good.mp4: 10 frames" in shown.out and "times real time" in shown.out
    assert "skipped: bad.wav can't be read" in shown.err and "1 of 2 sound files skipped" in shown.err
    assert [path.name for path in out.iterdir()] == ["good.mp4"]
    with pytest.raises(UsageError, match=r"exists already. Choose another --out, or --overwrite it"):
        generate(monkeypatch, "model", sounds[0], "--out", out, "--video")
    generate(monkeypatch, "model", sounds[0], "--out", out, "--video", "--overwrite", "--codec", "vp9")
    assert sorted(path.name for path in out.iterdir()) == ["good.mp4", "good.webm"]
    with pytest.raises(SourceError):
        generate(monkeypatch, "model", *sounds, "--out", pathlib.Path(out) / "strict", "--video", "--strict")


@pytest.mark.parametrize("option", [["--fps", 10], ["--codec", "vp9"], ["--smooth", 1]])
def test_options_of_a_video_need_one(tmp_path, monkeypatch, option):
    with pytest.raises(UsageError, match=rf"{option[0]} goes with --video. Received: {option[0]} without it"):
        generate(monkeypatch, "model", "sound.wav", "--out", tmp_path, *option)
    with pytest.raises(UsageError, match="A sheet is drawn of pictures, not of a video"):
        generate(monkeypatch, "model", "sound.wav", "--out", tmp_path, "--video", "--no-sheet")
