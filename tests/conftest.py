"""Fixtures for the tests of all rooms."""

import pytest


@pytest.fixture
def untrained(monkeypatch):
    """Probes and the image encoder don't learn: for tests that don't look at what they find."""
    for module in ("probes", "realism_measures"):
        monkeypatch.setattr(f"keras_a2i.evaluation.{module}.train_network", lambda *_, **__: None)
