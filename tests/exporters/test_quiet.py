"""What converters log stays off the terminal, and the application's logging as it was; what ONNX lacks is named."""

import logging

import keras
import numpy as np
import pytest

from keras_a2i.errors import ExportError
from keras_a2i.exporters.export import export
from keras_a2i.exporters.quiet import quiet
from keras_a2i.layers import LogMel
from keras_a2i.models import AudioToImage, TransposedGenerator


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO, logging.CRITICAL])
def test_quiet_suppresses_errors_and_restores_the_level_of_the_application(level, caplog):
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        with pytest.raises(ValueError, match="stopped"), quiet():
            logging.getLogger("converter").error("failed", exc_info=True)
            raise ValueError("stopped")
        assert logging.root.manager.disable == level and not caplog.records
    finally:
        logging.disable(before)


@pytest.mark.training
def test_foreign_fourier_transform_is_refused_for_onnx_in_one_sentence_that_can_be_followed(tmp_path, caplog, capfd):
    generator = TransposedGenerator(channels=(8,), base_channels=8)
    own = keras.layers.MelSpectrogram(num_mel_bins=16, sampling_rate=16_000, fft_length=512, sequence_stride=512)
    models = [
        AudioToImage(
            keras.Sequential([keras.Input((16_000,)), frames, keras.layers.Flatten(), keras.layers.Dense(4)]),
            generator,
            image_size=16,
        )
        for frames in (own, LogMel(16_000, n_mels=16))
    ]
    with pytest.raises(ExportError, match=r"must consist of ONNX operators. Received: .*RFFT.*") as raised:
        export(models[0], tmp_path / "model.onnx")
    assert str(raised.value).partition("The converter ")[2] == (
        "tf2onnx has no equivalent of a Fourier transform; the layers LogMel and MFCC of this library do without. "
        "Compute the spectrum by one of them, or export it as tflite or saved-model"
    )
    assert not caplog.records and "Traceback" not in capfd.readouterr().err and not list(tmp_path.iterdir())
    # The advice holds.
    assert export(models[1], tmp_path / "model.onnx").agreement.max <= 1e-4
    assert np.isfinite(export(models[0], tmp_path / "saved").agreement.max)


@pytest.mark.training
def test_other_foreign_operators_are_refused_for_onnx_by_name(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Gamma(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.math.lgamma(1.5 + keras.ops.abs(x))

        def compute_output_shape(self, shape):
            return shape

    encoder = keras.Sequential([keras.Input((104,)), keras.layers.Dense(4), Gamma()])
    model = AudioToImage(encoder, TransposedGenerator(channels=(8,), base_channels=8), image_size=16)
    message = r"must consist of ONNX operators. Received: Lgamma. Export it as tflite or saved-model$"
    with pytest.raises(ExportError, match=message):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
