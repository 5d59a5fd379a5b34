"""The configuration of a new run, checked against its records before anything is trained or written."""

import json
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import keras

from keras_a2i.counts import counted
from keras_a2i.errors import UsageError
from keras_a2i.models.audio_to_image import AudioToImage
from keras_a2i.models.exemplar_generator import find_exemplars
from keras_a2i.objectives.objective import list_objectives
from keras_a2i.recipes import get_recipe, recipe_names
from keras_a2i.recipes.default_recipe import NEEDS_TRAINING_PAIRS, choose_recipe
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.parts import Part
from keras_a2i.records.records import Records
from keras_a2i.training.process_group import ProcessGroup
from keras_a2i.training.run_folder import AUTO, RunConfig
from keras_a2i.version import library_versions

OWN_MODEL_RECIPE = "scenes"
"""Training of a custom model for which no recipe is given."""


class TrainingOptions(TypedDict, total=False):
    """The arguments of `fit` beside recipe, settings and seed that a `RunConfig` holds; None is the default of each."""

    epochs: int | None
    batch_size: int | None
    monitor: str | None
    patience: int | None
    restore_best_weights: bool | None
    jit_compile: bool | str | None
    dtype_policy: str | None
    image_folder: str | pathlib.Path | None
    data_parts: int | None


TRAINING_OPTIONS = tuple(TrainingOptions.__annotations__)


def select_options(options: TrainingOptions) -> dict[str, Any]:
    """Returns the options that are given, as a `RunConfig` holds them.

    Raises:
        TypeError: if there is no option of a name, as for any function.
    """
    unknown = [name for name in options if name not in TRAINING_OPTIONS]
    if unknown:
        raise TypeError(f"fit has no argument {unknown[0]!r}; the options of a training are {TRAINING_OPTIONS}")
    given = {name: value for name, value in options.items() if value is not None}
    return given | ({"image_folder": str(given["image_folder"])} if "image_folder" in given else {})


def plan_run(
    records: Records,
    *,
    recipe: str | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    model: AudioToImage | None = None,
    objectives: Sequence[Any] | None = None,
    command: str = "",
    options: Mapping[str, Any],
) -> RunConfig:
    """Returns the configuration of a new run; the arguments are those of `fit`.

    Args:
        records: what is trained on.
        recipe, settings, model, objectives, command: as for `fit`.
        options: `TrainingOptions` and the seed, those that are given.

    Raises:
        UsageError: if the recipe, its settings, the options and the records don't fit together, or one is out of range.
    """
    records.require_split("train", NEEDS_TRAINING_PAIRS)
    objectives = None if objectives is None else list_objectives(objectives)
    chosen = _choose(records, recipe, settings or {}, model)
    if model is None:
        check_labels(chosen, records)
    else:
        _warn_of_untrained_encoder(model, chosen.make_objectives() if objectives is None else objectives)
    if chosen.generator.needs_reference if model is None else model.has_reference:
        check_references(records)
    batch_size = options.get("batch_size", chosen.batch_size)
    is_fixed = "epochs" in (settings or {})
    epochs = chosen.epochs if is_fixed else chosen.epochs_for(records.counts["train"], batch_size)
    defaults = {"epochs": epochs, "batch_size": chosen.batch_size, "monitor": chosen.monitor}
    config = RunConfig(
        recipe=chosen.to_dict(),
        own_model=model is not None,
        objectives=None if objectives is None else [_serialize(objective) for objective in objectives],
        records=str(records.path),
        fingerprint=records.fingerprint,
        command=command,
        versions=library_versions("keras", keras.backend.backend(), "numpy"),
        **{**defaults, **options},
    )
    check_options(config, records)
    return config


def check_options(config: RunConfig, records: Records, group: ProcessGroup | None = None) -> None:
    """Raises a UsageError if options of a run, new or resumed, don't fit its recipe, its records or its processes."""
    if config.data_parts is not None:
        Part(0, config.data_parts).select(records.manifest.shards_of("train"))
        if config.batch_size % config.data_parts:
            raise UsageError(
                "batch_size must be a multiple of data_parts, the number of processes unless it is given. "
                f"Received: batch_size={config.batch_size}, data_parts={config.data_parts}"
            )
    if group is not None:
        if config.data_parts is None:
            raise UsageError(
                "A run that was started on one device must be resumed on one, because several have other batches. "
                "Received: devices='all'. Leave it out"
            )
        group.parts_of(config.data_parts)
        group.check_batch_size(config.batch_size)
    backend = keras.backend.backend()
    if config.jit_compile is False and backend == "jax":
        raise UsageError(
            "jit_compile must be True or left out on JAX, because training without it would be very slow. "
            "Received: jit_compile=False (--jit-compile never)"
        )
    if config.jit_compile == AUTO and backend == "torch":
        raise UsageError(
            "jit_compile must be True, False or left out on PyTorch, on which step times aren't measured. "
            "Received: jit_compile='auto' (--jit-compile auto)"
        )
    if config.image_folder and not config.recipe["autoencoder_epochs"]:
        raise UsageError(
            "image_folder requires a recipe with an image autoencoder (autoencoder_epochs above 0). "
            f"Received: the recipe {config.recipe['name']!r}"
        )
    if config.patience is not None or config.restore_best_weights:
        records.require_split("val", "patience and restore_best_weights require held-out pairs")


def check_model(model: Any) -> None:
    """Raises a UsageError unless a model, if there is one, is an `AudioToImage`."""
    if model is not None and not isinstance(model, AudioToImage):
        what = repr(model) if isinstance(model, str) else f"an object of the class {type(model).__name__}"
        raise UsageError(
            f"model must be an AudioToImage. Received: {what}. Pass AudioToImage(encoder, generator), whose parts may "
            "be Keras models, or a trained model: AudioToImage.from_preset(...)"
        )


def check_labels(recipe: Recipe, records: Records) -> None:
    """Raises a UsageError if a recipe classifies labels, and pairs have none or the records have fewer than two."""
    if not recipe.needs("labels"):
        return
    if len(records.labels) < 2:
        raise UsageError(
            f"The recipe {recipe.name!r} classifies labels: the records must have two or more. "
            f"Received: {list(records.labels)}. Build them from a pairs.csv with labels, or choose another recipe"
        )
    if records.n_unlabelled:
        raise UsageError(
            f"The recipe {recipe.name!r} classifies labels: every pair must have one. Received: "
            f"{counted(records.n_unlabelled, 'pair')} without a label. Label these rows or leave them out of the "
            "pairs.csv, or choose another recipe"
        )


def check_references(records: Records) -> None:
    """Raises a UsageError unless a source has two pairs, one of which can be the other's reference."""
    largest = max((sum(labels.values()) for labels in records.labels_per_source.values()), default=0)
    if largest < 2:
        raise UsageError(
            "A model with a reference image needs sources of two pairs or more, such as videos: the reference is "
            "another image of the source. Received: records with one pair of every source. Give pairs of the same "
            "person the same source"
        )


def list_differences(before: RunConfig, after: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Compares what two configurations train, whatever their seed, their command and how far they are.

    Returns:
        Name -> its value in either; settings of the recipe by their full names, such as "encoder.channels".
    """
    a, b = _flat(before), _flat(after)
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def _flat(config: RunConfig) -> dict[str, Any]:
    names = ("own_model", "objectives", "fingerprint", *TRAINING_OPTIONS)
    # Tuples are lists in a file.
    values = json.loads(json.dumps({name: getattr(config, name) for name in names} | {"recipe": config.recipe}))
    # What the recipe says of these is the default of the options, which are compared themselves.
    recipe = {name: value for name, value in values.pop("recipe").items() if name not in values or name == "objectives"}
    for name, value in recipe.items():
        values |= {f"{name}.{part}": each for part, each in value.items()} if isinstance(value, dict) else {name: value}
    return values


def _choose(
    records: Records, recipe: str | Recipe | None, settings: Mapping[str, Any], model: AudioToImage | None
) -> Recipe:
    """The recipe of a new run, checked against the records."""
    if recipe is None:
        recipe = choose_recipe(records)[0] if model is None else _recipe_of(model, records)
    if isinstance(recipe, str):
        recipe = get_recipe(recipe, **settings)
    elif settings:
        from keras_a2i.recipes.settings import change

        recipe = change(recipe, settings)
    kind = recipe.encoder.input_kind if model is None else model.input_kind
    if kind == "waveform" and not records.has_waveform:
        raise UsageError(
            f"The recipe {recipe.name!r} requires audio. Received: records of {records.features.description} without "
            "audio. Choose one for features, such as features or paper"
        )
    return recipe


def _recipe_of(model: AudioToImage, records: Records) -> str:
    """The recipe that a model was built or trained with, if it suits the model and the records, else that of others."""
    if model.recipe not in recipe_names():
        return OWN_MODEL_RECIPE
    recipe = get_recipe(model.recipe)
    has_labels = tuple(records.labels) == model.metadata.labels and not records.n_unlabelled
    fits = recipe.generator.stores_exemplars == (find_exemplars(model) is not None)
    return recipe.name if fits and (has_labels or not recipe.needs("labels")) else OWN_MODEL_RECIPE


def _warn_of_untrained_encoder(model: AudioToImage, objectives: Sequence[Any]) -> None:
    """Warns where no objective trains the encoder of a model that classifies first."""
    trained = any(getattr(objective, "id", "") == "labels" for objective in objectives)
    if model.label_head is not None and model.encoder.trainable_weights and not trained:
        warnings.warn(
            "No objective trains the encoder of this model: it classifies first, and a loss that compares images "
            "doesn't reach it. Train it on records with the labels of the model and with the objective 'labels' "
            "(LabelCrossentropy), or freeze it: model.encoder.trainable = False",
            UserWarning,
            stacklevel=4,
        )


def _serialize(objective: Any) -> dict[str, Any]:
    try:
        return keras.saving.serialize_keras_object(objective)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UsageError(
            "objectives must have a get_config method, so that the run can be resumed. "
            f"Received: {type(objective).__name__} ({error})"
        ) from error
