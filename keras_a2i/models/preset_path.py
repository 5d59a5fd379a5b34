"""Where the weights of a preset are: a folder, a file, a shipped model's name or an address on the Hugging Face hub."""

import pathlib

from keras_a2i.errors import MissingPackageError, ModelError
from keras_a2i.models.shipped import find_model, shipped_models, suggest_shipped

_HUB = "hf://"


def find_preset(preset: str | pathlib.Path) -> pathlib.Path:
    """Returns the path of the `.keras` file of a preset; see `AudioToImage.from_preset`.

    Raises:
        ModelError: if there is none.
        MissingPackageError: if an hf:// address is given and huggingface_hub isn't installed.
    """
    is_address = str(preset).startswith(_HUB)
    folder = _download(str(preset)[len(_HUB) :]) if is_address else find_model(preset)
    path = folder / "model.keras" if folder.is_dir() else folder
    if path.suffix == ".keras" and path.is_file():
        return path
    if folder.is_dir():
        raise ModelError(f"A preset folder must hold a model.keras. Received: {preset}, which holds none")
    raise ModelError(
        "A preset must be a run folder, a .keras file, the address of either in an object store, hf://USER/REPOSITORY "
        f"or one of the shipped models ({', '.join(shipped_models()) or 'none is installed'}). Received: "
        f"{str(preset)!r}{suggest_shipped(preset)}"
    )


def _download(repository: str) -> pathlib.Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingPackageError("huggingface_hub", "hub", "Loading an hf:// preset") from None
    try:
        return pathlib.Path(snapshot_download(repository, allow_patterns=["model.keras", "*.md"]))
    except (OSError, ValueError) as error:
        raise ModelError(f"The preset {_HUB}{repository} can't be downloaded: {error}") from error
