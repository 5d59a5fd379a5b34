"""What converters log stays off the terminal, and the application's logging as it was; what ONNX lacks is named."""

import logging

import keras
import numpy as np
import pytest

from keras_a2i.errors import ExportError
from keras_a2i.exporters.export import export
from keras_a2i.exporters.quiet import quiet
from keras_a2i.layers import LogMel
from keras_a2i.models import AudioToImage, DenseEncoder, TransposedGenerator


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
def test_fourier_transform_is_refused_for_onnx_in_one_sentence_that_can_be_followed(tmp_path, caplog, capfd):
    generator = TransposedGenerator(channels=(8,), base_channels=8)
    of_audio = keras.Sequential([keras.Input((16_000,)), LogMel(16_000), keras.layers.Flatten(), keras.layers.Dense(4)])
    models = [AudioToImage(part, generator, image_size=16) for part in (of_audio, DenseEncoder(units=(8, 4)))]
    messages = []
    for model, options in zip(models, ({}, {"input": "waveform"}), strict=True):
        with pytest.raises(ExportError, match=r"must consist of ONNX operators. Received: .*RFFT.*") as raised:
            export(model, tmp_path / "model.onnx", **options)
        messages.append(str(raised.value).partition("The converter ")[2])
    shared = "tf2onnx has no equivalent of the Fourier transform in layers of audio. Export it as tflite or saved-model"
    assert messages == [shared, f"{shared}, or, if the model itself accepts features, without input='waveform'"]
    assert not caplog.records and "Traceback" not in capfd.readouterr().err and not list(tmp_path.iterdir())
    # The advice holds.
    assert export(models[1], tmp_path / "model.onnx").agreement.max <= 1e-4
    assert np.isfinite(export(models[0], tmp_path / "saved").agreement.max)
