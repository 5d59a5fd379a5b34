"""The outputs of a live session: the protocol, and a folder of PNG files."""

import pathlib
from typing import Protocol

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.image import save_png, to_pillow
from keras_a2i.serving.live_status import LiveStatus


class ImageOutput(Protocol):
    """Shows the images of a live session.

    Attributes:
        where: the folder, address or the like, for people.
    """

    where: str

    def show(self, image: np.ndarray, status: LiveStatus) -> None:
        """Shows the newest image, uint8 (size, size, channels), before it returns."""

    def close(self) -> None:
        """Releases everything; may be called twice."""


class ImageFolder:
    """Writes PNG files 000000.png, 000001.png and so on, each whole or not at all.

    Args:
        path: the folder; it is created if it doesn't exist, and removed when it is closed without an image.

    Raises:
        UsageError: if it is a file or holds numbered images already.
    """

    def __init__(self, path: pathlib.Path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"path must be a folder. Received: the file {path}")
        if next(path.glob("[0-9]*.png"), None) is not None:
            raise UsageError(
                f"path must not hold images of an earlier session. Received: {path}. Choose another folder, or empty it"
            )
        self._created = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        self.where = str(path)
        self._path, self._count = path, 0

    def show(self, image: np.ndarray, status: LiveStatus) -> None:
        """Writes the next file."""
        save_png(to_pillow(image), self._path / f"{self._count:06d}.png")
        self._count += 1

    def close(self) -> None:
        """Removes the folders that were created for it, where no image was written."""
        for folder in self._created:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        self._created = []
