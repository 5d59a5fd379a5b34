"""Pictures: any image file or array to the square uint8 array a pair holds."""

import io
import pathlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_a2i.config import ImageConfig
from keras_a2i.errors import SourceError

MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 1024 * 1024
_FORMATS = ("PNG", "JPEG")


def fit_image(picture: Image.Image, config: ImageConfig) -> np.ndarray:
    """Crops the centre square and resamples it (Lanczos, antialiased) to the configured size.

    Transparent pictures are laid on black.

    Args:
        picture: any Pillow image.
        config: size and channels wanted.

    Returns:
        uint8 array (size, size, channels).
    """
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    if picture.mode.startswith("I;16") or picture.mode == "I":
        picture = Image.fromarray((np.asarray(picture, dtype=np.uint32) >> 8).astype(np.uint8))
    picture = picture.convert("RGB" if config.channels == 3 else "L")
    side = min(picture.size)
    if picture.size != (config.size, config.size):
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        picture = picture.resize(
            (config.size, config.size),
            Image.Resampling.LANCZOS,
            box=(left, top, left + side, top + side),
            reducing_gap=3,
        )
    return np.asarray(picture).reshape(config.shape)


def read_image(path: pathlib.Path, config: ImageConfig) -> np.ndarray | bytes:
    """Reads a PNG or JPEG file; one that already has the right size and channels comes back as its own bytes.

    Args:
        path: the file.
        config: size and channels wanted; with `jpeg_quality` set only JPEG files pass as they are.

    Returns:
        The file's bytes, or a uint8 array (size, size, channels).

    Raises:
        SourceError: if the file is missing, isn't a PNG or JPEG picture, is damaged, or has more than 64 million pixels
            or 256 MiB.
    """
    data = _read_bytes(path)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise SourceError(
                    f"A picture may have at most {MAX_PIXELS:,} pixels. Received: {path.name} with "
                    f"{picture.width} x {picture.height}. Scale it down first"
                )
            upright = ImageOps.exif_transpose(picture)
            if upright is picture or picture.getexif().get(0x0112, 1) == 1:
                picture.load()
                if _stored_as_it_is(picture, config):
                    return data
            return fit_image(upright, config)
    except UnidentifiedImageError:
        # Pillow's own message holds a memory address; messages go into manifests and must not vary.
        raise SourceError(f"{path.name} isn't a PNG or JPEG picture") from None
    except SourceError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path.name} can't be read as a PNG or JPEG picture: {error}") from error


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        if not path.is_file():
            raise SourceError(f"The picture {path.name} doesn't exist")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SourceError(f"A picture may have at most {MAX_BYTES:,} bytes. Received: {path.name} with {size:,}")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"The picture {path.name} can't be read: {error.strerror}") from error


def _stored_as_it_is(picture: Image.Image, config: ImageConfig) -> bool:
    mode = "RGB" if config.channels == 3 else "L"
    right_format = picture.format == ("PNG" if config.jpeg_quality is None else "JPEG")
    plain = "transparency" not in picture.info
    return right_format and plain and picture.mode == mode and picture.size == (config.size, config.size)


def encode_image(picture: np.ndarray, config: ImageConfig) -> bytes:
    """Encodes a uint8 array (size, size, channels) as PNG, or as JPEG where the configuration asks for it."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    buffer = io.BytesIO()
    if config.jpeg_quality is None:
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=config.jpeg_quality, subsampling=0)
    return buffer.getvalue()
