"""Images: reading any PNG or JPEG file as the square uint8 array of a pair, and writing images."""

import io
import pathlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_a2i.config import ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.conversion import to_uint8
from keras_a2i.media.durable import written_whole
from keras_a2i.media.png import SIGNATURE, encode_png

MAX_PIXELS = 64_000_000
MAX_SIDE = 200_000
"""A row costs memory even if it holds a single pixel."""
MAX_BYTES = 256 * 1024 * 1024
_FORMATS = ("PNG", "JPEG")
_EXIF_ORIENTATION = 0x0112
# Sides whose ratio is larger are those of strips: what is far from the central square isn't converted.
_LONG = 16
_PNG_BIT_DEPTH = 24
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Pillow refuses a text of a megabyte.
_MAX_TEXT = 1 << 19
_LONGEST_KEYWORD = 90


def read_image(path: pathlib.Path, config: ImageConfig) -> np.ndarray:
    """Reads a PNG or JPEG file, upright as its EXIF orientation says, cropped and scaled to the configured size.

    Args:
        path: the file.
        config: size and channels of the result.

    Returns:
        uint8 array (size, size, channels).

    Raises:
        SourceError: if the file is missing, isn't a PNG or JPEG image, is damaged, or has more than 64 million pixels,
            200,000 on a side or 256 MiB.
    """
    with _open(path, _read_bytes(path)) as image:
        return fit_image(ImageOps.exif_transpose(image), config)


def read_thumbnail(path: pathlib.Path, side: int) -> Image.Image:
    """Reads a PNG or JPEG file, scaled down to at most `side` pixels a side.

    Raises:
        SourceError: as `read_image`.
    """
    with _open(path, _read_bytes(path)) as image:
        small = _opaque(ImageOps.exif_transpose(image)).convert("RGB")
        small.thumbnail((side, side))
        return small


def encoded_if_fitting(path: pathlib.Path, config: ImageConfig) -> bytes | None:
    """Reads a PNG or JPEG file that records can store unchanged.

    Args:
        path: the file.
        config: size, channels and encoding of the records.

    Returns:
        The file's bytes if it is an upright image of the configured size, channels and encoding without transparency,
        and decodes without an error; else None, as always for records of raw pixels.

    Raises:
        SourceError: as `read_image`.
    """
    if config.raw:
        return None
    data = _read_bytes(path)
    with _open(path, data) as image:
        mode = "RGB" if config.channels == 3 else "L"
        fits = (
            image.format == ("PNG" if config.jpeg_quality is None else "JPEG")
            and image.mode == mode
            and image.size == (config.size, config.size)
        )
        if not fits:
            return None
        image.load()
        upright = image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        return data if upright and "transparency" not in image.info else None


def fit_image(image: Image.Image, config: ImageConfig) -> np.ndarray:
    """Crops the centre square and resamples it (Lanczos, antialiased) to the configured size.

    Transparent images are composed over black.

    Args:
        image: any Pillow image.
        config: size and channels of the result.

    Returns:
        uint8 array (size, size, channels).
    """
    image = _opaque(_central_part(image)).convert("RGB" if config.channels == 3 else "L")
    side = min(image.size)
    if image.size != (config.size, config.size):
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize(
            (config.size, config.size),
            Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
            reducing_gap=3,
        )
    return np.asarray(image).reshape(config.shape)


def _opaque(image: Image.Image) -> Image.Image:
    """Composes a transparent image over black; 16 bits of grey become 8, which Pillow would clip."""
    if image.mode.startswith("I;16") or image.mode == "I":
        levels = np.asarray(image, dtype=np.uint32)
        grey = (levels >> 8).astype(np.uint8)
        if "transparency" in image.info:
            grey[levels == image.info["transparency"]] = 0
        return Image.fromarray(grey)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image


def _central_part(image: Image.Image) -> Image.Image:
    """Crops an extremely long image around its central square, so that its conversions take little memory."""
    side, length = min(image.size), max(image.size)
    if length <= _LONG * side:
        return image
    margin = (length - 3 * side) // 2
    box = (margin, 0, image.width - margin, side) if image.width > side else (0, margin, side, image.height - margin)
    return image.crop(box)


def encode_image(image: np.ndarray, config: ImageConfig) -> bytes:
    """Encodes a uint8 array (size, size, channels) as `config` states: as PNG, as JPEG, or as its pixels row by row."""
    if config.raw:
        return image.tobytes()
    if config.jpeg_quality is None:
        return encode_png(image)
    buffer = io.BytesIO()
    to_pillow(image).save(buffer, "JPEG", quality=config.jpeg_quality, subsampling=0)
    return buffer.getvalue()


def to_pillow(image: np.ndarray) -> Image.Image:
    """Converts one image (height, width, channels), uint8 or float in [-1, 1], to a Pillow image."""
    image = to_uint8(image)
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def save_png(image: Image.Image, path: pathlib.Path) -> None:
    """Writes a PNG file, whole or not at all; its folder is created if it doesn't exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, durable=False) as temporary:
        image.save(temporary, "PNG")


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        if not path.is_file():
            raise SourceError(f"The image {path.name} doesn't exist")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SourceError(f"An image may have at most {MAX_BYTES:,} bytes. Received: {path.name} with {size:,}")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"The image {path.name} can't be read: {error.strerror}") from error


@contextmanager
def _open(path: pathlib.Path, data: bytes) -> Iterator[Image.Image]:
    """Opens an encoded image; errors while it is open, such as those of decoding, become a SourceError."""
    try:
        with Image.open(io.BytesIO(_without_long_texts(data)), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise SourceError(
                    f"An image may have at most {MAX_PIXELS:,} pixels, {MAX_SIDE:,} on a side. Received: {path.name} "
                    f"with {image.width} x {image.height}. Scale it down first"
                )
            if image.format == "PNG":
                _scale_transparency(image, bits=data[_PNG_BIT_DEPTH])
            yield image
    except UnidentifiedImageError:
        # Pillow's own message holds a memory address; messages go into manifests and must not vary.
        raise SourceError(f"{path.name} isn't a PNG or JPEG image") from None
    except SourceError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path.name} can't be read as a PNG or JPEG image: {error}") from error


def _scale_transparency(image: Image.Image, bits: int) -> None:
    """Scales the transparent colour to 8 bits as Pillow scales the pixels; Pillow keeps it as the file states it."""
    colour = image.info.get("transparency")
    if colour is None:
        return
    if image.mode == "L" and bits in (2, 4):
        image.info["transparency"] = colour * 255 // (2**bits - 1)
    elif image.mode == "RGB" and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _without_long_texts(data: bytes) -> bytes:
    """Returns a PNG file without its texts that are too long for Pillow, which would refuse the image for them."""
    if not data.startswith(SIGNATURE) or not any(name in data for name in _TEXTS):
        return data
    parts, at, dropped = [SIGNATURE], len(SIGNATURE), False
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        if name in _TEXTS and (len(content) > _MAX_TEXT or _unpacks_to_more(content)):
            dropped = True
        else:
            parts.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts) if dropped else data


def _unpacks_to_more(content: bytes) -> bool:
    """Whether a compressed text, after a keyword and flags, unpacks to more than is kept."""
    start = content.find(b"\x78")
    while start >= 0:
        unpacker = zlib.decompressobj()
        try:
            if len(unpacker.decompress(content[start:], _MAX_TEXT + 1)) > _MAX_TEXT:
                return True
        except zlib.error:
            pass
        start = content.find(b"\x78", start + 1) if start < _LONGEST_KEYWORD else -1
    return False
