"""The optimizer a recipe asks for."""

import keras

from keras_a2i.errors import UsageError
from keras_a2i.models.recipe import Recipe

FINAL_SHARE = 0.01
MEMORY_SHARE = 0.05
"""The average of the weights looks back over a twentieth of the steps at most."""


def make_optimizer(recipe: Recipe, total_steps: int) -> keras.optimizers.Optimizer:
    """Builds Adam, or AdamW where the recipe decays weights, with the recipe's schedule and average of weights.

    Args:
        recipe: the recipe.
        total_steps: steps of the whole training, at least 1; "cosine" ends there.

    Raises:
        UsageError: if `total_steps` is below 1.
    """
    if total_steps < 1:
        raise UsageError(f"total_steps must be at least 1. Received: total_steps={total_steps!r}")
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = int(recipe.warmup * total_steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=rate * FINAL_SHARE if warmup else rate,
            decay_steps=max(1, total_steps - warmup),
            alpha=FINAL_SHARE,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    # In a short training a long memory would hold the weights that it began with.
    memory = min(recipe.ema, 1 - 1 / max(1.0, MEMORY_SHARE * total_steps))
    options = {"beta_1": recipe.beta_1, "global_clipnorm": recipe.global_clipnorm or None}
    # Kept in the shortest training too, where it remembers nothing: one that goes on for longer finds it there.
    if recipe.ema:
        options |= {"use_ema": True, "ema_momentum": memory}
    if recipe.weight_decay:
        return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **options)
    return keras.optimizers.Adam(rate, **options)
