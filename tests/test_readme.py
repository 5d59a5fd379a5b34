"""What the README promises: its Python runs, its table lists every command, its length; docstring examples run."""

import doctest
import importlib
import importlib.util
import pathlib
import pkgutil
import re

import numpy as np
import pytest
import soundfile
from support.documentation import README, python_blocks

import keras_a2i
from keras_a2i.cli import main

TEXT = README.read_text(encoding="utf-8")
MAX_LINES = 150


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_python_of_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = keras_a2i.ImageConfig(size=16)
    sources = keras_a2i.open_sources(["synthetic:surf:24"], image=image)
    keras_a2i.build_records(sources, "records", image=image, split=keras_a2i.SplitSpec(guard=0), workers=1)
    soundfile.write("song.wav", np.zeros((50_000, 2)), 44_100)
    (code,) = python_blocks(README)
    names = {}
    exec(code, names)
    assert names["images"].shape == (2, 16, 16, 3)
    assert len(names["report"].pairs()) == names["records"].counts["val"]
    for path in ("run/model.keras", "report.html", "model.tflite", "images/0001.png"):
        assert pathlib.Path(path).is_file(), path


def test_readme_is_short():
    assert len(TEXT.splitlines()) <= MAX_LINES


def test_readme_first_bash_blocks_are_install_and_test():
    """CI runs these two blocks literally."""
    first, second = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[:2]
    assert "-m venv .venv" in first and "pip install" in first and "keras-a2i quickstart" in first
    assert "pip install" in second and "-m pytest" in second


def test_readme_table_lists_exactly_the_commands():
    rows = re.findall(r"^\| `([a-z-]+)[ `]", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(main._COMMANDS)


MODULES = [
    info.name
    for info in pkgutil.walk_packages(keras_a2i.__path__, "keras_a2i.")
    if ">>>" in pathlib.Path(importlib.util.find_spec(info.name).origin).read_text(encoding="utf-8")
]


@pytest.mark.training
@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
