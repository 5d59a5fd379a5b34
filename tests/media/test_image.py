"""Image files of every kind, against Pillow and scikit-image."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import skimage.transform
from PIL import Image, ImageOps, PngImagePlugin

from keras_a2i.config import ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.image import (
    encode_image,
    encoded_if_fitting,
    fit_image,
    read_image,
    read_thumbnail,
    save_png,
    to_pillow,
)
from keras_a2i.media.png import encode_png

RGB16 = ImageConfig(size=16, raw=False)
GREY16 = ImageConfig(size=16, channels=1, raw=False)


def _noise(height, width, channels=3):
    return np.random.default_rng(height + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _smooth(height, width):
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * y), np.sin(5 * x * y + 1)]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def _array(path, config):
    """The image of a file, which is also what its own bytes decode to where they fit."""
    image = read_image(path, config)
    assert image.shape == config.shape and image.dtype == np.uint8
    encoded = encoded_if_fitting(path, config)
    if encoded is not None:
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))).reshape(config.shape), image)
    return image


def test_encoded_if_fitting_returns_the_bytes_of_a_png_that_fits(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(_noise(16, 16)).save(path, compress_level=9)
    assert encoded_if_fitting(path, RGB16) == path.read_bytes()
    np.testing.assert_array_equal(read_image(path, RGB16), _noise(16, 16))
    converted = read_image(path, GREY16)
    np.testing.assert_array_equal(converted[..., 0], np.asarray(Image.open(path).convert("L")))
    for config in (
        GREY16,
        ImageConfig(size=32),
        ImageConfig(size=16, jpeg_quality=90),
        ImageConfig(size=16, raw=True),
    ):
        assert encoded_if_fitting(path, config) is None


def test_read_image_of_a_grey_png_as_rgb_repeats_the_channel(tmp_path):
    path = tmp_path / "a.png"
    grey = _noise(16, 16)[..., 0]
    Image.fromarray(grey).save(path)
    assert encoded_if_fitting(path, GREY16) == path.read_bytes()
    np.testing.assert_array_equal(read_image(path, RGB16), np.repeat(grey[..., None], 3, axis=-1))


def test_encoded_if_fitting_returns_the_bytes_of_a_jpeg_only_for_jpeg_records(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(_smooth(16, 16)).save(path, quality=80)
    assert encoded_if_fitting(path, ImageConfig(size=16, jpeg_quality=95)) == path.read_bytes()
    np.testing.assert_array_equal(read_image(path, RGB16), np.asarray(Image.open(path)))


def test_read_image_composes_transparency_over_black(tmp_path):
    rgba = _noise(16, 16, 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    expected = rgba[..., :3] * (rgba[..., 3:] / 255.0)
    np.testing.assert_allclose(_array(tmp_path / "a.png", RGB16), expected, atol=1)
    keyed = Image.new("RGB", (16, 16), (200, 0, 0))
    keyed.putpixel((0, 0), (9, 9, 9))
    keyed.save(tmp_path / "b.png", transparency=(200, 0, 0))
    image = _array(tmp_path / "b.png", RGB16)
    assert image[0, 0].tolist() == [9, 9, 9]
    assert image.sum() == 27


def test_read_image_of_a_palette_converts_it(tmp_path):
    palette = Image.fromarray(_smooth(16, 16)).quantize(7)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(_array(tmp_path / "a.png", RGB16), np.asarray(palette.convert("RGB")))


def test_read_image_of_16_bit_grey_keeps_the_high_byte(tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(_array(tmp_path / "a.png", GREY16)[..., 0], levels // 257)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_read_image_of_grey_with_a_transparent_colour_makes_that_colour_black(tmp_path, bits):
    largest = 2**bits - 1
    levels = np.arange(256).reshape(16, 16) * (257 if bits == 16 else 1) & largest
    places = np.arange(bits - 1, -1, -1)
    rows = [b"\0" + np.packbits(row[:, None] >> places & 1).tobytes() for row in levels]
    transparent = int(levels[0, 9])
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 16, 16, bits, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", transparent),
        b"IDAT": zlib.compress(b"".join(rows)),
        b"IEND": b"",
    }
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*part) for part in parts.items()))
    expected = np.where(levels == transparent, 0, levels * 255 // largest)
    np.testing.assert_array_equal(_array(tmp_path / "a.png", GREY16)[..., 0], expected)
    np.testing.assert_array_equal(np.asarray(read_thumbnail(tmp_path / "a.png", 16))[..., 1], expected)


def test_read_image_of_16_bit_rgb_with_a_transparent_colour_makes_that_colour_black(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC) + b"\x40" * 6 * 15 for _ in range(16))
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    transparent = _png_chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC))
    pixels = _png_chunk(b"IDAT", zlib.compress(rows)) + _png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + transparent + pixels)
    image = _array(tmp_path / "a.png", RGB16)
    assert not image[:, 0].any() and (image[:, 1:] == 0x40).all()


def test_read_image_of_one_bit_is_black_and_white(tmp_path):
    bits = Image.fromarray(_noise(16, 16)[..., 0] > 128)
    bits.save(tmp_path / "a.png")
    np.testing.assert_array_equal(_array(tmp_path / "a.png", GREY16)[..., 0], 255 * np.asarray(bits))


def test_read_image_of_a_cmyk_jpeg_converts_it(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    image = _array(tmp_path / "a.jpg", RGB16).astype(int)
    assert np.abs(image - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(16, 16), (40, 24)])
def test_read_image_applies_every_exif_orientation(tmp_path, orientation, size):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(_smooth(size[1], size[0])).save(path, exif=exif)
    expected = fit_image(ImageOps.exif_transpose(Image.open(path)), RGB16)
    np.testing.assert_array_equal(_array(path, RGB16), expected)
    assert (encoded_if_fitting(path, RGB16) is not None) == (orientation == 1 and size == (16, 16))


def test_read_image_applies_exif_orientation_6_clockwise(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert _array(tmp_path / "a.png", RGB16)[0, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("height", "width"), [(32, 16), (16, 48), (17, 16), (64, 21)])
def test_fit_image_keeps_the_centre_square(height, width):
    side = min(height, width)
    top, left = (height - side) / 2, (width - side) / 2
    image = Image.fromarray(_smooth(height, width))
    expected = image.resize((16, 16), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    np.testing.assert_array_equal(fit_image(image, RGB16), np.asarray(expected))


def test_fit_image_of_a_portrait_drops_top_and_bottom():
    pixels = np.zeros((32, 16, 3), np.uint8)
    pixels[8:24] = 200
    np.testing.assert_array_equal(fit_image(Image.fromarray(pixels[4:28]), RGB16), pixels[8:24])


@pytest.mark.parametrize(("from_size", "to_size"), [(256, 64), (480, 32), (28, 32), (16, 128), (100, 64)])
def test_fit_image_agrees_with_scikit_image(from_size, to_size):
    pixels = _smooth(from_size, from_size)
    image = fit_image(Image.fromarray(pixels), ImageConfig(size=to_size))
    expected = 255 * skimage.transform.resize(pixels, (to_size, to_size), order=3, anti_aliasing=to_size < from_size)
    assert np.abs(image - expected).mean() < 1.0
    plain = np.asarray(Image.fromarray(pixels).resize((to_size, to_size), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(image - plain).max() <= 2


def test_fit_image_downscales_without_aliasing():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 254
    np.testing.assert_allclose(fit_image(Image.fromarray(stripes), ImageConfig(size=64))[:, 4:-4], 127, atol=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_records_has_rows_of_differences_and_is_read_by_others(channels):
    pixels = np.concatenate([_noise(64, 64, channels), _smooth(64, 64)[..., :channels]])[32:96]
    stored = encode_png(pixels)
    at = stored.index(b"IDAT")
    rows = zlib.decompress(stored[at + 4 : at + 4 + int.from_bytes(stored[at - 4 : at], "big")])
    np.testing.assert_array_equal(np.frombuffer(rows, np.uint8).reshape(64, -1)[:, 0], 2)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))).reshape(pixels.shape), pixels)
    read = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED).reshape(pixels.shape)
    np.testing.assert_array_equal(read[..., ::-1], pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_encode_image_is_inverted_by_decoding(channels):
    pixels = _smooth(32, 32)[..., :channels]
    stored = encode_image(pixels, ImageConfig(size=32, channels=channels, raw=False))
    assert stored.startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))).reshape(32, 32, channels), pixels)
    stored = encode_image(pixels, ImageConfig(size=32, channels=channels, jpeg_quality=95))
    raw = encode_image(pixels[:, ::-1], ImageConfig(size=32, channels=channels, raw=True))
    np.testing.assert_array_equal(np.frombuffer(raw, np.uint8).reshape(pixels.shape), pixels[:, ::-1])
    jpeg = Image.open(io.BytesIO(stored))
    assert jpeg.format == "JPEG"
    assert np.abs(np.asarray(jpeg).reshape(32, 32, channels).astype(int) - pixels).mean() < 2


def _png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png_header(width, height):
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _png_chunk(b"IDAT", zlib.compress(b"")) + _png_chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_read_image_refuses_bombs_before_decoding(tmp_path):
    (tmp_path / "a.png").write_bytes(_png_header(8_001, 8_000))
    with pytest.raises(SourceError, match=r"at most 64,000,000 pixels, .* Received: a.png with 8001 x 8000"):
        read_image(tmp_path / "a.png", RGB16)
    (tmp_path / "b.png").write_bytes(_png_header(100_000, 100_000))
    with pytest.raises(SourceError, match=r"b\.png can't be read"):
        read_image(tmp_path / "b.png", RGB16)
    with (tmp_path / "c.png").open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)
    with pytest.raises(SourceError, match=r"at most 268,435,456 bytes. Received: c\.png"):
        read_image(tmp_path / "c.png", RGB16)


def test_read_image_of_other_files_is_refused(tmp_path):
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
        "garbage.png": r"^garbage\.png isn't a PNG or JPEG image$",
        "empty.png": r"^empty\.png isn't a PNG or JPEG image$",
        "cut.png": r"^cut\.png can't be read as a PNG or JPEG image: ",
        "header.png": r"^header\.png can't be read as a PNG or JPEG image: ",
        "a.bmp": r"^a\.bmp isn't a PNG or JPEG image$",
        "gone.png": r"^The image gone\.png doesn't exist$",
        "folder.png": "doesn't exist",
        "pipe.png": "doesn't exist",
        "x" * 300: "can't be read: File name too long",
    }
    for name, message in messages.items():
        with pytest.raises(SourceError, match=message) as error:
            read_image(tmp_path / name, RGB16)
        assert str(tmp_path) not in str(error.value)


def test_to_pillow_accepts_uint8_and_floats():
    pixels = _noise(16, 16)
    for image in (pixels, pixels / 127.5 - 1, pixels[..., :1]):
        np.testing.assert_array_equal(np.asarray(to_pillow(image)), pixels[..., 0] if image.shape[-1] == 1 else pixels)


def test_save_png_creates_the_folder_and_leaves_no_temporary_file(tmp_path):
    save_png(Image.fromarray(_noise(16, 16)), tmp_path / "new" / "a.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), _noise(16, 16))


def test_encoded_if_fitting_of_damaged_files_is_refused(tmp_path):
    Image.fromarray(_noise(16, 16)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])
    (tmp_path / "garbage.png").write_bytes(b"garbage")
    for name, message in {
        "cut.png": r"^cut\.png can't be read as a PNG or JPEG image: ",
        "garbage.png": r"^garbage\.png isn't a PNG or JPEG image$",
        "gone.png": r"^The image gone\.png doesn't exist$",
    }.items():
        with pytest.raises(SourceError, match=message):
            encoded_if_fitting(tmp_path / name, RGB16)


def test_image_of_one_long_side_is_refused_before_it_is_decoded(tmp_path):
    Image.new("L", (1, 300_000)).save(tmp_path / "a.png")
    with pytest.raises(SourceError, match=r"200,000 on a side. Received: a\.png with 1 x 300000"):
        read_image(tmp_path / "a.png", ImageConfig(size=16))


def test_strip_is_cropped_to_its_middle(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 1001, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "strip.png")
    left = (1001 - 40) // 2 - 40
    Image.fromarray(pixels[:, left : left + 121]).save(tmp_path / "middle.png")
    config = ImageConfig(size=16)
    strip, middle = (read_image(tmp_path / f"{name}.png", config) for name in ("strip", "middle"))
    assert np.abs(strip.astype(int) - middle).max() <= 1


@pytest.mark.parametrize("compressed", [False, True])
def test_png_with_much_text_is_read(tmp_path, compressed):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    info = PngImagePlugin.PngInfo()
    for _ in range(3):
        info.add_text("prompt", "a sea " * 500_000, zip=compressed)
        info.add_itxt("parameters", "a beach " * 500_000, zip=compressed)
    Image.fromarray(pixels).save(tmp_path / "a.png", pnginfo=info)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", RGB16), pixels)
