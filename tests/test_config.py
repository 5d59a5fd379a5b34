"""The configurations of features and images."""

import dataclasses

import pytest

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ConfigError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureConfig(hop=0.5), "hop must be positive and at most frame"),
        (lambda: FeatureConfig(n_mfcc=40), r"n_mfcc must lie between 1 and n_mels, which is 26. Received: n_mfcc=40"),
        (lambda: FeatureConfig(sample_rate=10), "sample_rate must be a whole number of Hz"),
        (lambda: FeatureConfig(duration=100.0), "duration must lie between"),
        (lambda: ImageConfig(size=100), "power of two from 16 to 512. Received: size=100"),
        (lambda: ImageConfig(channels=4), "channels must be 1"),
        (lambda: ImageConfig(jpeg_quality=0), "jpeg_quality must be None"),
        (
            lambda: ImageConfig(raw=True, jpeg_quality=90),
            "only one of raw and jpeg_quality may be set. Received: raw=True, jpeg_quality=90",
        ),
        (lambda: ImageConfig.from_dict({"size": 64, "colour": 3}), "unknown fields: .'colour'."),
    ],
)
def test_config_rejects_values_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_small_images_are_stored_raw_by_default():
    encodings = {size: ImageConfig(size=size).encoding for size in (16, 64, 128, 256)}
    assert encodings == {16: "raw pixels", 64: "raw pixels", 128: "PNG", 256: "PNG"}
    assert ImageConfig(size=64, raw=False).encoding == "PNG" and ImageConfig(raw=True).encoding == "raw pixels"
    small = ImageConfig(size=64)
    assert small.raw is True and dataclasses.replace(small, size=256, raw=None).encoding == "PNG"
    assert ImageConfig(size=64, jpeg_quality=90).encoding.startswith("JPEG")


def test_embeddings_may_have_any_duration():
    assert FeatureConfig(embedding=8, duration=0.1).n_features == 8
    with pytest.raises(ConfigError, match="hop must be positive and at most frame, and frame at most duration"):
        FeatureConfig(duration=0.1)


def test_config_round_trips_and_derives_the_layout_of_the_paper():
    config = FeatureConfig()
    assert (config.n_samples, config.n_frames, config.n_features, config.n_fft) == (16_000, 8, 104, 4096)
    assert FeatureConfig.from_dict(config.to_dict()) == config
