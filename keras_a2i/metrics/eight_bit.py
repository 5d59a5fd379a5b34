"""Pictures as 8-bit values and as grey, in the ways the metrics' conventions ask for."""

from typing import Any

from keras import ops

from keras_a2i.errors import UsageError

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue."""


def eight_bit(images: Any) -> Any:
    """Pictures in [-1, 1] as whole numbers 0 to 255, `round((x + 1) * 127.5)` clipped; float32 of the same shape."""
    return ops.clip(ops.round((images + 1) * 127.5), 0, 255)


def weighted_grey(images: Any, weights: tuple[float, float, float] = LUMA) -> Any:
    """Weighted sum of the channels: (batch, height, width); a picture of one channel is its own grey.

    Raises:
        UsageError: if the pictures have neither one nor three channels.
    """
    _check_channels(images)
    if images.shape[3] == 1:
        return images[..., 0]
    return sum(weight * images[..., channel] for channel, weight in enumerate(weights))


def eight_bit_grey(images: Any) -> Any:
    """8-bit grey, int32 (batch, height, width), of pictures in [-1, 1]: to the last bit `cv2.cvtColor(RGB2GRAY)`.

    Raises:
        UsageError: if the pictures have neither one nor three channels.
    """
    _check_channels(images)
    values = ops.cast(eight_bit(images), "int32")
    if images.shape[3] == 1:
        return values[..., 0]
    # OpenCV's weights: the same luma in units of 2**-15.
    return (9798 * values[..., 0] + 19235 * values[..., 1] + 3735 * values[..., 2] + 16384) // 32768


def _check_channels(images: Any) -> None:
    if images.shape[3] not in (1, 3):
        raise UsageError(f"Pictures must have 1 channel (grey) or 3 (RGB). Received: {images.shape[3]} channels")
