"""The model class: an encoder of audio in front of a generator of images."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Self

import keras
import numpy as np

from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.errors import ModelError, UsageError
from keras_a2i.layers import LabelHead, LatentPad
from keras_a2i.models.classifier import can_classify, classify, name_labels
from keras_a2i.models.connection import (
    check_parts,
    connect_encoder,
    connect_generator,
    embedding_features,
    input_of,
    reference_input,
)
from keras_a2i.models.dtype_policy import dtype_policy, policy_config, stored_policy
from keras_a2i.models.encoder import Encoder
from keras_a2i.models.generator import Generator
from keras_a2i.models.label_calibration import LabelCalibration
from keras_a2i.models.label_prediction import LabelPrediction, predict_from_logits
from keras_a2i.models.model_file import ModelMetadata, load_model, save_model
from keras_a2i.models.prediction import predict_batch
from keras_a2i.models.preset_path import find_preset
from keras_a2i.models.styles import draw_styles
from keras_a2i.models.untracked import Untracked
from keras_a2i.remote.address import local_path


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The halves of a model. They share its layers, so Keras must not track them a second time."""

    encoder: keras.Model
    generator: keras.Model
    label_head: LabelHead | None


@keras.saving.register_keras_serializable("keras_a2i")
class AudioToImage(keras.Model):
    """A functional Keras model from audio, or features of audio, to an image, built from an encoder and a generator.

    With a generator that needs a reference image, such as `ReferenceGenerator`, the model has a second input,
    "reference" (batch, size, size, channels) in [-1, 1], and so has its generator.

    Args:
        encoder: an `Encoder` such as `WordEncoder()`, or a custom `keras.Model` from features (batch, n_features) or
            waveforms (batch, n_samples) to a vector (batch, n).
        generator: a `Generator` such as `ResidualGenerator()`, or a custom `keras.Model` from a vector to an image
            (batch, size, size, channels) in [-1, 1].
        image_size: pixels per side, a power of two from 16 to 512; None is 256, or the size of a custom generator.
        channels: 3 for RGB, 1 for grey; None is 3, or the channels of a custom generator.
        features: sample rate, duration and features of the audio; None is the default configuration.
        n_features: length of the input of an encoder of features; None takes it from `features`.
        input: "features" or "waveform", for a custom encoder; None infers it from the length of its input.
        labels: names of the labels, sorted.
        n_labels: number of the labels, in place of `labels`. A generator that classifies needs two or more.
        style_units: length of the style vector, which is appended to the latent vector. The style is zero in a call;
            `sample` draws random styles to generate several images for one clip.
        normalization: mean and variance of the training features, each (n_features,), for an encoder that normalises.
        name: name of the model.

    Attributes:
        encoder: `keras.Model` from the input to the latent vector (batch, latent_dim), which ends with the style.
        generator: `keras.Model` from the latent vector to the image.
        features, image: the configurations of input and output.
        label_head: the layer that classifies, or None.
        has_reference: whether the second input is a reference image.
        calibration: the values that `keras_a2i.calibrate` fitted for `predict_labels`, or None.
        license: licence of the model, "" if unknown; set it before you save or export your own model.
        recipe: the recipe that the model was built or trained with, "" if unknown.

    A saved model keeps which of its layers are frozen (`trainable=False`).

    Raises:
        UsageError: if an argument is out of range, the parts don't fit together, or a custom encoder doesn't map its
            input to a vector, or a custom generator a vector to a square image.

    Example:
        >>> from keras_a2i.models import DenseEncoder, ResidualGenerator
        >>> model = AudioToImage(DenseEncoder(), ResidualGenerator(), image_size=32)
        >>> model.input_shape, model.output_shape, model.latent_dim
        ((None, 104), (None, 32, 32, 3), 128)
    """

    def __init__(
        self,
        encoder: Encoder | keras.Model,
        generator: Generator | keras.Model,
        *,
        image_size: int | None = None,
        channels: int | None = None,
        features: FeatureConfig | None = None,
        n_features: int | None = None,
        input: str | None = None,
        labels: Sequence[str] = (),
        n_labels: int | None = None,
        style_units: int = 0,
        normalization: tuple[Any, Any] | None = None,
        name: str = "audio_to_image",
    ):
        check_parts(encoder, generator)
        features = FeatureConfig() if features is None else features
        n_labels = _count_labels(labels, n_labels)
        if not isinstance(style_units, int) or isinstance(style_units, bool) or style_units < 0:
            raise UsageError(f"style_units must be a whole number from 0. Received: style_units={style_units!r}")
        has_reference = isinstance(generator, Generator) and generator.needs_reference
        if has_reference and style_units:
            raise UsageError(
                f"style_units must be 0 for a generator with a reference image. Received: style_units={style_units}"
            )
        kind, length = input_of(encoder, input, features, n_features)
        x = keras.Input((length,), name=kind)
        ensemble = encoder.ensemble if isinstance(encoder, Encoder) else 1
        with _channels_last():
            latent = connect_encoder(encoder, x, features, normalization, "content" if style_units else "latent")
            if style_units:
                latent = LatentPad(style_units, name="latent")(latent)
            reference = reference_input(image_size, channels) if has_reference else None
            image, prototypes = connect_generator(
                generator,
                latent,
                image_size,
                channels,
                n_labels=n_labels,
                ensemble=ensemble,
                style_units=style_units,
                reference=reference,
            )
        super().__init__(inputs=[x, reference] if has_reference else x, outputs=image, name=name)
        self._parts = _Parts(
            keras.Model(x, latent, name="encoder"),
            keras.Model([latent, reference] if has_reference else latent, image, name="generator"),
            prototypes.head if prototypes is not None else None,
        )
        self._arguments = {"encoder": Untracked(encoder), "generator": Untracked(generator)}
        self.input_kind, self.has_reference = kind, has_reference
        self._n_inputs = length
        self.features = features if kind == "waveform" or length == features.n_features else embedding_features(length)
        self.image = ImageConfig(size=int(image.shape[1]), channels=int(image.shape[3]))
        self.labels = tuple(labels)
        self.n_labels = n_labels or (prototypes.n_labels if prototypes is not None else 0)
        self.style_units = style_units
        self.ensemble = ensemble
        self.calibration: LabelCalibration | None = None
        self.license = self.recipe = ""
        self.normalization = (
            None if normalization is None else tuple(np.asarray(part).tolist() for part in normalization)
        )

    @property
    def encoder(self) -> keras.Model:
        return self._parts.encoder

    @property
    def generator(self) -> keras.Model:
        return self._parts.generator

    @property
    def label_head(self) -> LabelHead | None:
        return self._parts.label_head

    @property
    def latent_dim(self) -> int:
        """Length of the latent vector, including the style."""
        return int(self.encoder.output_shape[-1])

    @property
    def metadata(self) -> ModelMetadata:
        """The configuration in files of this model; labels of which only the number is known are "0", "1" and so on."""
        mean, variance = self.normalization or ((), ())
        metadata = ModelMetadata(
            features=self.features,
            image=self.image,
            input=self.input_kind,
            recipe=self.recipe,
            labels=self.labels,
            style_units=self.style_units,
            reference=self.has_reference,
            feature_mean=tuple(mean),
            feature_std=tuple(np.sqrt(variance).tolist()),
            license=self.license,
            calibration=self.calibration,
        )
        return name_labels(self, metadata)

    def adopt_metadata(self, metadata: ModelMetadata) -> ModelMetadata:
        """Copies the metadata of a model's file into this model.

        These are the licence and the recipe; the calibration and the names of the labels, if this model has none; and
        the name of an embedding.

        Returns:
            The metadata, with labels by `name_labels`.
        """
        self.license, self.recipe = metadata.license, metadata.recipe
        self.calibration = self.calibration or metadata.calibration
        if not self.labels and len(metadata.labels) == self.n_labels:
            self.labels = metadata.labels
        if metadata.features.embedding_name and self.features.is_like(metadata.features):
            self.features = metadata.features
        return name_labels(self, metadata)

    def encode(self, inputs: Any) -> np.ndarray:
        """Returns the latent vectors (batch, latent_dim) of features or waveforms; the style is zero."""
        return predict_batch(self.encoder, _batch(inputs, self._n_inputs))

    def decode(self, latents: Any, references: Any = None) -> np.ndarray:
        """Returns the images (batch, size, size, channels) in [-1, 1] of latent vectors (batch, latent_dim).

        Args:
            latents: (batch, latent_dim).
            references: as the images, for a model with `has_reference`.

        Raises:
            UsageError: if the latent vectors have another shape, references are missing, or the model doesn't accept
                any.
        """
        latents = _batch(latents, self.latent_dim)
        if self.has_reference != (references is not None):
            rule = "be given for a model with" if self.has_reference else "be left out for a model without"
            received = "none" if references is None else "some"
            raise UsageError(f"references must {rule} a reference image. Received: {received}")
        inputs = (latents, np.asarray(references, np.float32)) if self.has_reference else latents
        return predict_batch(self.generator, inputs)

    def sample(self, inputs: Any, n: int, temperature: float = 1.0, seed: int = 0) -> np.ndarray:
        """Generates several images per clip with styles drawn from a normal distribution.

        Args:
            inputs: features or waveforms (batch, length).
            n: images per clip, from 1.
            temperature: standard deviation of the style, 0 to 4; with 0, all images equal that of a plain call.
            seed: random seed of the styles; the same styles are used for every clip.

        Returns:
            float32 (batch, n, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the model has no style, or an argument is out of range.
        """
        styles = draw_styles(self.style_units, n, temperature, seed)
        latents, images = self.encode(inputs), []
        for style in styles:
            latents[:, -self.style_units :] = style
            images.append(self.decode(latents))
        return np.stack(images, axis=1)

    def predict_labels(self, inputs: Any) -> LabelPrediction:
        """Predicts the labels of clips, with calibrated probabilities if `calibration` is set.

        `fit` sets `calibration` at its end for records with 20 held-out pairs or more.

        Args:
            inputs: features or waveforms (n, length).

        Returns:
            Probabilities (n, n_labels), and `answers`: the most probable label, or "unknown" if the evidence for any
            label is below the threshold of the calibration.

        Raises:
            UsageError: if the model has neither a classifier nor exemplars with labels, or the inputs aren't finite.

        Example:
            >>> model = AudioToImage.from_preset("run")  # doctest: +SKIP
            >>> model.predict_labels(clips).answers  # doctest: +SKIP
            ['violin', 'unknown']
        """
        if not can_classify(self):
            raise UsageError(
                "predict_labels needs a model that classifies labels, such as those of the recipes words-exemplars and "
                f"words-adversarial. Received: {self.name}, which has no classifier and no labelled exemplars"
            )
        inputs = _batch(inputs, self._n_inputs)
        if not np.isfinite(inputs).all():
            raise UsageError("The inputs must be finite. Received: NaN or infinite numbers")
        logits = classify(self, inputs)
        return predict_from_logits(logits, self.metadata.labels, self.calibration)

    @classmethod
    def from_preset(cls, preset: str | pathlib.Path) -> Self:
        """Loads a trained model.

        Args:
            preset: a run folder or a folder of `save_to_preset`, a `.keras` file, the address of one of these in an
                object store, the name of a shipped model such as "digits", or "hf://USER/REPOSITORY" for a folder on
                the Hugging Face hub.

        Raises:
            ModelError: if there is no such model, or it isn't an `AudioToImage`; `keras_a2i.load` opens any model.
            MissingPackageError: if an hf:// address is given and huggingface_hub isn't installed.
            RemoteError: if an object store can't be read.
        """
        model, _ = load_model(find_preset(preset))
        if not isinstance(model, cls):
            raise ModelError(
                f"A preset must be an {cls.__name__}. Received: {preset}, a {type(model).__name__}. "
                "Open it with keras_a2i.load"
            )
        return model

    def save_to_preset(self, folder: str | pathlib.Path, *, half_precision: bool = False) -> None:
        """Writes `model.keras` into a folder, from which `from_preset` and `keras_a2i.load` read it back.

        Args:
            folder: made if it doesn't exist.
            half_precision: store large weights as float16, in half the bytes. They are loaded as float32, rounded to 11
                significant bits.
        """
        folder = local_path(folder, "folder")
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self, folder / "model.keras", self.metadata, half_precision=half_precision)

    def get_config(self) -> dict[str, Any]:
        parts = {name: keras.saving.serialize_keras_object(part.value) for name, part in self._arguments.items()}
        return (
            parts
            | policy_config(self)
            | {
                "image_size": self.image.size,
                "channels": self.image.channels,
                "features": self.features.to_dict(),
                "n_features": self._n_inputs if self.input_kind == "features" else None,
                "input": self.input_kind,
                "labels": list(self.labels),
                "n_labels": self.n_labels,
                "style_units": self.style_units,
                "normalization": self.normalization,
                "calibration": None if self.calibration is None else dataclasses.asdict(self.calibration),
                "license": self.license,
                "recipe": self.recipe,
                "frozen": {
                    "parts": [part.name for part in (self.encoder, self.generator) if not part.trainable],
                    "layers": [layer.name for layer in self.layers if layer.weights and not layer.trainable],
                },
                "name": self.name,
            }
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        # Configurations of earlier versions lack some of these.
        config = config | {"features": FeatureConfig.from_dict(config["features"])}
        calibration = config.pop("calibration", None)
        license, recipe = config.pop("license", ""), config.pop("recipe", "")
        frozen = config.pop("frozen", {"parts": [], "layers": []})
        with dtype_policy(stored_policy(config)):
            for name in ("encoder", "generator"):
                config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            model = cls(**config)
        model.calibration = None if calibration is None else LabelCalibration(**calibration)
        model.license, model.recipe = license, recipe
        # Parts first: they set the flags of their layers, and their own decide whether they can be set back.
        for part in (model.encoder, model.generator):
            part.trainable = part.name not in frozen["parts"]
        for layer in model.layers:
            layer.trainable = layer.trainable and layer.name not in frozen["layers"]
        return model


@contextlib.contextmanager
def _channels_last() -> Iterator[None]:
    """Builds layers for images with their channels last, whatever Keras' global setting is."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def _count_labels(labels: Sequence[str], n_labels: int | None) -> int:
    if labels and n_labels not in (None, len(labels)):
        raise UsageError(f"n_labels must be the number of labels. Received: n_labels={n_labels}, {len(labels)} labels")
    return len(labels) if n_labels is None else n_labels


def _batch(values: Any, length: int) -> np.ndarray:
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or values.shape[1] != length:
        raise UsageError(f"The input must have the shape (batch, {length}). Received: shape {values.shape}")
    return values
