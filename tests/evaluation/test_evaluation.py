"""Held-out scores, and what inspection finds."""

import numpy as np
import pytest
import tensorflow as tf

from keras_a2i.media.conversion import to_uint8
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.training.val_scores import score_images


@pytest.mark.training
def test_score_pictures_are_tensorflow_s_and_filling_up_changes_nothing():
    rng = np.random.default_rng(0)
    real, generated = (to_uint8(rng.uniform(-1, 1, (5, 32, 32, 3))) for _ in range(2))
    signed = [images / 127.5 - 1 for images in (real, generated)]
    mse, ssim, _ = score_images(*signed, batch_size=8)
    np.testing.assert_allclose(ssim, tf.image.ssim(real, generated, 255), atol=1e-5)
    np.testing.assert_allclose(mse, ((signed[0] - signed[1]) ** 2).mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(score_images(*signed, batch_size=5)[1], ssim, atol=1e-6)


def test_a_sheet_breaks_into_bands_and_shows_the_pictures():
    rows = [np.full((10, 16, 16, 1), value, np.float32) for value in (-1.0, 1.0)]
    sheet = np.asarray(draw_sheet(rows, ["real", "generated"], columns=4, cell=16))
    assert sheet.shape[0] == 3 * (2 * 20 + 4)
    assert (sheet == 255).all(axis=2).sum() >= 10 * 16 * 16
    assert (sheet == 0).all(axis=2).sum() >= 10 * 16 * 16
    with pytest.raises(ValueError, match="must hold equally many images"):
        draw_sheet([rows[0], rows[1][:3]])
