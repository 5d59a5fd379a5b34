"""Labelled short clips: finds images for a clip and clips for an image (keras-a2i search), and generates blurred ones.

Result: 2,000 spoken digits, evaluated as words-adversarial: the first image found among 100 shows the spoken digit in
87 % of the searches, and 87 % of the generated images do; sharpness 5 %, as they are means. 9 minutes on one core.
Measured without per-channel energy normalization.
Command: python tools/benchmark_quality.py OUT --digits pairs.csv --only digits/words-aligned
"""

from keras_a2i.models import ResidualGenerator, WordEncoder
from keras_a2i.recipes.recipe import Recipe

RECIPE = Recipe(
    name="words-aligned",
    task="words",
    # Audio and images share one vector, which is also what the generator receives.
    encoder=WordEncoder(channels=(24, 48, 96, 96, 128), latent_dim=64, ensemble=1, dropout=0.3),
    generator=ResidualGenerator(channels=(96, 48, 32, 24, 16), base_channels=96, label_sharpness=0.0),
    objectives={"mse": 1.0, "labels": 6.0, "contrastive": 2.0},
    learning_rate=2e-3,
    weight_decay=1e-3,
    batch_size=64,
    epochs=40,
    min_steps=800,
    ema_momentum=0.99,
    autoencoder_epochs=20,
    shuffle_within_label=True,
    monitor="val_labels_loss",
)
