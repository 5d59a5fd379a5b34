"""Per-channel energy normalization of mel frames."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_a2i.errors import ConfigError


@keras.saving.register_keras_serializable("keras_a2i")
class PCEN(keras.layers.Layer):
    """Divides the power in every mel band by its running mean, and compresses the quotient.

    This emphasises changes and suppresses constant parts, such as hum, the response of a microphone, or the timbre of a
    voice. The values are those of `librosa.pcen`, with a running mean that starts at the first frame.

    Args:
        smoothing: share of a new frame in the running mean, above 0 up to 1.
        gain: exponent of the running mean, 0 up to 1.
        bias: added to the quotient before its compression, 0 or more.
        power: exponent of the compression, above 0 up to 1.
        epsilon: added to the running mean, above 0.
        dtype: dtype or policy of the output. The layer computes in float32, which is the default whatever the global
            policy is.
        **kwargs: other arguments of a Keras layer.

    Call with natural logarithms of power, float (batch, frames, bands), the number of frames known. Returns the same
    shape.

    Raises:
        ConfigError: if an argument is out of range.

    Reference:
        Wang et al., "Trainable frontend for robust and far-field keyword spotting", arXiv:1607.05666.
    """

    def __init__(
        self,
        *,
        smoothing: float = 0.08,
        gain: float = 0.9,
        bias: float = 1.0,
        power: float = 0.5,
        epsilon: float = 1e-5,
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        super().__init__(dtype=dtype or "float32", **({"autocast": False} | kwargs))
        if not (0 < smoothing <= 1 and 0 <= gain <= 1 and bias >= 0 and 0 < power <= 1 and epsilon > 0):
            raise ConfigError(
                "smoothing and power must lie in (0, 1], gain in [0, 1], bias be 0 or more, epsilon above 0. Received: "
                f"smoothing={smoothing}, power={power}, gain={gain}, bias={bias}, epsilon={epsilon}"
            )
        self.smoothing, self.gain, self.bias, self.power, self.epsilon = smoothing, gain, bias, power, epsilon

    def call(self, frames: Any) -> Any:
        frames = ops.cast(frames, "float32")
        # The recursive mean as a product with a matrix: every runtime has that, and it needs no loop.
        mean = ops.matmul(ops.convert_to_tensor(self._weights(frames.shape[1])), ops.exp(frames))
        quotient = ops.exp(frames - self.gain * ops.log(mean + self.epsilon))
        # Logarithms and exponentials in place of powers, which quantised runtimes don't have.
        compressed = ops.exp(self.power * ops.log(quotient + self.bias)) - self.bias**self.power
        return ops.cast(compressed, self.compute_dtype)

    def _weights(self, n: int) -> np.ndarray:
        """Returns the share of every frame in the mean at every frame, float32 (n, n)."""
        age = np.arange(n)[:, None] - np.arange(n)
        shares = np.where(np.arange(n) > 0, self.smoothing, 1.0) * (1 - self.smoothing) ** np.maximum(age, 0)
        return (shares * (age >= 0)).astype(np.float32)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("smoothing", "gain", "bias", "power", "epsilon")
        return super().get_config() | {name: getattr(self, name) for name in names}
