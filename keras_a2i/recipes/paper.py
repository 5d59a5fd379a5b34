"""The paper's network and training, with unscaled features.

Result: 2,000 spoken digits, evaluated as words-adversarial: 39 % of the images show the spoken digit, 10 to 55 % by
speaker and seed (three seeds). 4 minutes on one core.
The features of the paper's images aren't published, so its own figures can't be reproduced from its data.
Command: python tools/benchmark_quality.py OUT --digits pairs.csv --seeds 3 --only digits/paper
Reference: Vuruma, "Generating Images from Audio Input", section IV.
"""

from keras_a2i.models import DenseEncoder, TransposedGenerator
from keras_a2i.recipes.recipe import Recipe

RECIPE = Recipe(
    name="paper",
    encoder=DenseEncoder(
        units=(1024, 768, 512, 256, 100),
        layer_norm=False,
        normalize=False,
        feature_clip=0.0,
        feature_noise=0.0,
        dropout=0.0,
    ),
    generator=TransposedGenerator(channels=(256, 128, 64, 32, 16, 8, 4), base_size=1, base_channels=0, final_scale=2),
    objectives={"mse": 1.0},
    learning_rate=0.0625,
    beta_1=0.5,
    schedule="constant",
    warmup=0.0,
    batch_size=64,
    epochs=100,
)
