"""A stand-in for a model whose images follow the loudness of the audio, and the decoding of the videos it makes."""

import av
import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.serving import predictor

SHORT = FeatureConfig(duration=0.05, frame=0.05, hop=0.05)


class Loudness:
    """A stand-in for a model: dark pictures for quiet windows, light ones for loud ones; the latent is the loudness."""

    stream_file = predictor.Predictor.stream_file
    stream_clips = predictor.Predictor.stream_clips

    def __init__(self, size=16, channels=3, features=SHORT):
        self.metadata = ModelMetadata(features=features, image=ImageConfig(size=size, channels=channels))

    def predict_clips(self, windows):
        return self.generate_latents(self.encode_clips(windows))

    def encode_clips(self, windows):
        assert windows.dtype == np.float32 and windows.shape[1] == self.metadata.features.n_samples
        return np.abs(windows).max(axis=1, keepdims=True)

    def generate_latents(self, latents):
        pictures = np.tile(latents[:, :, None, None], (1, *self.metadata.image.shape))
        return (1.6 * pictures - 0.8).astype(np.float32)


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
