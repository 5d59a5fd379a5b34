"""A stand-in for a model whose images follow the loudness of the audio, and the decoding of the videos it makes."""

import av
import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.serving.predictor import Predictor

SHORT = FeatureConfig(duration=0.05, frame=0.05, hop=0.05)


class Loudness(Predictor):
    """A stand-in for a model: dark images for quiet clips, light ones for loud ones; the latent is the loudness."""

    def __init__(self, size=16, channels=3, features=SHORT):
        image = ImageConfig(size=size, channels=channels)
        super().__init__(
            lambda clips: self.show(self.measure(clips)),
            ModelMetadata(features=features, image=image, input="waveform"),
            encode_fn=lambda clips: self.measure(clips),
            decode_fn=lambda latents: self.show(latents),
        )

    def measure(self, clips):
        assert clips.dtype == np.float32 and clips.shape[1] == self.metadata.features.n_samples
        return np.abs(clips).max(axis=1, keepdims=True)

    def show(self, latents):
        images = np.tile(latents[:, :, None, None], (1, *self.metadata.image.shape))
        return (1.6 * images - 0.8).astype(np.float32)


def decode(path):
    """Frames (n, size, size, 3) with their times, and sound (n, channels) with its rate and the time of its start."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames, blocks = [], []
        for frame in container.decode(video, audio):
            (frames if isinstance(frame, av.VideoFrame) else blocks).append(frame)
        about = (video.codec_context.name, audio.codec_context.name, video.codec_context.pix_fmt)
    rgb = {"format": "rgb24", "src_colorspace": "ITU709", "src_color_range": "MPEG", "dst_color_range": "JPEG"}
    pictures = np.stack([frame.reformat(**rgb).to_ndarray() for frame in frames])
    channels = blocks[0].layout.nb_channels
    sound = np.concatenate(
        [b.to_ndarray().T if b.format.is_planar else b.to_ndarray().reshape(-1, channels) for b in blocks]
    )
    rate = blocks[0].sample_rate
    n = np.cumsum([0, *(block.samples for block in blocks)])
    assert all(abs(b.time - blocks[0].time - start / rate) < 0.0011 for b, start in zip(blocks, n, strict=False))
    return about, pictures, np.array([frame.time for frame in frames]), sound, rate, blocks[0].time
