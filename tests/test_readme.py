"""What the documentation shows works: README's Python, docstring examples, the commands it names."""

import doctest
import importlib
import pathlib
import pkgutil
import re

import numpy as np
import pytest
import soundfile

import keras_a2i
from keras_a2i.cli import main

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = keras_a2i.ImageConfig(size=256)
    sources = keras_a2i.open_sources(["synthetic:surf:12"], features=keras_a2i.FeatureConfig(), image=image)
    keras_a2i.build_records(sources, "records", image=image, split=keras_a2i.SplitSpec(guard=0), workers=1)
    keras_a2i.fit("records", "run", recipe="tiny", epochs=1)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    soundfile.write("song.wav", np.zeros((50_000, 2)), 44_100)
    code = code.replace("epochs=3", "epochs=1")
    names = {}
    exec(code, names)
    assert names["pictures"].shape == (2, 256, 256, 3)
    assert pathlib.Path("model.tflite").is_file()


def test_every_command_and_option_in_the_readme_exists():
    commands = set(re.findall(r"keras-a2i ([a-z][a-z-]+)", README))
    assert commands <= set(main._COMMANDS)
    for line in re.findall(r"keras-a2i ([a-z][a-z-]+ .*)", README.replace("\\\n", "")):
        name, *words = line.split("#")[0].split()
        command = main.cli.get_command(None, name)
        known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        used = {word for word in words if word.startswith("--")}
        assert used <= known, line


def test_every_command_is_in_the_readme():
    for name in main._COMMANDS:
        assert f"| `{name}" in README


MODULES = [
    info.name
    for info in pkgutil.walk_packages(keras_a2i.__path__, "keras_a2i.")
    if ">>>" in pathlib.Path(importlib.util.find_spec(info.name).origin).read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
