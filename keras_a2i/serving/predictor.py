"""One interface to models of all formats: from audio or features to images, labels or latent vectors."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters.formats import FORMATS, PredictFn, ServedModel
from keras_a2i.models.label_prediction import LabelPrediction, predict_from_logits
from keras_a2i.models.model_file import ModelMetadata, is_audio_token, load_model, without_training
from keras_a2i.models.shipped import find_model, shipped_models, suggest_shipped
from keras_a2i.models.styles import check_noise_sampling, check_sampling, check_styles, draw_styles
from keras_a2i.remote.address import as_location
from keras_a2i.serving.audio_token import DrawSettings, open_audio_token
from keras_a2i.serving.model_inputs import check_inputs, check_latents, check_references, stream_inputs
from keras_a2i.serving.predict_functions import (
    ReferenceFn,
    check_shapes,
    describe_predictor,
    file_without_metadata,
    find_metadata,
    finite,
    in_batches,
    is_keras_model,
    join_batches,
    keras_predict_fn,
    keras_reference_fn,
    missing_tensorflow,
    no_labels,
    no_latents,
    no_reference,
    no_style,
    read_reference,
    refuse_other_options,
    refuse_without_reference,
    split_model,
)

if TYPE_CHECKING:
    import keras


class Predictor:
    """A model with the configurations of its input and its images.

    Args:
        predict_fn: float32 inputs (batch, n_inputs) to images (batch, size, size, channels) in [-1, 1]; None for a
            model that needs a reference image.
        metadata: the model's configurations.
        encode_fn: inputs to latent vectors (batch, latent_dim); None if the model has no latent vectors.
        decode_fn: latent vectors to images.
        latent_dim: length of the latent vectors; with None, `decode` doesn't check the length of its argument.
        style_fn: inputs and styles (batch, style_units) to images, for a model with a style but without latent vectors.
        classify_fn: inputs to the logits of labels (batch, n_labels); None if the model doesn't classify.
        draw_fn: (inputs, n, seed) to images (batch, n, size, size, channels), for a model that generates from noise.
        reference_fn: inputs and reference images to images, in place of `predict_fn`, for a model with a reference.
        reference_decode_fn: latent vectors and reference images to images, in place of `decode_fn`.
        model: the Keras model behind it, or None.

    Attributes:
        metadata: the model's configurations.
        model: the Keras model, or None for other formats and functions.

    Example:
        >>> predictor = Predictor(lambda x: np.zeros((len(x), 256, 256, 3)), ModelMetadata())
        >>> predictor.predict(np.zeros(32_000), sample_rate=16_000).shape
        (2, 256, 256, 3)
    """

    def __init__(
        self,
        predict_fn: PredictFn | None,
        metadata: ModelMetadata,
        *,
        encode_fn: PredictFn | None = None,
        decode_fn: PredictFn | None = None,
        latent_dim: int | None = None,
        style_fn: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        classify_fn: PredictFn | None = None,
        draw_fn: Callable[[np.ndarray, int, int], np.ndarray] | None = None,
        reference_fn: ReferenceFn | None = None,
        reference_decode_fn: ReferenceFn | None = None,
        model: "keras.Model | None" = None,
    ):
        self._predict_fn = refuse_without_reference if predict_fn is None else finite(predict_fn)
        self._encode_fn, self._latent_dim = encode_fn, latent_dim
        self._reference_fn = None if reference_fn is None else finite(reference_fn)
        self._reference_decode_fn = reference_decode_fn
        self._decode_fn = None if decode_fn is None else finite(decode_fn)
        self._style_fn = None if style_fn is None else finite(style_fn)
        self._classify_fn = classify_fn
        self._draw_fn = None if draw_fn is None else finite(draw_fn)
        self.metadata, self.model = metadata, model

    def __repr__(self) -> str:
        can = {"latent vectors": self.can_encode, "samples": self.can_sample, "labels": self.can_classify}
        return describe_predictor(self.metadata, [name for name, is_possible in can.items() if is_possible])

    def predict(self, audio: np.ndarray | str | pathlib.Path, sample_rate: int | None = None) -> np.ndarray:
        """Generates one image for each clip of audio (one second by default), or for each input.

        Args:
            audio, sample_rate: as for `stream_inputs` in `keras_a2i.serving.model_inputs`: a file; samples with their
                sample rate; or, without one, the model's inputs, such as features (batch, n_features).

        Returns:
            float32 (n, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if an array or the rate is out of range, or a model of embeddings receives audio.
            SourceError: if a file can't be read.
        """
        return join_batches(self.stream(audio, sample_rate), self.metadata.image.shape)

    def stream(self, audio: np.ndarray | str | pathlib.Path, sample_rate: int | None = None) -> Iterator[np.ndarray]:
        """Yields the images of `predict`, up to 32 at a time; for a file, in constant memory."""
        yield from map(self._predict_fn, self.stream_inputs(audio, sample_rate))

    def stream_inputs(
        self, audio: np.ndarray | str | pathlib.Path, sample_rate: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yields the model's inputs, float32 (n, n_inputs), up to 32 at a time, for the arguments of `predict`."""
        return stream_inputs(audio, self.metadata, sample_rate)

    def with_reference(self, reference: np.ndarray | str | pathlib.Path | None) -> "Predictor":
        """Returns a predictor that animates a reference image, such as a face, for a model that needs one.

        Args:
            reference: a PNG or JPEG file, which is cropped and scaled to the size of the model's images; or an image of
                that size, uint8, or float in [-1, 1], (size, size, channels). None, for a model without a reference,
                returns this predictor.

        Raises:
            UsageError: if the model needs a reference and `reference` is None, or it doesn't accept one and `reference`
                is given, or an array has another shape.
            SourceError: if the file can't be read.
        """
        if reference is None and self.metadata.reference:
            return refuse_without_reference(None)
        if reference is None:
            return self
        if self._reference_fn is None:
            raise no_reference()
        image = read_reference(reference, self.metadata)

        def bound(function: ReferenceFn | None) -> PredictFn | None:
            if function is None:
                return None
            return lambda values: function(values, np.repeat(image[None], len(values), axis=0))

        return Predictor(
            bound(self._reference_fn),
            dataclasses.replace(self.metadata, reference=False),
            encode_fn=self._encode_fn,
            latent_dim=self._latent_dim,
            decode_fn=bound(self._reference_decode_fn),
            classify_fn=self._classify_fn,
        )

    def predict_inputs(
        self, inputs: np.ndarray, styles: np.ndarray | None = None, references: np.ndarray | None = None
    ) -> np.ndarray:
        """Generates images for the model's inputs as records hold them: features or clips, by `metadata.input`.

        Args:
            inputs: float32 (batch, n_inputs).
            styles: for a model with a style: (batch, style_units), one style for every image, or (style_units,), the
                same style for all; None is the usual style.
            references: float32 (batch, size, size, channels) in [-1, 1], for a model that needs a reference image.

        Returns:
            float32 (batch, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if the inputs, styles or references have another shape or aren't finite, the model doesn't
                accept styles or references, or it needs references and there are none.
        """
        inputs, shape = check_inputs(inputs, self.metadata), self.metadata.image.shape
        if styles is not None:
            self.check_sampling(1, 1.0)
            styles = check_styles(styles, self.metadata.style_units, len(inputs))
        if references is not None:
            references = check_references(references, self.metadata, len(inputs))
            if self._reference_fn is not None:
                return in_batches(self._reference_fn, shape, inputs, references)
        if styles is None:
            return in_batches(self._predict_fn, shape, inputs)
        return in_batches(self._styled, shape, inputs, styles)

    @property
    def can_encode(self) -> bool:
        """Whether the model has latent vectors: run folders, `.keras` files and exports with `latents` do."""
        return self._encode_fn is not None and self._decode_fn is not None

    def encode(self, audio: np.ndarray | str | pathlib.Path, sample_rate: int | None = None) -> np.ndarray:
        """Computes the latent vector of each clip of audio or of each input.

        Args:
            audio, sample_rate: as for `predict`.

        Returns:
            float32 (n, latent_dim).

        Raises:
            UsageError: as `predict`, or if the model has no latent vectors.
            SourceError: if a file can't be read.
        """
        encode_fn, _ = self._parts()
        return join_batches(map(encode_fn, self.stream_inputs(audio, sample_rate)), (0,))

    def decode(self, latents: np.ndarray, styles: np.ndarray | None = None) -> np.ndarray:
        """Generates images for latent vectors.

        Args:
            latents: finite, (n, latent_dim); for a model with a style, the last `style_units` values are the style.
            styles: (n, style_units) or (style_units,), in place of the styles in the latent vectors; None keeps these.

        Returns:
            float32 (n, size, size, channels) in [-1, 1].

        Raises:
            UsageError: if latents or styles have another shape or aren't finite, or the model has no latent vectors or
                style.
        """
        _, decode_fn = self._parts()
        latents = check_latents(latents, self._latent_dim)
        if styles is not None:
            self.check_sampling(1, 1.0)
            latents = latents.copy()
            units = self.metadata.style_units
            latents[:, -units:] = check_styles(styles, units, len(latents))
        return in_batches(decode_fn, self.metadata.image.shape, latents)

    def sample(
        self,
        audio: np.ndarray | str | pathlib.Path,
        n: int,
        temperature: float = 1.0,
        seed: int = 0,
        *,
        sample_rate: int | None = None,
    ) -> np.ndarray:
        """Generates several images for each clip of audio or each input, with random styles, or with different noise
        for a model that generates from noise.

        Args:
            audio, sample_rate: as for `predict`.
            n: images for each clip, 1 or more.
            temperature: standard deviation of the style, 0 to 4; with 0, all images equal that of `predict`.
            seed: random seed; the same styles, or the same noise, are used for every clip.

        Returns:
            float32 (n_clips, n, size, size, channels) in [-1, 1].

        Raises:
            UsageError: as `predict`, if the model has no style or an argument is out of range, or if a file of an
                older version doesn't accept styles.
            SourceError: if a file can't be read.
        """
        self.check_sampling(n, temperature)
        if self._draw_fn is not None:
            shape = (n, *self.metadata.image.shape)
            return join_batches((self._draw_fn(x, n, seed) for x in self.stream_inputs(audio, sample_rate)), shape)
        styles = draw_styles(self.metadata.style_units, n, temperature, seed)
        if self._style_fn is None:
            latents = self.encode(audio, sample_rate)
            return np.stack([self.decode(latents, style) for style in styles], axis=1)
        inputs = join_batches(self.stream_inputs(audio, sample_rate), (self.metadata.n_inputs,))
        return np.stack([self.predict_inputs(inputs, np.tile(style, (len(inputs), 1))) for style in styles], axis=1)

    @property
    def can_sample(self) -> bool:
        """Whether the model accepts styles, or generates from noise."""
        has_style = self.metadata.style_units > 0 and (self.can_encode or self._style_fn is not None)
        return has_style or self._draw_fn is not None

    def check_sampling(self, n: int, temperature: float) -> None:
        """Raises a UsageError unless `sample` accepts these arguments."""
        if self._draw_fn is not None:
            check_noise_sampling(n, temperature)
            return
        check_sampling(self.metadata.style_units, n, temperature)
        if not self.can_sample:
            raise no_style()

    @property
    def can_classify(self) -> bool:
        """Whether the model classifies."""
        return self._classify_fn is not None

    def label_logits(self, audio: np.ndarray | str | pathlib.Path, sample_rate: int | None = None) -> np.ndarray:
        """Computes the logits of the labels, float32 (n, n_labels), from which `predict_labels` computes probabilities.

        Args:
            audio, sample_rate: as for `predict`.

        Raises:
            UsageError: as `predict`, or if the model doesn't classify.
            SourceError: if a file can't be read.
        """
        if self._classify_fn is None:
            raise no_labels()
        batches = map(self._classify_fn, self.stream_inputs(audio, sample_rate))
        return join_batches(batches, (len(self.metadata.labels),))

    def predict_labels(self, audio: np.ndarray | str | pathlib.Path, sample_rate: int | None = None) -> LabelPrediction:
        """Predicts the label of each clip of audio or each input, as `AudioToImage.predict_labels`.

        Args:
            audio, sample_rate: as for `predict`.

        Returns:
            Probabilities (n, n_labels) and `answers`, a label or "unknown" for each clip, according to the model's
            calibration.

        Raises:
            UsageError: as `predict`, or if the model doesn't classify.
            SourceError: if a file can't be read.
        """
        logits = self.label_logits(audio, sample_rate)
        labels = self.metadata.labels or tuple(str(i) for i in range(logits.shape[1]))
        return predict_from_logits(logits, labels, self.metadata.calibration)

    def _styled(self, inputs: np.ndarray, styles: np.ndarray) -> np.ndarray:
        if self._style_fn is not None:
            return self._style_fn(inputs, styles)
        encode_fn, _ = self._parts()
        return self.decode(encode_fn(inputs), styles)

    def _parts(self) -> tuple[PredictFn, PredictFn]:
        if self._encode_fn is None or self._decode_fn is None:
            raise no_latents()
        return self._encode_fn, self._decode_fn


def load(
    path: str | pathlib.Path,
    *,
    input: str | None = None,
    sample_rate: int | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    seed: int | None = None,
) -> Predictor:
    """Loads a model of any format.

    Args:
        path: a run folder, a `.keras` file, a SavedModel folder, a `.tflite` or `.onnx` file, the address of one of
            these in an object store, or the name of a shipped model such as "digits". `.tflite` and `.onnx` files are
            loaded without TensorFlow and Keras, and so are shipped models, of which the `.tflite` file is used.
        input: "features" or "waveform", for your own `.keras` file without configurations of this library.
        sample_rate: Hz of such a model's waveform; None is 16,000.
        steps, guidance_scale, seed: for a run of `fit_audio_token`, as for `AudioToken.generate`.

    Raises:
        UsageError: if one of the last three arguments is given with another model, or is out of range.
        ModelError: if `path` is none of these, or can't be loaded.
        MissingPackageError: if a package that the format needs isn't installed.

    Example:
        >>> import keras_a2i as a2i
        >>> images = a2i.load("model.tflite").predict("song.wav")  # doctest: +SKIP
    """
    named, path = as_location(path), find_model(path, "model.tflite")
    path = path / "model.keras" if (path / "model.keras").is_file() else path
    settings = DrawSettings.given(steps=steps, guidance_scale=guidance_scale, seed=seed)
    try:
        if is_audio_token(path):
            predict_fn, draw_fn, metadata = open_audio_token(path, settings)
            return Predictor(predict_fn, metadata, draw_fn=draw_fn)
        settings.refuse(path)
        if path.suffix == ".keras" and path.is_file():
            return _from_keras(*load_model(path, input=input, sample_rate=sample_rate))
        for format in FORMATS.values():
            if format.can_load(path):
                return _from_export(*format.load(path))
    except ModuleNotFoundError as error:
        raise missing_tensorflow(error, path) from error
    if (path / "config.json").is_file():
        raise ModelError(f"The run in {named} has no model.keras yet. Resume its training first")
    what = "doesn't exist" if not path.exists() else "is something else"
    raise ModelError(
        "A model must be a run folder, a .keras file, a SavedModel folder, a .tflite or .onnx file, or one of the "
        f"shipped models ({', '.join(shipped_models()) or 'none is installed'}). Received: {named}, which {what}"
        f"{suggest_shipped(str(named))}"
    )


def as_predictor(
    model: Any, metadata: ModelMetadata | None = None, *, input: str | None = None, sample_rate: int | None = None
) -> Predictor:
    """Returns a Predictor for anything that can predict.

    Args:
        model: a Predictor; an `AudioToImage` or any Keras model from feature vectors or waveforms to images; a path
            that `load` accepts; or a function from float32 inputs (batch, n_inputs) to images in [-1, 1].
        metadata: configurations of a function, or of your own Keras model or its file; None infers those of a model.
        input, sample_rate: as for `load`, for your own Keras model.

    Raises:
        UsageError: if `metadata` is None for a function, `model` is none of these, or it contains other configurations
            than `metadata`.
        ModelError: if a path can't be loaded, or a Keras model's input or output doesn't fit.
    """
    if isinstance(model, str | pathlib.Path):
        own = None if metadata is None else file_without_metadata(model)
        found = load_model(own, metadata=metadata) if own else None
        model = load(model, input=input, sample_rate=sample_rate) if found is None else _from_keras(*found)
    if isinstance(model, Predictor):
        refuse_other_options(model.metadata, metadata, input, sample_rate)
        return model
    model = without_training(model)
    if not callable(model):
        raise UsageError(
            f"model must be a Predictor, a Keras model, a path or a function. Received: {type(model).__name__}"
        )
    metadata = find_metadata(model, metadata, input, sample_rate)
    if is_keras_model(model):
        return _from_keras(model, metadata)
    return Predictor(lambda inputs: np.asarray(model(inputs), np.float32), metadata)


def _from_export(served: ServedModel, metadata: ModelMetadata) -> Predictor:
    functions: dict[str, Any] = {"classify_fn": served.classify if served.has_logits else None}
    if metadata.reference:
        return Predictor(None, metadata, reference_fn=served.change_references, **functions)
    functions |= {"encode_fn": served.encode_fn, "decode_fn": served.decode_fn, "latent_dim": served.latent_dim}
    return Predictor(served, metadata, style_fn=served if served.has_style else None, **functions)


def _from_keras(model: "keras.Model", metadata: ModelMetadata) -> Predictor:
    check_shapes(model, metadata)
    encoder, generator = split_model(model)
    from keras_a2i.models.classifier import can_classify, classify

    functions: dict[str, Any] = {
        "encode_fn": None if encoder is None else keras_predict_fn(encoder),
        "latent_dim": None if encoder is None else encoder.output_shape[-1],
        "classify_fn": functools.partial(classify, model) if can_classify(model) else None,
        "model": model,
    }
    if metadata.reference:
        functions["reference_decode_fn"] = None if generator is None else keras_reference_fn(generator)
        return Predictor(None, metadata, reference_fn=keras_reference_fn(model), **functions)
    functions["decode_fn"] = None if generator is None else keras_predict_fn(generator)
    return Predictor(keras_predict_fn(model), metadata, **functions)
