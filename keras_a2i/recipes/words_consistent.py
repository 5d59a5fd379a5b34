"""As words-adversarial, with samples from which their style can be recovered.

Result: TODO.
"""

import dataclasses

from keras_a2i.recipes.words_adversarial import RECIPE as WORDS_ADVERSARIAL

RECIPE = dataclasses.replace(
    WORDS_ADVERSARIAL,
    name="words-consistent",
    objectives={**WORDS_ADVERSARIAL.objectives, "consistency": 1.0},
)
