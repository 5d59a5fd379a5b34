"""Films worth showing: any size, filled, side by side, with drifting styles, moved by the audio, as animated images."""

from fractions import Fraction

import av
import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image
from support.loudness_model import SHORT, Loudness, decode
from support.video_clips import number_of, tone, write_clip

from keras_a2i.cli.generate import command
from keras_a2i.cli.main import cli
from keras_a2i.config import ImageConfig
from keras_a2i.errors import UsageError
from keras_a2i.media.shown_frames import shown_frames
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.serving import animation, film_codecs, predictor
from keras_a2i.serving.composition import FILLS, Panel
from keras_a2i.serving.film_settings import REACTIONS, FilmSettings
from keras_a2i.serving.reaction import Drive, find_onsets, measure_drive
from keras_a2i.serving.style_walk import walk_styles
from keras_a2i.serving.video import generate_video, stream_frames

RATE = 16_000


class Styled(Loudness):
    """A stand-in for a model with a style of two units: red is the loudness, green and blue the style."""

    def __init__(self):
        super().__init__()
        self.metadata = ModelMetadata(features=SHORT, image=ImageConfig(size=16), input="waveform", style_units=2)

    def measure(self, clips):
        return np.pad(super().measure(clips), ((0, 0), (0, 2)))

    def show(self, latents):
        colours = np.stack([1.6 * latents[:, 0] - 0.8, 0.2 * latents[:, 1], 0.2 * latents[:, 2]], axis=1)
        return np.clip(np.tile(colours[:, None, None], (1, 16, 16, 1)), -1, 1).astype(np.float32)


def write_sound(path, waveform):
    soundfile.write(path, np.asarray(waveform, np.float32), RATE, subtype="FLOAT")
    return path


def gradient(size=16):
    """An image (size, size, 3) in which every pixel differs."""
    y, x = np.mgrid[:size, :size] * (255 // (size - 1))
    return np.stack([x, y, (x + y) // 2], axis=2).astype(np.uint8)


# --- composition


@pytest.mark.parametrize("size", [(64, 32), (32, 96), (200, 32)])
def test_panel_mirrors_and_tiles_the_image_beyond_its_edges(size):
    width, height = size
    side = min(size)
    image = np.asarray(Image.fromarray(gradient()).resize((side, side), Image.Resampling.LANCZOS))
    before = ((height - side) // 2, (width - side) // 2)
    pads = [(before[0], height - side - before[0]), (before[1], width - side - before[1]), (0, 0)]
    for fill, mode in (("mirror", "symmetric"), ("tile", "wrap"), ("black", "constant")):
        panel = Panel(size, fill)(gradient(side) if side == 16 else image)
        np.testing.assert_array_equal(panel, np.pad(image, pads, mode=mode))
    panel = Panel(size, "blur")(image)
    inner = panel[before[0] : before[0] + side, before[1] : before[1] + side]
    np.testing.assert_array_equal(inner, image)
    outer = np.delete(panel, np.s_[before[1] : before[1] + side], axis=1) if width > height else panel[: before[0]]
    assert (
        outer.shape[0] and 20 < outer.mean() < 0.6 * image.mean() and np.abs(np.diff(outer[:, :3], axis=0)).max() < 20
    )


def test_panel_enlarges_without_lattice_or_change_of_brightness():
    rng = np.random.default_rng(0)
    noise = rng.integers(60, 196, (32, 32, 3), dtype=np.uint8)
    large = Panel((512, 512), "black")(noise).astype(float)
    assert large.shape == (512, 512, 3) and large.mean() == pytest.approx(noise.mean(), abs=1)
    # Pixels of the model show as blocks where columns on their borders change more than those in their middles.
    plain = np.asarray(Image.fromarray(noise).resize((512, 512), Image.Resampling.LANCZOS)).astype(float)

    def blockiness(image):
        steps = np.abs(np.diff(image, axis=1)).mean(axis=(0, 2))[:-15].reshape(-1, 16).mean(axis=0)
        return steps.max() - steps.min()

    assert blockiness(large) < 0.5 * blockiness(plain)
    np.testing.assert_array_equal(Panel((32, 32), "blur")(noise), noise)


def test_panel_zoom_enlarges_the_centre_smoothly():
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 24:40] = 255
    panel = Panel((64, 64), "blur")
    areas = [panel(image, zoom).astype(float).sum() / 255 / 3 for zoom in (1.0, 1.02, 1.04, 1.1)]
    np.testing.assert_allclose(areas, [256 * zoom**2 for zoom in (1.0, 1.02, 1.04, 1.1)], rtol=0.015)
    zoomed = panel(image, 1.1).astype(int)
    assert np.abs(zoomed - zoomed[:, ::-1]).max() <= 1


def test_generate_video_of_a_size_is_upscaled_and_mirrored(tmp_path):
    class Sides(Loudness):
        def show(self, latents):
            return np.tile(gradient() / 127.5 - 1, (len(latents), 1, 1, 1)).astype(np.float32)

    sound = write_sound(tmp_path / "a.wav", np.zeros(RATE // 2))
    generate_video(Sides(), sound, tmp_path / "a.mp4", size=(128, 64), fill="mirror")
    about, frames, *_ = decode(tmp_path / "a.mp4")
    assert about[0] == "h264" and frames.shape == (13, 64, 128, 3)
    expected = Panel((128, 64), "mirror")(gradient())
    assert np.abs(frames[5].astype(int) - expected).mean() < 4
    # The left quarter is the mirror image of what follows.
    assert np.abs(frames[5][:, :32].astype(int) - frames[5][:, 32:64][:, ::-1]).mean() < 4


# --- animated images


@pytest.mark.parametrize(("codec", "ticks"), [("gif", 100), ("webp", 1000)])
@pytest.mark.parametrize("fps", [25.0, 30.0, 29.97003, 12.5])
def test_animations_have_the_frames_sizes_and_durations_of_their_rate(tmp_path, codec, ticks, fps):
    sound = write_sound(tmp_path / "a.wav", np.repeat([0.1, 0.9, 0.5, 0.2], RATE // 4))
    summary = generate_video(
        Loudness(), sound, tmp_path / f"a.{codec}", fps=fps, codec=codec, size=(80, 48), fill="black"
    )
    settings = FilmSettings(fps=fps)
    exact, images = settings.rate, np.concatenate(list(stream_frames(Loudness(), sound, settings)))
    assert summary.frames == len(images)
    with Image.open(tmp_path / f"a.{codec}") as film:
        assert film.size == (80, 48) and film.info["loop"] == 0
        shown = []
        for number in range(film.n_frames):
            film.seek(number)
            # Frames that are alike may be one frame that is shown for longer.
            shown += [np.asarray(film.convert("RGB"))] * (film.info["duration"] * ticks // 1000)
    assert len(shown) == round(summary.frames * ticks / exact)
    for k, image in enumerate(images):
        for pixels in shown[round(k * ticks / exact) : round((k + 1) * ticks / exact)]:
            assert pixels[8:40, 24:56].mean() == pytest.approx(127.5 * (image.mean() + 1), abs=4)
            assert pixels[:, :12].max() <= 4


def test_gif_frames_keep_their_pixels(tmp_path):
    frames = [np.full((20, 34, 3), colour, np.uint8) for colour in ([255, 0, 0], [0, 128, 64], [9, 9, 200])]
    frames += [np.asarray(Image.fromarray(gradient()).resize((34, 20)))]
    writer = animation.ANIMATIONS["gif"].open(tmp_path / "a.gif", (34, 20), Fraction(30), tmp_path / "a.wav")
    writer.write(frames)
    writer.close()
    with av.open(str(tmp_path / "a.gif")) as film:
        found = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(found) == 4
    for frame, expected in zip(found[:3], frames[:3], strict=True):
        np.testing.assert_allclose(frame, expected, atol=8)
    assert np.abs(found[3].astype(int) - frames[3]).mean() < 12
    with Image.open(tmp_path / "a.gif") as film:
        assert [film.seek(k) or film.info["duration"] for k in range(4)] == [30, 40, 30, 30]


def test_animations_of_more_than_a_minute_or_too_many_frames_are_refused(tmp_path, monkeypatch):
    long = write_sound(tmp_path / "long.wav", np.zeros(RATE * 62))
    with pytest.raises(UsageError, match=r"must last 60 seconds or less. Received: 6\d\.\d seconds or more. Cut it"):
        generate_video(Loudness(), long, tmp_path / "a.gif", codec="gif")
    monkeypatch.setattr(animation, "MAX_SECONDS", 1)
    monkeypatch.setattr("keras_a2i.serving.video.count_inputs", lambda *_: 1)  # a file that doesn't state its length
    with pytest.raises(UsageError, match=r"must last 1 seconds or less"):
        generate_video(
            Loudness(), write_sound(tmp_path / "b.wav", np.zeros(2 * RATE)), tmp_path / "a.webp", codec="webp"
        )
    with pytest.raises(UsageError, match=r"fps must be at most 50 with codec='gif'.* Received: fps=60"):
        generate_video(Loudness(), long, tmp_path / "a.gif", codec="gif", fps=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.wav", "long.wav"]


# --- drifting styles


def test_style_walk_is_a_smooth_normal_process_that_depends_on_seed_and_time_alone():
    times = np.arange(20_000) / 25
    walk = walk_styles(8, 0.5, 3, times)
    assert abs(walk.mean()) < 0.1 and walk.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(walk.var(axis=0), 1, atol=0.2)
    for seconds, expected in ((1, np.exp(-0.25)), (2, np.exp(-1)), (4, 0.02), (20, 0)):
        lag = 25 * seconds
        assert (walk[lag:] * walk[:-lag]).mean() == pytest.approx(expected, abs=0.07)
    assert np.abs(np.diff(walk, axis=0)).max() < 0.2
    np.testing.assert_allclose(walk_styles(8, 0.5, 3, times[700:733]), walk[700:733], atol=1e-12)
    assert np.abs(walk_styles(8, 0.5, 4, times[:50]) - walk[:50]).max() > 0.5
    assert walk_styles(8, 0.5, 3, times[:0]).shape == (0, 8)


@pytest.mark.parametrize("smooth", [0, 0.1])
def test_style_walk_moves_the_images_of_a_model_with_a_style(tmp_path, smooth):
    sound = write_sound(tmp_path / "a.wav", np.full(4 * RATE, 0.25))

    def images(**options):
        settings = FilmSettings(smooth=smooth, **options)
        return np.concatenate(list(stream_frames(Styled(), sound, settings)))[:, 0, 0]

    walk = images(style_walk=1.0, temperature=2.0, seed=5)
    expected = 0.2 * 2 * walk_styles(2, 1.0, 5, (np.arange(100) + 0.5) / 25)
    np.testing.assert_allclose(walk[:, 1:], np.clip(expected, -1, 1), atol=1e-6)
    np.testing.assert_allclose(walk[:, 0], -0.4, atol=1e-6)
    np.testing.assert_array_equal(walk, images(style_walk=1.0, temperature=2.0, seed=5))
    np.testing.assert_array_equal(images()[:, 1:], 0)
    drive = Drive(Fraction(25), np.full(100, 0.5, np.float32), np.zeros((0, 2)))
    settings = FilmSettings(smooth=smooth, style_walk=1.0, seed=5)
    warm = np.concatenate(list(stream_frames(Styled(), sound, settings, drive)))[:, 0, 0]
    np.testing.assert_allclose(warm[:, 1:], np.clip(0.625 * expected, -1, 1), atol=1e-6)


def test_style_walk_with_the_same_seed_writes_the_same_bytes(tmp_path):
    sound = write_sound(tmp_path / "a.wav", np.full(RATE, 0.25))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate_video(Styled(), sound, tmp_path / f"{name}.webp", codec="webp", style_walk=2.0, seed=seed)
    a, b, c = ((tmp_path / f"{name}.webp").read_bytes() for name in "abc")
    assert a == b != c


def test_style_walk_of_a_model_without_a_style_is_refused(tmp_path):
    sound = write_sound(tmp_path / "a.wav", np.zeros(RATE))
    with pytest.raises(
        UsageError, match=r"style_walk must be left out for a model without a style. Received: a model wi"
    ):
        generate_video(Loudness(), sound, tmp_path / "a.mp4", style_walk=1.0)
    metadata = ModelMetadata(features=SHORT, image=ImageConfig(size=16), input="waveform", style_units=2)
    file = predictor.Predictor(lambda x: np.zeros((len(x), 16, 16, 3)), metadata)
    with pytest.raises(UsageError, match=r"Received: a file that doesn't accept its model's styles. Export it again"):
        generate_video(file, sound, tmp_path / "a.mp4", style_walk=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


# --- reactions to the audio


def beats(times, seconds=4.0, level=0.02):
    waveform = level * np.random.default_rng(0).standard_normal(round(seconds * RATE))
    decay = np.exp(-np.arange(RATE // 4) / (0.05 * RATE)) * np.random.default_rng(1).standard_normal(RATE // 4)
    for time in times:
        part = waveform[round(time * RATE) :][: len(decay)]
        part += 0.3 * decay[: len(part)]
    return np.clip(waveform, -1, 1)


def test_onsets_are_found_where_sounds_begin_and_nowhere_else(tmp_path):
    times = [0.5, 0.9, 1.31, 2.0, 2.25, 3.4]
    found = find_onsets(write_sound(tmp_path / "a.wav", beats(times)), RATE)
    # The noise begins at the beginning.
    assert found[0, 0] < 0.03
    np.testing.assert_allclose(found[1:, 0], times, atol=0.025)
    assert found[:, 1].min() >= 0.25 and found[:, 1].max() <= 1
    time = np.arange(4 * RATE) / RATE
    for steady in (0 * time, 1e-4 * np.sin(2000 * time), np.minimum(1, time) * 0.5 * np.sin(2764 * time)):
        assert len(find_onsets(write_sound(tmp_path / "b.wav", steady), RATE)) == 0


def test_zoom_follows_loudness_within_its_bounds(tmp_path):
    levels = np.repeat([0.003, 0.01, 0.03, 0.1, 0.3], RATE)
    noise = np.random.default_rng(0).uniform(-1, 1, len(levels))
    sound = write_sound(tmp_path / "a.wav", levels * noise)
    drive = measure_drive(sound, RATE, Fraction(25), ["loudness"])
    zoom = drive.zoom(0, 125)[12::25]
    # 10.46 dB apart; the loudest second is full, 30 dB below and less is nothing.
    np.testing.assert_allclose(zoom, [1, 1, 1 + 0.1 * (1 - 20 / 30), 1 + 0.1 * (1 - 9.54 / 30), 1.1], atol=0.006)
    assert np.all(np.diff(zoom[1:]) > 0)
    np.testing.assert_array_equal(drive.zoom(30, 40), drive.zoom(0, 125)[30:70])
    assert np.abs(np.diff(drive.zoom(0, 125))).max() < 0.012
    np.testing.assert_allclose(drive.heat(0, 125) - 1, 5 * (drive.zoom(0, 125) - 1), atol=1e-6)


def test_bumps_rise_at_once_and_decay_within_300_ms():
    drive = Drive(Fraction(50), np.zeros(0, np.float32), np.array([[1.0, 1.0], [1.02, 0.5], [3.0, 0.5]]))
    zoom = drive.zoom(0, 200) - 1
    assert zoom[:50].max() == 0 and zoom.max() <= 0.0601
    assert zoom[51:54].max() > 0.055 and zoom[70] < 0.005 and zoom[100:150].max() == 0
    x = (151.5 / 50 - 3.0 + 0.02) / 0.05
    assert zoom[152] == pytest.approx(0.06 * 0.5 * x * np.exp(1 - x), abs=1e-6)


def test_silent_audio_moves_nothing(tmp_path):
    sound = write_sound(tmp_path / "a.wav", np.zeros(2 * RATE))
    drive = measure_drive(sound, RATE, Fraction(25), ["loudness", "onsets"])
    np.testing.assert_array_equal(drive.zoom(0, 50), 1)
    np.testing.assert_array_equal(drive.heat(0, 50), 1)


def test_film_that_reacts_shows_the_zoom(tmp_path):
    class Square(Loudness):
        def show(self, latents):
            image = np.full((1, 64, 64, 3), -1, np.float32)
            image[:, 24:40, 24:40] = 1
            return np.repeat(image, len(latents), axis=0)

    quiet, loud = 0.003 * np.ones(RATE), np.ones(RATE)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    sound = write_sound(tmp_path / "a.wav", np.concatenate([quiet, loud, quiet]) * noise)
    generate_video(Square(64), sound, tmp_path / "a.mp4", react=["loudness"])
    area = decode(tmp_path / "a.mp4")[1].mean(axis=(1, 2, 3))
    assert area[37] / area[5] == pytest.approx(1.1**2, abs=0.03) and area[70] == pytest.approx(area[5], rel=0.01)


# --- side by side


def clip(path, seconds=2.0):
    times = [n / Fraction(10) for n in range(round(10 * seconds))]
    return write_clip(path, times, tone(seconds))


def test_shown_frames_are_those_on_the_screen(tmp_path):
    path = clip(tmp_path / "a.mp4")
    times = [
        Fraction(-1),
        Fraction(0),
        Fraction(4, 100),
        Fraction(1, 10),
        Fraction(55, 100),
        Fraction(19, 10),
        Fraction(9),
    ]
    frames = list(shown_frames(path, times, 24))
    assert {frame.shape for frame in frames} == {(24, 32, 3)}
    assert [number_of(frame) for frame in frames] == [0, 0, 0, 1, 5, 19, 19]


def test_side_by_side_shows_the_original_at_the_same_moment(tmp_path):
    path = clip(tmp_path / "a.mp4")
    generate_video(Loudness(), path, tmp_path / "b.mp4", side_by_side=True, size=(128, 48), fill="black", fps=20)
    frames = decode(tmp_path / "b.mp4")[1]
    assert frames.shape == (40, 48, 128, 3)
    # The middle of frame k lies in the original's frame k // 2.
    assert [number_of(frame[4:44, 4:60]) for frame in frames] == [k // 2 for k in range(40)]
    assert frames[:, :, 66:70].max() < 20  # bars beside the square image
    brightness = frames[:, 8:40, 80:112].mean(axis=(1, 2, 3))
    images = np.concatenate(list(stream_frames(Loudness(), path, FilmSettings(fps=20))))
    np.testing.assert_allclose(brightness, 127.5 * (images.mean(axis=(1, 2, 3)) + 1), atol=4)
    generate_video(Loudness(), path, tmp_path / "c.mp4", side_by_side=True)
    assert decode(tmp_path / "c.mp4")[1].shape == (50, 16, 32, 3)


# --- the command


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictor, "load", lambda path: Styled() if path.name == "styled" else Loudness())
    write_sound("a.wav", np.full(RATE, 0.25))
    return lambda *args: CliRunner().invoke(cli, ["generate", *args, "--out", "out"])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--video-size", "64x64"], "--video-size must be left out without --video"),
        (["--react", "onsets"], "--react must be left out without --video"),
        (["--side-by-side"], "--side-by-side must be left out without --video"),
        (["--style-walk", "1"], "--style-walk must be left out without --video"),
        (["--video", "--fill", "tile"], "--fill must be left out without --video-size or --side-by-side"),
        (["--video", "--temperature", "1"], "--temperature must be left out without --samples or --style-walk"),
        (["--video", "--video-size", "1280"], "--video-size must be WIDTHxHEIGHT in pixels, such as 1280x720"),
        (["--video", "--video-size", "65x64"], "must have even sides of 32 to 4096 pixels. Received: size=65x64"),
        (["--video", "--video-size", "64x8000"], "Received: size=64x8000. On the command line: --video-size"),
        (["--video", "--style-walk", "0"], "style_walk must be above 0 and at most 10 new styles per second"),
        (["--video", "--style-walk", "nan"], "Received: style_walk=nan. On the command line: --style-walk"),
        (["--video", "--style-walk", "1"], "style_walk must be left out for a model without a style"),
        (["--video", "--codec", "gif", "--fps", "60"], "fps must be at most 50 with codec='gif'"),
        (["--video", "--side-by-side"], "side_by_side must be left out for audio files, which have no frames to show"),
    ],
)
def test_generate_command_with_bad_film_options_exits_with_status_2(run, tmp_path, args, sentence):
    found = run("model", "a.wav", *args)
    assert found.exception.exit_status == 2 and sentence in str(found.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_generate_command_makes_films_with_all_options(run, tmp_path):
    clip(tmp_path / "clip.mp4")
    options = ["--video", "--video-size", "96x32", "--fill", "mirror", "--style-walk", "1", "--seed", "2"]
    options += ["--temperature", "0.5", "--react", "loudness", "--react", "onsets", "--smooth", "0.1", "--fps", "10"]
    found = run("styled", "clip.mp4", *options, "--side-by-side")
    assert found.exit_code == 0 and "out/clip.mp4: 20 frames, 2.0 s in" in found.output, found.output
    assert decode(tmp_path / "out" / "clip.mp4")[1].shape == (20, 32, 96, 3)
    for codec in ("gif", "webp"):
        found = run("styled", "a.wav", *options, "--codec", codec)
        assert f"out/a.{codec}: 10 frames, 1.0 s, without sound in" in found.output, found.output
        with Image.open(tmp_path / "out" / f"a.{codec}") as film:
            assert film.size == (96, 32)
            durations = []
            for k in range(film.n_frames):
                film.seek(k)
                film.load()
                durations.append(film.info["duration"])
            assert sum(durations) == 1000


def test_film_settings_out_of_range_are_refused():
    for options, sentence in (
        ({"fill": "pink"}, "fill must be one of blur, mirror, tile, black. Received: fill='pink'"),
        ({"react": ["bass"]}, "react must be one of loudness, onsets. Received: react='bass'"),
        ({"temperature": 5.0}, "temperature must be between 0 and 4. Received: temperature=5"),
        ({"seed": -1}, "seed must be 0 or more. Received: seed=-1"),
    ):
        with pytest.raises(UsageError, match=sentence):
            FilmSettings(**options)


def test_choices_of_the_command_are_those_of_the_library():
    choices = {option.name: option.type.choices for option in command.params if isinstance(option.type, click.Choice)}
    expected = {"codec": film_codecs.CODEC_NAMES, "fill": FILLS, "react": REACTIONS}
    assert {name: tuple(values) for name, values in choices.items()} == expected
