"""Images as 8-bit values and as grey, as the conventions of the metrics require."""

from typing import Any

from keras import ops

from keras_a2i.errors import UsageError

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue."""


def to_8_bit(images: Any) -> Any:
    """Returns images in [-1, 1] as whole numbers 0 to 255, `round((x + 1) * 127.5)` clipped; float32 of that shape."""
    return ops.clip(ops.round((images + 1) * 127.5), 0, 255)


def to_grey(images: Any, weights: tuple[float, float, float] = LUMA) -> Any:
    """Returns the weighted sum of the channels, (batch, height, width); a grey image is returned as it is.

    Raises:
        UsageError: if the images have neither one nor three channels.
    """
    check_channels(images)
    if images.shape[3] == 1:
        return images[..., 0]
    return sum(weight * images[..., channel] for channel, weight in enumerate(weights))


def to_8_bit_grey(images: Any) -> Any:
    """Returns images in [-1, 1] as 8-bit grey, int32 (batch, height, width), equal to `cv2.cvtColor(RGB2GRAY)`.

    Raises:
        UsageError: if the images have neither one nor three channels.
    """
    check_channels(images)
    values = ops.cast(to_8_bit(images), "int32")
    if images.shape[3] == 1:
        return values[..., 0]
    # OpenCV's weights: the same luma in units of 2**-15.
    return (9798 * values[..., 0] + 19235 * values[..., 1] + 3735 * values[..., 2] + 16384) // 32768


def check_channels(images: Any) -> None:
    """Raises UsageError unless the images have one channel or three."""
    if images.shape[3] not in (1, 3):
        raise UsageError(f"Images must have 1 channel (grey) or 3 (RGB). Received: {images.shape[3]} channels")
