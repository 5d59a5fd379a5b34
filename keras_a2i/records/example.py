"""One pair as a serialised `tf.train.Example`: writing without TensorFlow and parsing with it, side by side.

| key | type | value |
|---|---|---|
| id, source_id, label | bytes | UTF-8 |
| time | float | seconds from the start of the source; the times of a source differ as float32 |
| image | bytes | PNG or JPEG file, or the pixels as uint8, row by row, where the manifest says raw |
| features | float, n_features | |
| waveform | bytes | int16 little-endian samples; absent where no waveforms are stored |
| factors | bytes | JSON object with the hidden factors of a rendered pair; absent for other pairs |
"""

import functools
import json
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.config import ImageConfig
from keras_a2i.sources.pair import PairKey

if TYPE_CHECKING:
    import tensorflow as tf

# Field numbers of tensorflow/core/example/{example,feature}.proto, all of wire type 2 (length-delimited).
_BYTES_LIST, _FLOAT_LIST = 0x0A, 0x12
_FIRST, _SECOND = 0x0A, 0x12


def encode_example(
    key: PairKey,
    image: bytes,
    features: np.ndarray,
    waveform: np.ndarray | None = None,
    factors: dict[str, float] | None = None,
) -> bytes:
    """Serialises a pair. Equal pairs give equal bytes.

    Args:
        key: the id, source, time and label.
        image: what `encode_image` returns, or the bytes of a PNG or JPEG file.
        features: float32 (n_features,).
        waveform: int16 (n_samples,) or None.
        factors: the hidden factors by name, or None.
    """
    entries = {
        "id": _bytes_feature(key.id.encode()),
        "source_id": _bytes_feature(key.source_id.encode()),
        "label": _bytes_feature(key.label.encode()),
        "time": _float_feature(np.array([key.time])),
        "image": _bytes_feature(image),
        "features": _float_feature(features),
    }
    if waveform is not None:
        entries["waveform"] = _bytes_feature(np.ascontiguousarray(waveform, dtype="<i2").tobytes())
    if factors:
        entries["factors"] = _bytes_feature(json.dumps(factors, sort_keys=True).encode())
    body = b"".join(
        _field(_FIRST, _field(_FIRST, name.encode()) + _field(_SECOND, entries[name])) for name in sorted(entries)
    )
    return _field(_FIRST, body)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: int, payload: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(payload)) + payload


def _bytes_feature(value: bytes) -> bytes:
    return _field(_BYTES_LIST, _field(_FIRST, value))


def _float_feature(values: np.ndarray) -> bytes:
    return _field(_FLOAT_LIST, _field(_FIRST, np.ascontiguousarray(values, dtype="<f4").tobytes()))


def parse_examples(
    serialized: "tf.Tensor", n_features: int, n_samples: int | None, names: Collection[str] | None = None
) -> "dict[str, tf.Tensor]":
    """Parses a batch of serialised pairs in one operation. Images stay encoded.

    Args:
        serialized: string (batch,).
        n_features: the length of the feature vectors.
        n_samples: the number of samples of a waveform, or None to leave waveforms out.
        names: the wanted keys, None for all.

    Returns:
        id, source_id, label, factors, image: string (batch,); time: float32 (batch,); features: float32
        (batch, n_features); waveform: int16 (batch, n_samples) where `n_samples` is given.
    """
    import tensorflow as tf

    text = tf.io.FixedLenFeature([], tf.string)
    schema: dict[str, Any] = {
        "id": text,
        "source_id": text,
        "label": text,
        "image": text,
        "factors": tf.io.FixedLenFeature([], tf.string, default_value=""),
        "time": tf.io.FixedLenFeature([], tf.float32),
        "features": tf.io.FixedLenFeature([n_features], tf.float32),
    }
    if n_samples is not None:
        schema["waveform"] = text
    if names is not None:
        schema = {name: schema[name] for name in names}
    batch = tf.io.parse_example(serialized, schema)
    if "waveform" in batch:
        batch["waveform"] = tf.ensure_shape(tf.io.decode_raw(batch["waveform"], tf.int16), [None, n_samples])
    return batch


def decode_images(data: "tf.Tensor", config: ImageConfig) -> "tf.Tensor":
    """Decodes stored images in a graph, string (batch,), to uint8 (batch, size, size, channels)."""
    import tensorflow as tf

    shape = config.shape
    if config.raw:
        pixels = tf.ensure_shape(tf.io.decode_raw(data, tf.uint8), (None, math.prod(shape)))
        return tf.reshape(pixels, (-1, *shape))

    def decode(image: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_image(image, channels=shape[-1], expand_animations=False), shape)

    return tf.map_fn(decode, data, fn_output_signature=tf.TensorSpec(shape, tf.uint8))


@functools.cache
def example_decoder(
    n_features: int, n_samples: int | None, image: ImageConfig
) -> "Callable[[tf.Tensor], dict[str, tf.Tensor]]":
    """A function from serialised pairs, string (batch,), to what `parse_examples` returns, with decoded images.

    It is traced once for all records of these features and images, and decodes the images of a batch in parallel.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = parse_examples(serialized, n_features, n_samples)
        return batch | {"image": decode_images(batch["image"], image)}

    return decode


def decode_factors(value: bytes) -> dict[str, float]:
    """Decodes a parsed `factors` entry; {} where it is empty."""
    return json.loads(value) if value else {}
