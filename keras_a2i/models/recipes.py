"""The recipes by name: each names a task, a size and an objective, and says what it was measured to do."""

import dataclasses
import difflib
from typing import Any

from keras_a2i.errors import UsageError
from keras_a2i.models.objective_weights import ObjectiveWeights
from keras_a2i.models.recipe import Recipe
from keras_a2i.models.sizes import resize
from keras_a2i.records.augmentation import Augmentation

_SEED = Recipe(
    name="paper",
    description="the paper's network and recipe, features as they are",
    result="2,000 spoken digits as for words-adversarial: 39 % named as spoken, 10 to 55 % by speaker and seed, of "
    "which there are three. 4 minutes on one core. python tools/benchmark_quality.py OUT --digits pairs.csv --seeds 3 "
    "--only digits/seed. The features of the paper's pictures aren't published: keras-a2i reproduce sets what it gives "
    "on yours beside the paper's figures",
    encoder_units=(1024, 768, 512, 256, 100),
    layer_norm=False,
    base_size=1,
    base_channels=0,
    generator_channels=(256, 128, 64, 32, 16, 8, 4),
    final_scale=2,
    normalize=False,
    feature_clip=0.0,
    feature_noise=0.0,
    dropout=0.0,
    learning_rate=0.0625,
    beta_1=0.5,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
    batch_size=64,
    epochs=100,
)

_FEATURES = Recipe(
    name="features",
    description="a vector of features, or an embedding, robust to ones it was not trained on",
    result="synthetic:surf, 720 pairs, 64 pixels, blocks held out: SSIM 0.72, the mean picture of the recording 0.52. "
    "About a minute on 2 cores. keras-a2i quickstart",
    encoder_units=(512, 256, 128),
    layer_norm=True,
    base_size=4,
    base_channels=128,
    generator_channels=(96, 64, 32, 16),
    final_scale=4,
    normalize=True,
    feature_clip=4.0,
    feature_noise=0.5,
    dropout=0.3,
    learning_rate=1e-3,
    beta_1=0.9,
    schedule="cosine",
    warmup=0.1,
    weight_decay=0.0,
    batch_size=64,
    epochs=30,
    augmentation=Augmentation(gain_db=6.0, noise_snr_db=20.0, time_shift=0.05, speed=0.1),
)

_TINY = dataclasses.replace(
    resize(_FEATURES, "tiny"),
    name="tiny",
    description="features in its tiny size, for a first try",
    result="not measured",
)

_WORDS = dataclasses.replace(
    _FEATURES,
    name="words",
    description="labelled short sounds (words, knocks) by anyone: takes sound, learns labels with the pictures",
    result="2,000 spoken digits as for words-adversarial: 88 % named as spoken; sharpness 5 % of the real ones': they "
    "are means. 8 minutes on one core. python tools/benchmark_quality.py OUT --digits pairs.csv --only digits/words",
    task="words",
    encoder="words",
    input="waveform",
    encoder_units=(24, 48, 96, 96, 128, 64),
    ensemble=4,
    label_sharpness=4.0,
    base_channels=96,
    generator_channels=(96, 48, 32, 24, 16),
    final_scale=2,
    learning_rate=2e-3,
    weight_decay=1e-3,
    batch_size=32,
    epochs=40,
    min_steps=800,
    objectives=ObjectiveWeights(mse=2.0, labels=6.0),
    shuffle_within_label=True,
    augmentation=Augmentation(),
    generator="residual",
    ema=0.99,
)

_WORDS_VARIATIONAL = dataclasses.replace(
    _WORDS,
    name="words-variational",
    description="as words, and draws as many different pictures of one sound as asked for",
    result="2,000 spoken digits as for words-adversarial: 87 % named as spoken, of 8 samples a sound 86 %, as far "
    "apart as 0.59 of real ones; sharpness 18 % of the real ones'. 13 minutes on one core. python "
    "tools/benchmark_quality.py OUT --digits pairs.csv --only digits/words-variational",
    style_units=8,
    batch_size=64,
    objectives=ObjectiveWeights(labels=6.0, variational=0.5, variational_warmup=0.3, consistency=1.0),
    autoencoder_epochs=10,
)

_WORDS_ADVERSARIAL = dataclasses.replace(
    _WORDS_VARIATIONAL,
    name="words-adversarial",
    description="as words-variational, sharper: a discriminator looks at the pictures",
    result="2,000 spoken digits, 32 pixels, one of four speakers held out at a time, seed 0: 86 % of the pictures are "
    "named as spoken (80 to 96 % by speaker) by a classifier that names 98 % of real ones; of 8 samples a sound 86 %, "
    "as far apart as 0.79 of real ones; sharpness 100 % of the real ones'. 13 minutes on one core. python "
    "tools/benchmark_quality.py OUT --digits pairs.csv --only digits/words-adversarial",
    beta_1=0.5,
    objectives=ObjectiveWeights(
        labels=6.0, variational=2.0, variational_warmup=0.3, adversarial=1.0, adversarial_start=0.1, consistency=2.0
    ),
)

_WORDS_ALIGNED = dataclasses.replace(
    _WORDS,
    name="words-aligned",
    description="as words, and finds pictures for a sound and sounds for a picture (keras-a2i search)",
    result="2,000 spoken digits as for words-adversarial: the first picture found among 100 has the spoken digit in "
    "87 %, and 87 % of the pictures drawn are named so; sharpness 5 %: they are means. 9 minutes on one core. python "
    "tools/benchmark_quality.py OUT --digits pairs.csv --only digits/words-aligned",
    batch_size=64,
    # Sounds and pictures meet in one vector, which is drawn from too.
    ensemble=1,
    label_sharpness=0.0,
    objectives=ObjectiveWeights(labels=6.0, alignment=2.0),
    autoencoder_epochs=20,
)

_SCENES = dataclasses.replace(
    _FEATURES,
    name="scenes",
    description="what goes on around a microphone: takes sound, draws sharp pictures of it",
    result="27 videos, 64 pixels, blocks held out, mean of three seeds: a reader names the right clip of 83 % of the "
    "pictures, of 86 % of real ones; gain over shuffled sounds SSIM 0.208; sharpness 48 % of the real ones'. SSIM "
    "0.331, the clips' mean pictures 0.392. 5 minutes on one core. python tools/benchmark_quality.py OUT "
    "--videos VIDEOS/ --seeds 3 --only clips/scenes",
    task="scenes",
    encoder="scenes",
    input="waveform",
    encoder_units=(24, 48, 96, 96, 128, 128),
    generator="residual",
    base_channels=96,
    generator_channels=(64, 64, 48, 32, 16),
    final_scale=2,
    feature_noise=0.05,
    dropout=0.0,
    learning_rate=4e-3,
    global_clipnorm=1.0,
    weight_decay=1e-3,
    batch_size=16,
    epochs=120,
    ema=0.99,
    objectives=ObjectiveWeights(mse=2.0, ssim=1.0, spectrum=3.0),
    augmentation=Augmentation(),
)

_SCENES_MANY = dataclasses.replace(
    _SCENES,
    name="scenes-many",
    description="as scenes, for a thousand pairs and more: the generator learns on when the encoder stands still",
    result="synthetic:surf:1600, 64 pixels, blocks held out, seed 0: SSIM 0.933, the training mean 0.405, the best "
    "predictor without sound 0.527, the picture of the nearest training sound 0.841; sharpness 88 % of the real ones'; "
    "the right picture of 120 in 99 %; each hidden factor read with R2 0.96 or more, night and place always rightly. "
    "12 minutes on 2 cores. python tools/benchmark_quality.py OUT --only surf",
    batch_size=8,
    epochs=70,
    freeze_encoder_after=0.4,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _FEATURES,
        _SEED,
        _TINY,
        _WORDS,
        _WORDS_VARIATIONAL,
        _WORDS_ADVERSARIAL,
        _WORDS_ALIGNED,
        _SCENES,
        _SCENES_MANY,
    )
}
DESCRIPTIVE = ("name", "description", "task", "size", "result")
"""Fields that describe a recipe and shape nothing."""


def get_recipe(name: str, /, **overrides: Any) -> Recipe:
    """Returns a recipe, with some of its values changed.

    Args:
        name: one of `RECIPES`.
        **overrides: fields of `Recipe` other than those that describe it, of `ObjectiveWeights` and of `Augmentation`;
            `size` ("tiny", "base" or "large") scales the widths before other fields are changed.

    Raises:
        UsageError: if there is no such recipe or field, or a value is out of range.

    Example:
        >>> get_recipe("paper", epochs=3).learning_rate
        0.0625
    """
    if name not in RECIPES:
        raise UsageError(f"The recipe must be one of {list(RECIPES)}. Received: {name!r}{_suggest(name, RECIPES)}")
    recipe = RECIPES[name]
    if "size" in overrides:
        recipe = resize(recipe, overrides.pop("size"))
    own = [field.name for field in dataclasses.fields(Recipe) if field.name not in DESCRIPTIVE]
    parts = {
        part: [field.name for field in dataclasses.fields(getattr(recipe, part))]
        for part in ("objectives", "augmentation")
    }
    known = [*own, "size", *parts["objectives"], *parts["augmentation"]]
    for key in overrides:
        if key not in known:
            near = _suggest(key, known) or f". It has {', '.join(known)}"
            raise UsageError(f"A recipe has no such value. Received: {key!r}{near}")
    for part, names in parts.items():
        changed = {key: overrides.pop(key) for key in list(overrides) if key in names}
        if isinstance(overrides.get(part), dict):
            overrides[part] = type(getattr(recipe, part)).from_dict(overrides[part])
        if changed:
            overrides[part] = dataclasses.replace(overrides.get(part, getattr(recipe, part)), **changed)
    return dataclasses.replace(recipe, **overrides)


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f". Did you mean {close[0]!r}?" if close else ""
