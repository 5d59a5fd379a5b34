"""Fixtures for the tests of all rooms, and a garbage collector that fits them."""

import gc

import pytest

# TensorFlow makes millions of objects when it traces a function: at Python's thresholds, a fifth of the time of a
# training of a few steps is the search for garbage among them.
gc.set_threshold(200_000, 20, 100)


def pytest_collection_finish():
    """Leaves out of every later search what the imports of the test modules made."""
    gc.freeze()


@pytest.fixture
def untrained(monkeypatch):
    """Probes and the image encoder don't learn: for tests that don't look at what they find."""
    for module in ("probes", "realism_measures", "two_sample"):
        monkeypatch.setattr(f"keras_a2i.evaluation.{module}.train_network", lambda *_, **__: None)
