"""Sound and picture files of every kind, against soxr, soundfile, Pillow and scikit-image."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import skimage.transform
import soundfile
import soxr
from PIL import Image, ImageOps, PngImagePlugin

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.audio import Resampler, read_audio, resample, stream_audio, stream_clips, to_mono
from keras_a2i.media.image import encode_image, fit_image, read_image


def _tones(n_samples, sample_rate, channels=1):
    time = np.arange(n_samples) / sample_rate
    tones = [0.6 * np.sin(2 * np.pi * (300 + 170 * i) * time) for i in range(channels)]
    return np.stack(tones, axis=1).astype(np.float32)


def _whole(path, sample_rate):
    return np.concatenate(list(stream_audio(path, sample_rate)))


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 1 / 32768),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "PCM_U8", 1 / 128),
        ("a.flac", "PCM_16", 1 / 32768),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_formats(tmp_path, name, subtype, tolerance):
    sound = _tones(22_050, 22_050)
    soundfile.write(tmp_path / name, sound, 22_050, subtype=subtype)
    waveform, seen = read_audio(tmp_path / name, 22_050, 20_000)
    assert waveform.dtype == np.float32
    assert waveform.shape == (20_000,)
    assert seen > 20_000
    # The edges of lossy formats ring.
    np.testing.assert_allclose(waveform[2000:18_000], sound[2000:18_000, 0], atol=tolerance)


@pytest.mark.parametrize(("sample_rate", "channels"), [(96_000, 1), (48_000, 6), (44_100, 2), (8_000, 1), (11_025, 3)])
def test_any_rate_and_channels_equal_one_go(tmp_path, sample_rate, channels):
    sound = _tones(int(2.3 * sample_rate), sample_rate, channels)
    soundfile.write(tmp_path / "a.wav", sound, sample_rate, subtype="FLOAT")
    expected = soxr.resample(sound.mean(axis=1), sample_rate, 16_000)
    streamed = _whole(tmp_path / "a.wav", 16_000)
    assert len(streamed) == len(expected) == round(len(sound) * 16_000 / sample_rate)
    np.testing.assert_allclose(streamed, expected, atol=1e-4)


def test_a_rate_that_is_kept_is_not_touched(tmp_path):
    sound = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(_whole(tmp_path / "a.wav", 16_000), sound)
    assert resample(sound, 16_000, 16_000) is sound


@pytest.mark.parametrize("block", [1, 97, 4096])
def test_resampler_in_blocks_equals_one_go(block):
    sound = _tones(9_000, 44_100)[:, 0]
    resampler = Resampler(44_100, 16_000)
    parts = [resampler(sound[i : i + block]) for i in range(0, len(sound), block)]
    streamed = np.concatenate([*parts, resampler(np.zeros(0, np.float32), last=True)])
    np.testing.assert_allclose(streamed, resample(sound, 44_100, 16_000), atol=1e-4)


def test_to_mono_is_the_mean():
    np.testing.assert_array_equal(to_mono([[0.5, -0.1], [1.0, 0.0]]), np.array([0.2, 0.5], np.float32))
    np.testing.assert_array_equal(to_mono([0.5, 1.0]), np.array([0.5, 1.0], np.float32))


def test_samples_over_full_scale_are_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 1.5, -3.0], np.float32), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(_whole(tmp_path / "a.wav", 16_000), [0.5, 1.0, -1.0])


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (20_000, "a peak of 20000")]
)
def test_samples_that_are_no_sound(tmp_path, value, message):
    soundfile.write(tmp_path / "a.wav", np.array([0, value, 0], np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(SourceError, match=rf"Received: a\.wav with {message}"):
        read_audio(tmp_path / "a.wav", 16_000, 3)


def test_files_that_are_no_sound(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(500, np.float32), 500)
    (tmp_path / "garbage.mp3").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "none.wav").write_bytes(b"")
    (tmp_path / "a.raw").write_bytes(bytes(100))
    messages = {
        "empty.wav": r"empty\.wav holds no samples",
        "slow.wav": "between 1000 and 768000 Hz. Received: slow.wav with 500 Hz",
        "garbage.mp3": r"garbage\.mp3 can't be read as sound \(wav, flac, ogg, mp3\)",
        "none.wav": r"none\.wav can't be read as sound",
        "a.raw": r"a\.raw can't be read as sound: raw samples",
        "gone.wav": r"The sound file gone\.wav doesn't exist",
        "x" * 300: "can't be read: File name too long",
        ".": "is a folder",
    }
    for name, message in messages.items():
        with pytest.raises(SourceError, match=message) as error:
            read_audio(tmp_path / name, 16_000, 10)
        assert str(tmp_path) not in str(error.value)


def test_read_sound_stops_early(tmp_path):
    soundfile.write(tmp_path / "a.wav", _tones(400_000, 16_000), 16_000)
    waveform, seen = read_audio(tmp_path / "a.wav", 16_000, 1_000)
    assert len(waveform) == 1_000
    assert seen == 65_536
    short, seen = read_audio(tmp_path / "a.wav", 16_000, 500_000)
    assert len(short) == seen == 400_000


@pytest.mark.parametrize(("n_samples", "lengths"), [(3_999, 1), (4_000, 1), (4_001, 2), (70_000, 18), (140_000, 35)])
def test_stream_windows(tmp_path, n_samples, lengths):
    sound = np.random.default_rng(1).uniform(-1, 1, n_samples).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8_000, subtype="FLOAT")
    windows = list(stream_clips(tmp_path / "a.wav", FeatureConfig(sample_rate=8_000, duration=0.5)))
    assert [len(window) for window in windows] == [4_000] * lengths
    np.testing.assert_array_equal(np.concatenate(windows), np.pad(sound, (0, lengths * 4_000 - n_samples)))


RGB16 = ImageConfig(size=16)
GREY16 = ImageConfig(size=16, channels=1)


def _noise(height, width, channels=3):
    return np.random.default_rng(height + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _smooth(height, width):
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * y), np.sin(5 * x * y + 1)]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def _array(path, config):
    """What a pair would hold, decoded."""
    picture = read_image(path, config)
    if isinstance(picture, bytes):
        picture = np.asarray(Image.open(io.BytesIO(picture))).reshape(config.shape)
    assert picture.shape == config.shape
    assert picture.dtype == np.uint8
    return picture


def test_a_png_that_fits_passes_as_its_own_bytes(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(_noise(16, 16)).save(path, compress_level=9)
    assert read_image(path, RGB16) == path.read_bytes()
    converted = read_image(path, GREY16)
    np.testing.assert_array_equal(converted[..., 0], np.asarray(Image.open(path).convert("L")))
    assert isinstance(read_image(path, ImageConfig(size=32)), np.ndarray)
    assert isinstance(read_image(path, ImageConfig(size=16, jpeg_quality=90)), np.ndarray)


def test_a_grey_png_is_converted_where_rgb_is_wanted(tmp_path):
    path = tmp_path / "a.png"
    grey = _noise(16, 16)[..., 0]
    Image.fromarray(grey).save(path)
    assert read_image(path, GREY16) == path.read_bytes()
    np.testing.assert_array_equal(read_image(path, RGB16), np.repeat(grey[..., None], 3, axis=-1))


def test_a_jpeg_passes_only_where_jpeg_is_stored(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(_smooth(16, 16)).save(path, quality=80)
    assert read_image(path, ImageConfig(size=16, jpeg_quality=95)) == path.read_bytes()
    np.testing.assert_array_equal(read_image(path, RGB16), np.asarray(Image.open(path)))


def test_transparency_is_laid_on_black(tmp_path):
    rgba = _noise(16, 16, 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    expected = rgba[..., :3] * (rgba[..., 3:] / 255.0)
    np.testing.assert_allclose(_array(tmp_path / "a.png", RGB16), expected, atol=1)
    keyed = Image.new("RGB", (16, 16), (200, 0, 0))
    keyed.putpixel((0, 0), (9, 9, 9))
    keyed.save(tmp_path / "b.png", transparency=(200, 0, 0))
    picture = _array(tmp_path / "b.png", RGB16)
    assert picture[0, 0].tolist() == [9, 9, 9]
    assert picture.sum() == 27


def test_palette(tmp_path):
    palette = Image.fromarray(_smooth(16, 16)).quantize(7)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(_array(tmp_path / "a.png", RGB16), np.asarray(palette.convert("RGB")))


def test_16_bit_grey(tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(_array(tmp_path / "a.png", GREY16)[..., 0], levels // 257)


def test_one_bit(tmp_path):
    bits = Image.fromarray(_noise(16, 16)[..., 0] > 128)
    bits.save(tmp_path / "a.png")
    np.testing.assert_array_equal(_array(tmp_path / "a.png", GREY16)[..., 0], 255 * np.asarray(bits))


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    picture = _array(tmp_path / "a.jpg", RGB16).astype(int)
    assert np.abs(picture - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(16, 16), (40, 24)])
def test_exif_rotation(tmp_path, orientation, size):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(_smooth(size[1], size[0])).save(path, exif=exif)
    expected = fit_image(ImageOps.exif_transpose(Image.open(path)), RGB16)
    np.testing.assert_array_equal(_array(path, RGB16), expected)
    assert isinstance(read_image(path, RGB16), bytes) == (orientation == 1 and size == (16, 16))


def test_exif_rotation_turns_the_right_way(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert _array(tmp_path / "a.png", RGB16)[0, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("height", "width"), [(32, 16), (16, 48), (17, 16), (64, 21)])
def test_the_centre_square_is_kept(height, width):
    side = min(height, width)
    top, left = (height - side) / 2, (width - side) / 2
    picture = Image.fromarray(_smooth(height, width))
    expected = picture.resize((16, 16), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    np.testing.assert_array_equal(fit_image(picture, RGB16), np.asarray(expected))


def test_portrait_drops_top_and_bottom():
    pixels = np.zeros((32, 16, 3), np.uint8)
    pixels[8:24] = 200
    np.testing.assert_array_equal(fit_image(Image.fromarray(pixels[4:28]), RGB16), pixels[8:24])


@pytest.mark.parametrize(("from_size", "to_size"), [(256, 64), (480, 32), (28, 32), (16, 128), (100, 64)])
def test_scaling_agrees_with_scikit_image(from_size, to_size):
    pixels = _smooth(from_size, from_size)
    picture = fit_image(Image.fromarray(pixels), ImageConfig(size=to_size))
    expected = 255 * skimage.transform.resize(pixels, (to_size, to_size), order=3, anti_aliasing=to_size < from_size)
    assert np.abs(picture - expected).mean() < 1.0
    plain = np.asarray(Image.fromarray(pixels).resize((to_size, to_size), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(picture - plain).max() <= 2


def test_downscaling_does_not_alias():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 254
    np.testing.assert_allclose(fit_image(Image.fromarray(stripes), ImageConfig(size=64))[:, 4:-4], 127, atol=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_encode_picture(channels):
    pixels = _smooth(32, 32)[..., :channels]
    stored = encode_image(pixels, ImageConfig(size=32, channels=channels))
    assert stored.startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))).reshape(32, 32, channels), pixels)
    stored = encode_image(pixels, ImageConfig(size=32, channels=channels, jpeg_quality=95))
    jpeg = Image.open(io.BytesIO(stored))
    assert jpeg.format == "JPEG"
    assert np.abs(np.asarray(jpeg).reshape(32, 32, channels).astype(int) - pixels).mean() < 2


def _png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png_header(width, height):
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _png_chunk(b"IDAT", zlib.compress(b"")) + _png_chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    (tmp_path / "a.png").write_bytes(_png_header(8_001, 8_000))
    with pytest.raises(SourceError, match=r"at most 64,000,000 pixels. Received: a.png with 8001 x 8000"):
        read_image(tmp_path / "a.png", RGB16)
    (tmp_path / "b.png").write_bytes(_png_header(100_000, 100_000))
    with pytest.raises(SourceError, match=r"b\.png can't be read"):
        read_image(tmp_path / "b.png", RGB16)
    with (tmp_path / "c.png").open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)
    with pytest.raises(SourceError, match=r"at most 268,435,456 bytes. Received: c\.png"):
        read_image(tmp_path / "c.png", RGB16)
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "d.png", pnginfo=info)
    with pytest.raises(SourceError, match=r"d\.png can't be read"):
        read_image(tmp_path / "d.png", RGB16)


def test_files_that_are_no_picture(tmp_path):
    (tmp_path / "garbage.png").write_bytes(b"garbage")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(_noise(64, 64)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    header = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", b"\0\0\0\x10")
    (tmp_path / "header.png").write_bytes(header)
    Image.fromarray(_noise(16, 16)).save(tmp_path / "a.bmp")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    messages = {
        "garbage.png": r"^garbage\.png isn't a PNG or JPEG picture$",
        "empty.png": r"^empty\.png isn't a PNG or JPEG picture$",
        "cut.png": r"^cut\.png can't be read as a PNG or JPEG picture: ",
        "header.png": r"^header\.png can't be read as a PNG or JPEG picture: ",
        "a.bmp": r"^a\.bmp isn't a PNG or JPEG picture$",
        "gone.png": r"^The picture gone\.png doesn't exist$",
        "folder.png": "doesn't exist",
        "pipe.png": "doesn't exist",
        "x" * 300: "can't be read: File name too long",
    }
    for name, message in messages.items():
        with pytest.raises(SourceError, match=message) as error:
            read_image(tmp_path / name, RGB16)
        assert str(tmp_path) not in str(error.value)
