"""One recipe of each network: several train the same one in another way."""

import dataclasses

from keras_a2i.models import RECIPES

_RECIPE = (
    *("name", "description", "result", "task", "learning_rate", "beta_1", "schedule", "warmup", "weight_decay"),
    *("batch_size", "epochs", "global_clipnorm", "objectives", "autoencoder_epochs", "freeze_encoder_after", "ema"),
    *("shuffle_within_label", "augmentation"),
)


def different_networks() -> list[str]:
    """Names of recipes such that every recipe builds the network of one of them."""
    first = {}
    for name, recipe in RECIPES.items():
        fields = {key: value for key, value in dataclasses.asdict(recipe).items() if key not in _RECIPE}
        first.setdefault(repr(fields), name)
    return list(first.values())
