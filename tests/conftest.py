"""Fixtures for the tests of all rooms, and a garbage collector that fits them."""

import gc
import importlib.util
import random
import sys

import pytest

# TensorFlow makes millions of objects when it traces a function: at Python's thresholds, a fifth of the time of a
# training of a few steps is the search for garbage among them.
gc.set_threshold(200_000, 20, 100)


def pytest_collection_modifyitems(items):
    """Has the files without trainings come last: then no process waits at the end for a long file of another."""
    with_trainings = {item.path for item in items if item.get_closest_marker("training")}
    items.sort(key=lambda item: item.path not in with_trainings)


def pytest_collection_finish():
    """Leaves out of every later search what the imports of the test modules made."""
    gc.freeze()


def pytest_runtest_setup():
    """Seeds every test, before its fixtures: what it draws doesn't depend on the tests before it."""
    random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session", autouse=True)
def without_tensorboard():
    """Trainings write no logs for TensorBoard, whose histograms take as long as a short training itself.

    `support.training_runs.tensorboard_logs` is for tests of these logs.
    """
    find_spec = importlib.util.find_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "importlib.util.find_spec", lambda name, *rest: None if name == "tensorboard" else find_spec(name, *rest)
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory):
    """The tests neither read nor fill the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_A2I_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def untrained(monkeypatch):
    """Judges that are trained don't learn: for tests that don't look at what these find."""
    monkeypatch.setattr("keras_a2i.evaluation.two_sample_measures.two_sample_error", lambda *_, **__: 0.5)
    for module in ("probes", "realism_measures"):
        monkeypatch.setattr(f"keras_a2i.evaluation.{module}.train_network", lambda *_, **__: None)
