"""Held-out scores, and what inspection finds."""

import numpy as np
import pytest
import tensorflow as tf
from support.tone_source import ToneSource, build

from keras_a2i.config import ImageConfig
from keras_a2i.media.sheet import draw_sheet, to_uint8
from keras_a2i.records.build import build_records
from keras_a2i.records.dataset import read_examples
from keras_a2i.records.inspection import inspect_records
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.pair import Pair, PairKey, Plan, Unit
from keras_a2i.training.val_scores import score_images


def all_of(records, split):
    batches = list(read_examples(records, split).as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_score_pictures_are_tensorflow_s_and_filling_up_changes_nothing():
    rng = np.random.default_rng(0)
    real, generated = (to_uint8(rng.uniform(-1, 1, (5, 32, 32, 3))) for _ in range(2))
    signed = [images / 127.5 - 1 for images in (real, generated)]
    mse, ssim, _ = score_images(*signed, batch_size=8)
    np.testing.assert_allclose(ssim, tf.image.ssim(real, generated, 255), atol=1e-5)
    np.testing.assert_allclose(mse, ((signed[0] - signed[1]) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(score_images(*signed, batch_size=5)[1], ssim, atol=1e-6)


class OddSource:
    """Twelve pairs: pictures 0 to 3 equal, 4 and 9 nearly, the rest noise; pair 5 silent."""

    def plan(self):
        return Plan((Unit("clip", tuple(PairKey(f"clip@{k}", "clip", float(k), "odd") for k in range(12))),))

    def read(self, unit):
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
        for k, key in enumerate(unit.keys):
            image = (
                np.full((16, 16, 3), 100, np.uint8) if k < 4 else noise[4] // 2 + (k == 9) if k in (4, 9) else noise[k]
            )
            waveform = rng.uniform(-0.1, 0.1, 16_000) * (k != 5)
            yield Pair(key=key, image=image, waveform=waveform.astype(np.float32))

    def describe(self):
        return {"kind": "odd"}


def test_inspection_counts(tmp_path):
    build_records(
        [OddSource()], tmp_path, image=ImageConfig(size=16), split=SplitSpec(kind="block", guard=0), workers=1
    )
    found = inspect_records(tmp_path, n_sheet=5)
    assert found.counts == {"train": 9, "val": 3}
    assert found.near_duplicates == 6
    assert found.leaked_duplicates == 1
    assert found.still_frames == 3
    assert found.silent == 1
    assert found.shared_sources == ["clip"] and found.damaged == [] and found.non_finite == 0
    images = np.concatenate([all_of(tmp_path, split)["image"] for split in ("train", "val")]).astype(float)
    np.testing.assert_allclose(found.pixel_mean, images.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.pixel_std, images.std(axis=(0, 1, 2)), rtol=1e-6)
    features = np.concatenate([all_of(tmp_path, split)["features"] for split in ("train", "val")])
    assert found.feature_std == pytest.approx(features.std(), rel=1e-4)
    assert found.sheet_images.shape == (5, 16, 16, 3)
    assert found.sheet_captions[0] == "clip@0" and found.sheet_captions[-1] == "clip@11"


def test_silence_is_unknown_without_sound(tmp_path):
    build(tmp_path, ToneSource(n_sources=1), waveform=False)
    assert inspect_records(tmp_path).silent is None


def test_a_sheet_breaks_into_bands_and_shows_the_pictures():
    rows = [np.full((10, 16, 16, 1), value, np.float32) for value in (-1.0, 1.0)]
    sheet = np.asarray(draw_sheet(rows, ["real", "generated"], columns=4, cell=16))
    assert sheet.shape[0] == 3 * (2 * 20 + 4)
    assert (sheet == 255).all(axis=2).sum() >= 10 * 16 * 16
    assert (sheet == 0).all(axis=2).sum() >= 10 * 16 * 16
    with pytest.raises(ValueError, match="must hold equally many pictures"):
        draw_sheet([rows[0], rows[1][:3]])
