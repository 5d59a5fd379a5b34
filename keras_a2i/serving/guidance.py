"""Guidance: images that gradient steps make more similar to the audio, or to an image."""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.conversion import from_uint8
from keras_a2i.media.image import read_image
from keras_a2i.models.model_file import ModelMetadata
from keras_a2i.models.shipped import find_model
from keras_a2i.models.styles import draw_styles
from keras_a2i.serving.guided_predictor import FindTargets, GuidedPredictor, Report, call_network
from keras_a2i.serving.model_inputs import clip_inputs
from keras_a2i.serving.predictor import Predictor, as_predictor
from keras_a2i.serving.search import ENCODER_FILE, Searcher, load_searcher

MAX_STEPS, MAX_STARTS = 1000, 64
STEP_SIZE, PRIOR = 0.1, 0.1
_REACH = 0.25
"""How far a latent vector without its style may move, relative to its norm: at twice that, artefacts show."""
_STARTS_WITH_EXEMPLARS = 8


def guide(
    model: Any,
    *,
    steps: int = 20,
    by: str | pathlib.Path | Searcher | None = None,
    towards: str | pathlib.Path | None = None,
    latent: bool | None = None,
    starts: int | None = None,
    step_size: float = STEP_SIZE,
    prior: float = PRIOR,
    seed: int = 0,
    report: Report | None = None,
) -> GuidedPredictor:
    """Returns a predictor whose images are made more similar to the audio, or to an image, by gradient steps.

    The start is the image that the model generates. Each step reduces the distance between the embedding of the image
    and that of the audio, in a space that another training aligned (objective `contrastive`). The steps change the
    style, within the norm of its distribution, and with `latent` also the vector that the audio determines, by at most
    a quarter of its norm. A penalty on the change prevents changes of little benefit: see
    `models.guided_latents.GuidedLatents`. The same arguments yield the same images.

    Args:
        model: a run folder, a `.keras` file, the name of a shipped model, an `AudioToImage` or a Predictor of one: the
            generator must be differentiable.
        steps: number of gradient steps, 0 to 1,000. With 0 the images are exactly those of the model.
        by: the run folder of a training that aligned audio and images, such as a run of the recipe words-aligned on the
            same records, or a `Searcher`; its image size may differ from that of the model, the duration and features
            of its clips may not. None is the run folder of the model, if its training aligned audio and images.
        towards: a png or jpg file whose embedding is the target in place of that of the audio. If neither `by` nor the
            model has an encoder of images, the pixels of 8 x 8 thumbnails are compared.
        latent: whether the steps also change the vector that the audio determines, and not only the style. None changes
            it only if the model has no style. In a generator that classifies first, this vector is the prototype of the
            label.
        starts: number of styles, 1 to 64, of which the nearest is the start of the steps: the usual style and random
            ones. None is 8 for a model with exemplars, because gradients rarely lead from one stored image to another,
            and 1 for other models. Samples, and frames of a style walk, start at their own styles.
        step_size: learning rate, in standard deviations of the style, above 0.
        prior: weight of the penalty on the change, 0 or more; the penalty is half of it if every number of the style
            has changed by one standard deviation.
        seed: random seed of the starts.
        report: called after every batch with the distances (n,) of the images before and after.

    Returns:
        A `Predictor` with guided images, for `generate_images`, `generate_video`, `evaluate` and `sample`.

    Raises:
        UsageError: if an argument is out of range; the model can't be differentiated or has nothing to change; no
            embedding space is known; or the clips of `by` differ from those of the model.
        ModelError: if a path isn't a model, or `by` didn't align audio and images.
        SourceError: if the image can't be read.

    Example:
        >>> import keras_a2i as a2i
        >>> guided = a2i.guide("run", steps=20, by="aligned")  # doctest: +SKIP
        >>> a2i.generate_images(guided, "word.wav", "images", samples=4)  # doctest: +SKIP
    """
    _check_numbers(steps, starts, step_size, prior)
    if isinstance(model, str | pathlib.Path):
        model = find_model(model)
    searcher = _find_searcher(model, by)
    predictor = searcher.predictor if by is None and searcher is not None else as_predictor(model)
    style, latent = _find_variables(predictor, latent)
    styles = _draw_starts(predictor, starts, seed)
    space, metadata, find_targets = _find_targets(predictor.metadata, searcher, towards)
    moves = {"style": style, "latent": latent, "step_size": step_size, "reach": _REACH, "prior": prior}
    return GuidedPredictor(predictor, space, find_targets, metadata, steps=steps, styles=styles, report=report, **moves)


def _check_numbers(steps: int, starts: int | None, step_size: float, prior: float) -> None:
    n_starts = 1 if starts is None else starts
    for name, value, low, high in (("steps", steps, 0, MAX_STEPS), ("starts", n_starts, 1, MAX_STARTS)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"{name} must be a whole number between {low} and {high:,}. Received: {name}={value!r}")
    if not 0 < step_size < math.inf:
        raise UsageError(f"step_size must be a number above 0. Received: step_size={step_size!r}")
    if not 0 <= prior < math.inf:
        raise UsageError(f"prior must be a number from 0. Received: prior={prior!r}")


def _find_searcher(model: Any, by: str | pathlib.Path | Searcher | None) -> Searcher | None:
    if isinstance(by, Searcher):
        return by
    if by is not None:
        return load_searcher(by, "by")
    has_own = isinstance(model, pathlib.Path) and (model / ENCODER_FILE).is_file()
    return load_searcher(model) if has_own else None


def _find_variables(predictor: Predictor, latent: bool | None) -> tuple[bool, bool]:
    """Returns whether the style and whether the rest of the latent vector moves."""
    if predictor.metadata.reference:
        raise UsageError(
            "model must generate from audio alone to be guided. Received: a model with a reference image, such as "
            "those of the recipe talking. Leave guidance out"
        )
    if predictor.model is None or not predictor.can_encode:
        no_file = "a function, or a TFLite, SavedModel or ONNX file"
        raise UsageError(
            "model must have an encoder and a generator with gradients to be guided, as a run folder, a .keras file "
            f"or an AudioToImage has. Received: {no_file if predictor.model is None else 'another Keras model'}. Pass "
            "the run that it was exported from, or leave guidance out"
        )
    from keras_a2i.models.guided_latents import classifies_within

    style = predictor.metadata.style_units > 0
    latent = not style if latent is None else latent
    if not (style or latent):
        raise UsageError("latent must not be False for a model without a style: nothing is left to optimise")
    if latent and classifies_within(predictor.model.generator):
        raise UsageError(
            "latent must be False for a model whose custom generator classifies, because no gradient passes through "
            f"that. Received: {predictor.model.name}, {'which has' if style else 'without'} a style to guide instead"
        )
    return style, latent


def _draw_starts(predictor: Predictor, starts: int | None, seed: int) -> np.ndarray:
    """Returns the random styles, float32 (n, style_units), that are tried beside the usual one."""
    from keras_a2i.models.exemplar_generator import find_exemplars

    units = predictor.metadata.style_units
    if starts is None:
        has_exemplars = predictor.model is not None and find_exemplars(predictor.model) is not None
        starts = _STARTS_WITH_EXEMPLARS if has_exemplars and units else 1
    if starts > 1 and not units:
        raise UsageError(f"starts must be 1 for a model without a style. Received: starts={starts}")
    return draw_styles(units, starts - 1, 1.0, seed) if starts > 1 else np.zeros((0, units), np.float32)


def _find_targets(
    own: ModelMetadata, searcher: Searcher | None, towards: str | pathlib.Path | None
) -> tuple[Any, ModelMetadata, FindTargets]:
    """Returns the space of images, the configuration of the inputs, and the function from these to targets."""
    from keras_a2i.models.guided_latents import embedding_space, thumbnail_space

    shape = own.image.shape
    if searcher is None and towards is None:
        raise UsageError(
            "by must be a run folder whose training aligned audio and images, unless that of the model did, or towards "
            "is given. Received: by=None. Train one on the same records with the recipe words-aligned"
        )
    if searcher is None:
        space = thumbnail_space(shape)
    else:
        space = embedding_space(searcher.image_encoder, searcher.length, shape)
    if towards is None:
        assert searcher is not None
        return space, *_audio_targets(own, searcher)
    target = call_network(space, from_uint8(read_image(pathlib.Path(towards), own.image)[None]))
    return space, own, lambda inputs: np.repeat(target, len(inputs), axis=0)


def _audio_targets(own: ModelMetadata, searcher: Searcher) -> tuple[ModelMetadata, FindTargets]:
    """Returns the configuration of inputs that the model and the guide can both be given, and the function to targets.

    Raises:
        UsageError: if the guide's clips aren't those of the model.
    """
    other = searcher.predictor.metadata
    alike = own.features.is_like(other.features)
    if own.features.embedding or other.features.embedding:
        fits = alike
    else:
        fits = all(getattr(own.features, name) == getattr(other.features, name) for name in ("sample_rate", "duration"))
    if not fits:
        raise UsageError(
            "by must be a run whose inputs are those of the model: embeddings of the same length, or clips of the same "
            f"duration and sample rate. Received: {_describe(other)} for {_describe(own)}"
        )
    if own.input == other.input and (own.input == "waveform" or alike):
        return own, searcher.embed_inputs
    return (
        dataclasses.replace(own, input="waveform"),
        lambda clips: searcher.embed_inputs(clip_inputs(clips, other)),
    )


def _describe(metadata: ModelMetadata) -> str:
    features = metadata.features
    if features.embedding:
        return features.description
    return f"clips of {features.duration:g} s at {features.sample_rate:,} Hz"
