"""The models that come with the library."""

import pathlib

from keras_a2i.errors import did_you_mean
from keras_a2i.models.stored_model import local_model

_PACKAGE = pathlib.Path(__file__).parents[1]
# An installation holds the models within the package, a checkout beside it.
_FOLDERS = (_PACKAGE / "saved_models", _PACKAGE.parent / "saved_models")
# What the folder of a run, a SavedModel or a page holds.
_MARKS = ("config.json", "saved_model.pb", "index.html")
_SUFFIXES = (".keras", ".tflite", ".onnx")


def shipped_models() -> dict[str, pathlib.Path]:
    """Returns the folders of the models that come with this installation by their names.

    Each holds `model.keras` (not in an installation without Keras), `model.tflite`, `card.md` and `held_out.png`.
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/model.tflite"))}


def describe_shipped(folder: pathlib.Path) -> str:
    """Returns a description of a shipped model in one line: the heading of its card."""
    heading = (folder / "card.md").read_text(encoding="utf-8").partition("\n")[0]
    return heading.partition(": ")[2]


def prefer_keras(model: str | pathlib.Path) -> str | pathlib.Path:
    """Returns the `.keras` file for the name of a shipped model; unlike the `.tflite` file, it has latent vectors.

    Paths, and names of models whose `.keras` file isn't installed, are returned as they are.
    """
    file = find_model(model)
    return file if file.is_file() else model


def find_model(model: str | pathlib.Path, file: str = "model.keras") -> pathlib.Path:
    """Returns a path unchanged if it is a model, else the file of the shipped model of that name.

    A folder of data with the name of a shipped model doesn't hide the shipped model.

    Args:
        model: a path, an address in an object store, of which a copy is fetched, or the name of a shipped model such
            as "digits".
        file: which of a shipped model's files.

    Raises:
        RemoteError: if an object store can't be read.
    """
    path = local_model(model)
    folder = shipped_models().get(str(model))
    return path if folder is None or _holds_model(path) else folder / file


def _holds_model(path: pathlib.Path) -> bool:
    """Whether a path is a file, or a folder with a model in it or in one of its folders, such as those of seeds."""
    within = (file for pattern in ("*", "*/*") for file in path.glob(pattern))
    return path.is_file() or any(file.name in _MARKS or file.suffix in _SUFFIXES for file in within)


def suggest_shipped(model: str | pathlib.Path) -> str:
    """Returns a question to end a message with, after a mistyped name of a shipped model; "" after anything else."""
    hint = "" if str(model) in shipped_models() else did_you_mean(str(model), shipped_models())
    return hint and f". {hint}"
