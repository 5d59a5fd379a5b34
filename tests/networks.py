"""One preset of each network: several train the same one in another way."""

import dataclasses

from keras_a2i.models import PRESETS

_RECIPE = (
    *("name", "description", "result", "task", "learning_rate", "beta_1", "schedule", "warmup", "weight_decay"),
    *("batch_size", "epochs", "gradient_clip", "objectives", "picture_epochs", "encoder_share", "ema"),
    *("shuffle_within_label", "augmentation"),
)


def different_networks() -> list[str]:
    """Names of presets such that every preset builds the network of one of them."""
    first = {}
    for name, preset in PRESETS.items():
        fields = {key: value for key, value in dataclasses.asdict(preset).items() if key not in _RECIPE}
        first.setdefault(repr(fields), name)
    return list(first.values())
