"""Damaged files of every kind are read or refused in one sentence: a short form of tools/fuzz.py."""

import importlib.util
import pathlib
import random
import sys

import pytest


def load_tool():
    path = pathlib.Path(__file__).parents[1] / "tools" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    with pytest.MonkeyPatch.context() as patch:
        # As for a script, whose own folder comes first.
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


fuzz = load_tool()
# Those whose files take a training to make are tried in tests of their own rooms.
QUICK = [
    name for name in fuzz.READERS if not name.startswith(("model.", "SavedModel", "config", "variables", "history"))
]


@pytest.mark.training
@pytest.mark.parametrize("name", QUICK)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    reader = fuzz.READERS[name]
    file = reader.make(tmp_path)
    data = file.read_bytes()
    assert fuzz.outcome(reader, file)[0] == "read"
    for number in range(25 if reader.weight < 0.6 else 40):
        file.write_bytes(reader.change(data, random.Random(f"tests {name} {number}")))
        result, said = fuzz.outcome(reader, file)
        assert result in ("read", "refused"), f"file {number}: {said}"


@pytest.mark.training
def test_damaged_files_of_a_run_are_read_or_refused(tmp_path):
    for name in ("config.json", "state/variables.npz", "history.csv"):
        reader = fuzz.READERS[pathlib.PurePath(name).name]
        file = tmp_path / "run" / name
        if not file.exists():
            assert reader.make(tmp_path) == file
        data = file.read_bytes()
        for number in range(40):
            file.write_bytes(reader.change(data, random.Random(f"tests {name} {number}")))
            result, said = fuzz.outcome(reader, file)
            assert result in ("read", "refused"), f"{name}, file {number}: {said}"
        file.write_bytes(data)
