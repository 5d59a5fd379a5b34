"""Exported pages on this machine: their folders, made where they aren't there yet, and a server of their files."""

import contextlib
import gzip
import html
import importlib.resources
import io
import os
import pathlib
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.exporters import FORMATS
from keras_a2i.exporters.web import CONTENT, copy_model, missing_files, write_page
from keras_a2i.models.shipped import describe_shipped, find_model, shipped_models, suggest_shipped
from keras_a2i.serving.local_server import KINDS, PAGE_HEADERS, LocalHandler, LocalServer

_CHUNK = 65_536
# Images are compressed as they are, and the weights of a model hardly get smaller.
_COMPRESSIBLE = (".html", ".css", ".js", ".json", ".wasm")
_LEVEL = 6
_GZIP = re.compile(r"gzip\s*(;\s*q\s*=\s*(?!0(\.0*)?\s*$).+)?", re.IGNORECASE)
_SHEET = "held_out.png"


class PageServer(LocalServer):
    """Serves the files of an exported page to browsers of this machine: those, and no others.

    Files are sent in chunks of 64 KiB, so that memory doesn't grow with the visitors. Texts and the runtime are sent
    compressed to browsers that accept gzip; the server keeps one copy of each.

    Args:
        port: 1 to 65535, or 0 for any free one. Browsers that connect before `show` wait for it.

    Raises:
        UsageError: if the port is in use, not allowed or out of range.
    """

    def __init__(self, port: int = 8000):
        super().__init__(port, _Handler)
        self.files: dict[str, pathlib.Path] = {}
        self._compressed: dict[pathlib.Path, tuple[tuple[int, int], bytes]] = {}
        self._compressing = threading.Lock()

    def show(self, folder: pathlib.Path) -> None:
        """Serves the page in a folder, in a thread, until `close`; `show` or `show_choice` can be called once."""
        self.files = _files("/", folder)
        self.start()

    def show_choice(self, folder: pathlib.Path) -> None:
        """Serves the pages that `choice_folder` made, and the one that links to them."""
        self.files = {"/": folder / "index.html"}
        for page in (path for path in folder.iterdir() if path.is_dir()):
            self.files |= _files(f"/{page.name}/", page) | {f"/{page.name}/{_SHEET}": page / _SHEET}
        self.start()

    def compressed(self, file: pathlib.Path) -> bytes:
        """Returns a file in the encoding gzip, compressed once, and again where it has changed."""
        with self._compressing:
            status = file.stat()
            version = status.st_mtime_ns, status.st_size
            kept = self._compressed.get(file)
            if kept is None or kept[0] != version:
                kept = self._compressed[file] = version, gzip.compress(file.read_bytes(), _LEVEL, mtime=0)
            return kept[1]


class _Handler(LocalHandler):
    server: PageServer
    extra_headers = PAGE_HEADERS

    def answer(self, path: str) -> None:
        # A name that isn't in the table isn't a file: no path can lead out of the folder.
        file = self.server.files.get(path)
        if file is None or not file.is_file():
            self.send_error(404, explain="The page has no such file.")
            return
        if file.suffix in _COMPRESSIBLE:
            accepted = ",".join(self.headers.get_all("Accept-Encoding", [])).split(",")
            if any(_GZIP.fullmatch(each.strip()) for each in accepted):
                content = self.server.compressed(file)
                self.start(KINDS[file.suffix], len(content), {"Content-Encoding": "gzip"})
                # In chunks as well: the time limit of the socket is one of each call.
                shutil.copyfileobj(io.BytesIO(content), self.wfile, _CHUNK)
                return
        with file.open("rb") as opened:
            self.start(KINDS[file.suffix], os.fstat(opened.fileno()).st_size)
            shutil.copyfileobj(opened, self.wfile, _CHUNK)


def _files(address: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    return {address + name: folder / name for name in CONTENT} | {address: folder / "index.html"}


@contextlib.contextmanager
def choice_folder(runtime: str | pathlib.Path | None) -> Iterator[pathlib.Path]:
    """Yields a temporary folder with a page for each shipped model, and an index.html to choose from them.

    Args:
        runtime: folder of the npm package @litertjs/core 2.5.3, or "cdn".

    Raises:
        UsageError: if the runtime is missing or another one.
    """
    with tempfile.TemporaryDirectory(prefix="keras-a2i-") as temporary:
        folder, links = pathlib.Path(temporary), []
        for name, shipped in shipped_models().items():
            page = folder / name
            page.mkdir()
            write_page(page, copy_model(shipped / "model.tflite", page), runtime)
            shutil.copyfile(shipped / _SHEET, page / _SHEET)
            links.append(
                f'<a href="{name}/"><b>{name}</b><p>{html.escape(describe_shipped(shipped))}</p>'
                f'<img src="{name}/{_SHEET}" alt="Held-out pairs"></a>'
            )
        template = importlib.resources.files("keras_a2i.serving").joinpath("choice.html").read_text(encoding="utf-8")
        (folder / "index.html").write_text(template.replace("{models}", "\n".join(links)), encoding="utf-8")
        yield folder


@contextlib.contextmanager
def page_folder(model: pathlib.Path, runtime: str | pathlib.Path | None = None) -> Iterator[pathlib.Path]:
    """Yields the folder of a model's page; one that is made for it is removed at the end.

    Args:
        model: the folder of an exported page, which is yielded as it is; a `.tflite` file whose input is a waveform;
            the name of a shipped model; or a run folder or `.keras` file, which is exported and alone needs TensorFlow.
        runtime: folder of the npm package @litertjs/core 2.5.3, or "cdn", where a page has to be made.

    Raises:
        UsageError: if the runtime is missing or another one, or is given for a page that holds it.
        ModelError: if the page lacks a file, or the model can't be read or doesn't accept a waveform.
        ExportError: if the export doesn't agree with the model.
    """
    model = find_model(model, "model.tflite")
    if not model.exists():
        names = ", ".join(shipped_models()) or "none is installed"
        raise ModelError(
            f"A model must exist, or be a shipped one ({names}). Received: {model}, which doesn't exist"
            f"{suggest_shipped(model)}"
        )
    if FORMATS["web"].can_load(model):
        if runtime is not None:
            raise UsageError(
                f"runtime must be left out for an exported page: it was chosen at its export. Received: {model}"
            )
        if missing := missing_files(model):
            raise ModelError(f"A page must hold all files of its export. Received: {model}, which lacks {missing[0]}")
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="keras-a2i-") as temporary:
        folder = pathlib.Path(temporary) / "page"
        if FORMATS["tflite"].can_load(model):
            folder.mkdir()
            write_page(folder, copy_model(model, folder), runtime)
        else:
            from keras_a2i.exporters.export import export

            export(model, folder, format="web", runtime=runtime)
        yield folder
