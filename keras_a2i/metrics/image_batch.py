"""Checks of the arguments of image metrics: two batches of images of one size, and one of several choices."""

import functools
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_a2i.errors import UsageError


def as_image_batches(y_true: Any, y_pred: Any, min_size: int = 1) -> tuple[Any, Any]:
    """Returns both as float32 tensors (batch, height, width, channels).

    Raises:
        UsageError: if they don't have four axes, differ in number or size, or are smaller than `min_size` pixels, as
            far as these are known when a function is traced.
    """
    y_true, y_pred = (ops.cast(ops.convert_to_tensor(y), "float32") for y in (y_true, y_pred))
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    if [len(shape) for shape in shapes] != [4, 4] or any(
        true != own for true, own in zip(*shapes, strict=True) if None not in (true, own)
    ):
        raise UsageError(
            "y_true and y_pred must have one shape (batch, height, width, channels): every generated image is compared "
            f"with its own real one. Received: {shapes[0]} and {shapes[1]}"
        )
    height, width = shapes[0][1:3]
    if any(side is not None and side < min_size for side in (height, width)):
        raise UsageError(
            f"Images must be at least {min_size} pixels high and wide. Received: {height} x {width} pixels"
        )
    return y_true, y_pred


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raises UsageError, which lists the known values of the argument `name`, unless `value` is among them."""
    known = list(known)
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}. Received: {name}={value!r}")


def keep_nan(values: Any, *images: Any) -> Any:
    """Returns values (batch,) with NaN for each pair of images that holds NaN, which counting would hide."""
    holds_nan = [ops.any(ops.isnan(batch), axis=(1, 2, 3)) for batch in images]
    return ops.where(functools.reduce(ops.logical_or, holds_nan), float("nan"), values)
