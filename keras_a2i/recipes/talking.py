"""A reference image and speech: the image moves with the audio, and shows whom the reference shows.

Result: synthetic:faces, 64 pixels, 40 unseen faces, seed 0: the opening of the mouth correlates with the truth by 0.987
(the reference repeated 0.083, read from real images 0.996); distance from the own identity 0.018 of that between two
faces (real images 0.018); change over time 1.27 of the real one; SSIM 0.985 (the reference repeated 0.974). 13 minutes
on two cores beside much other work.
Command: python tools/bench_talking.py OUT
"""

from keras_a2i.models import ReferenceGenerator, SpeechEncoder
from keras_a2i.recipes.recipe import Recipe
from keras_a2i.records.augmentation import Augmentation

RECIPE = Recipe(
    name="talking",
    task="any",
    encoder=SpeechEncoder(),
    generator=ReferenceGenerator(),
    objectives={"mse": 1.0, "ssim": 1.0, "temporal": {"weight": 0.5, "start": 0.5}, "identity": 0.1},
    learning_rate=2e-3,
    global_clipnorm=1.0,
    weight_decay=1e-3,
    batch_size=32,
    epochs=30,
    min_steps=1500,
    ema_momentum=0.99,
    monitor="val_mse",
    augmentation=Augmentation(noise_snr_db=15.0),
)
"""The paper trains on single images first, then on short sequences: so does `start` of the objective temporal."""
