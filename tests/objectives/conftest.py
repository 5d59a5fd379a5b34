"""Every test of objectives begins with the same random state."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _random_seed():
    keras.utils.set_random_seed(0)
