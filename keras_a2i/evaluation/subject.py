"""What is evaluated: a model of any kind, with everything that an evaluation can use of it."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.evaluation.contenders import PredictFn
from keras_a2i.evaluation.environment import configuration_hash, read_config
from keras_a2i.evaluation.measures import EmbedFn, SampleFn
from keras_a2i.evaluation.report import model_digest
from keras_a2i.models.model_file import without_training
from keras_a2i.models.prediction import predict_batch
from keras_a2i.models.shipped import find_model
from keras_a2i.models.stored_model import local_model
from keras_a2i.records.manifest import Manifest
from keras_a2i.remote.address import as_location
from keras_a2i.serving.predictor import Predictor, as_predictor, load

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model under evaluation.

    Attributes:
        name: its path, or its name.
        predict_fn: the model.
        input: "features" or "waveform".
        recipe: name of its recipe, "" if unknown.
        configuration: hash of its training's configuration, "" if unknown.
        sample_fn: several images per input, for a model with a style.
        embedders: of inputs and of images into one space, for a run that aligned them.
        classify: inputs (n, n_inputs) to logits of labels (n, n_labels), for a model that classifies.
        classes: names of these labels.
        has_reference: whether `predict_fn` receives reference images as its second argument.
        digest: SHA-256 of its file, "" if it is none.
    """

    name: str
    predict_fn: PredictFn
    input: str
    recipe: str = ""
    configuration: str = ""
    sample_fn: SampleFn | None = None
    embedders: tuple[EmbedFn, EmbedFn] | None = None
    classify: PredictFn | None = None
    classes: tuple[str, ...] = ()
    has_reference: bool = False
    digest: str = ""


def open_subject(model: Any, manifest: Manifest, input: str | None = None) -> Subject:
    """Opens what is to be evaluated.

    Args:
        model: a path, a `Predictor`, a `keras.Model`, or a function, as for `evaluate`.
        manifest: of the records it is evaluated on.
        input: the input of a function.

    Raises:
        ModelError: if the path can't be loaded.
        UsageError: if the model and the records don't fit together, or `input` isn't known.
    """
    if input not in (None, "features", "waveform"):
        raise UsageError(f"input must be 'features' or 'waveform'. Received: {input!r}")
    if isinstance(model, str | pathlib.Path):
        return _of_path(local_model(model), str(as_location(model)), manifest)
    model = without_training(model)
    if isinstance(model, Predictor):
        return _of_predictor(model, manifest, "")
    if hasattr(model, "predict_on_batch"):
        own = getattr(model, "metadata", None)
        if own is not None and (own.input == "features" or manifest.waveform):
            return _of_predictor(as_predictor(model), manifest, model.name)
        return _of_keras_model(model, manifest, input)
    if not callable(model):
        raise UsageError(f"model must be a path, a model or a function. Received: {model!r}")
    return Subject(name=getattr(model, "__name__", ""), predict_fn=model, input=input or "features")


def _of_path(path: pathlib.Path, name: str, manifest: Manifest) -> Subject:
    # Before the model is loaded: a training that replaces it meanwhile is noticed.
    digest = model_digest(find_model(path, "model.tflite"))
    subject = _of_predictor(load(path), manifest, name)
    config = read_config(path)
    embedders = None
    if (path / "image_encoder.keras").is_file():
        from keras_a2i.serving.search import load_searcher

        searcher = load_searcher(path)
        embedders = searcher.embed_inputs, searcher.embed_images
    configuration = configuration_hash(config) if config else ""
    return dataclasses.replace(subject, configuration=configuration, embedders=embedders, digest=digest)


def _of_predictor(predictor: Predictor, manifest: Manifest, name: str) -> Subject:
    metadata, sample_fn = predictor.metadata, None
    metadata.require_records(manifest.features, manifest.image)
    if predictor.can_sample:

        def sample_fn(inputs: np.ndarray, n: int, seed: int) -> np.ndarray:
            return predictor.sample(inputs, n, seed=seed)

    def predict_fn(inputs: np.ndarray, references: np.ndarray | None = None) -> np.ndarray:
        return predictor.predict_inputs(inputs, references=references)

    return Subject(
        name=name,
        predict_fn=predict_fn,
        has_reference=metadata.reference,
        input=metadata.input,
        recipe=metadata.recipe,
        sample_fn=sample_fn,
        classify=predictor.label_logits if predictor.can_classify else None,
        classes=metadata.labels,
    )


def _of_keras_model(model: "keras.Model", manifest: Manifest, input: str | None) -> Subject:
    length = model.input_shape[-1]
    known = {"features": manifest.features.n_features, "waveform": manifest.features.n_samples}
    fitting = [name for name, n in known.items() if length in (n, None)]
    if input is None and not fitting:
        raise UsageError(
            f"The model's input must have the length of the records' features ({known['features']}) or waveforms "
            f"({known['waveform']}). Received: {model.input_shape}"
        )
    if tuple(model.output_shape[1:]) != manifest.image.shape:
        raise UsageError(
            f"The model's output must be images {manifest.image.shape} as in the records. Received: "
            f"{model.output_shape[1:]}"
        )
    return Subject(name=model.name, predict_fn=_predict_fn(model), input=input or fitting[0])


def _predict_fn(model: "keras.Model") -> Callable[[np.ndarray], np.ndarray]:
    return functools.partial(predict_batch, model)
