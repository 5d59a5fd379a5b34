"""Where live pictures go: a folder of PNG files, or a window."""

import pathlib
from typing import Any, Protocol

import numpy as np
from PIL import Image

from keras_a2i.errors import UsageError
from keras_a2i.media.image import save_png, to_pillow
from keras_a2i.serving.live_status import LiveStatus

_LEAST_WINDOW = 384


class ImageOutput(Protocol):
    """What shows the pictures of a live session.

    Attributes:
        where: the folder, address or the like, for people.
    """

    where: str

    def show(self, picture: np.ndarray, status: LiveStatus) -> None:
        """Takes the newest picture, uint8 (size, size, channels); it stands there when this returns."""

    def attend(self) -> bool:
        """Called every 50 ms or so in the thread that made the output; False once its viewer has closed it."""

    def close(self) -> None:
        """Gives everything back; may be called twice."""


class ImageFolder:
    """PNG files 000000.png, 000001.png and so on, each written whole or not at all.

    Args:
        path: the folder; made if it doesn't exist.

    Raises:
        UsageError: if it is a file or holds numbered pictures already.
    """

    def __init__(self, path: pathlib.Path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"Live pictures must go into a folder. Received: the file {path}")
        if next(path.glob("[0-9]*.png"), None) is not None:
            raise UsageError(f"{path} holds pictures of an earlier call. Choose another folder, or empty it")
        path.mkdir(parents=True, exist_ok=True)
        self.where = str(path)
        self._path, self._count = path, 0

    def show(self, picture: np.ndarray, status: LiveStatus) -> None:
        """Writes the next file."""
        save_png(to_pillow(picture), self._path / f"{self._count:06d}.png")
        self._count += 1

    def attend(self) -> bool:
        """A folder needs no attention."""
        return True

    def close(self) -> None:
        """Nothing is held."""


class Window:
    """A window of its own (tkinter); the picture grows and shrinks with it.

    Raises:
        UsageError: if Python has no tkinter or there is no display.
    """

    where = "a window"

    def __init__(self) -> None:
        self._root = _open_window()
        self._root.title("keras-a2i live")
        self._root.configure(background="#101014")
        self._root.geometry(f"{_LEAST_WINDOW}x{_LEAST_WINDOW}")
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        import tkinter

        self._photo = tkinter.PhotoImage(master=self._root)
        self._label = tkinter.Label(self._root, image=self._photo, background="#101014", borderwidth=0)
        self._label.place(relx=0.5, rely=0.5, anchor="center")
        self._open = True
        self._root.update()

    def show(self, picture: np.ndarray, status: LiveStatus) -> None:
        """Draws the picture as large as the window allows."""
        if not self._open:
            return
        side = max(1, min(self._root.winfo_width(), self._root.winfo_height()))
        scaled = to_pillow(picture).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        # Filling the same image again keeps Tk from collecting one image for every picture.
        header = b"P6 %d %d 255\n" % (side, side)
        self._photo.configure(width=side, height=side, data=header + scaled.tobytes(), format="PPM")
        if status.images_per_second is not None:
            self._root.title(f"keras-a2i live: {status.images_per_second:.1f} pictures/s")
        self._root.update()

    def attend(self) -> bool:
        """Handles what the user does with the window; False once it is closed."""
        if self._open:
            self._root.update()
        return self._open

    def close(self) -> None:
        """Closes the window."""
        if self._open:
            self._open = False
            self._root.destroy()


def _open_window() -> Any:
    try:
        import tkinter
    except ImportError as error:
        raise UsageError(
            f"A window needs Python's tkinter: {error}. Install it (Debian, Ubuntu: apt install python3-tk), or "
            "look at the pictures in a browser with --to mjpeg"
        ) from error
    try:
        return tkinter.Tk(className="keras-a2i")
    except tkinter.TclError as error:
        raise UsageError(
            f"A window needs a display: {error}. Look at the pictures in a browser with --to mjpeg, or write them to a "
            "folder with --to FOLDER"
        ) from error
