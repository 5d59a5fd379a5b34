"""Live images in a browser of this machine: a page, its numbers and the images as a stream of JPEGs."""

import dataclasses
import importlib.resources
import io
import json
import socket
import threading

import numpy as np

from keras_a2i.media.image import to_pillow
from keras_a2i.serving.live_status import LiveStatus
from keras_a2i.serving.local_server import KINDS, PAGE_HEADERS, LocalHandler, LocalServer

# What the system buffers for a viewer that doesn't read would reach it late: a few images at most.
_SEND_BUFFER = 16_384
_JPEG = "image/jpeg"


class MjpegServer:
    """Serves live images to browsers of this machine, and to nobody else.

    `/` is the page of exports for browsers, with the session's images and numbers in place of those that it generates
    itself; `/stream` the images as multipart/x-mixed-replace; `/image.jpg` the newest one; `/status.json` the numbers.
    Every viewer receives the newest image when it is ready for one; what it was too slow for is neither sent nor kept.

    Args:
        port: 1 to 65535, or 0 for any free one.

    Raises:
        UsageError: if the port is in use, not allowed or out of range.
    """

    def __init__(self, port: int = 8000):
        self._latest = _Latest()
        self._server = _Server(port, self._latest)
        self.port, self.where = self._server.port, self._server.where
        self._server.start()

    def show(self, image: np.ndarray, status: LiveStatus) -> None:
        """Encodes an image once, for all viewers."""
        buffer = io.BytesIO()
        to_pillow(image).save(buffer, "JPEG", quality=92, subsampling=0)
        self._latest.put(buffer.getvalue(), json.dumps(dataclasses.asdict(status)).encode())

    def close(self) -> None:
        """Ends all connections, joins the threads and frees the port."""
        self._latest.close()
        self._server.close()


class _Latest:
    """The newest image and numbers, and the waiting for newer ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed = False
        self._number = 0
        self.jpeg, self.status = b"", b"{}"

    def put(self, jpeg: bytes, status: bytes) -> None:
        with self._changed:
            self.jpeg, self.status = jpeg, status
            self._number += 1
            self._changed.notify_all()

    def after(self, number: int) -> tuple[int, bytes] | None:
        """Waits for an image later than `number`; returns its number and the image, or None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > number)
            return None if self._closed else (self._number, self.jpeg)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Server(LocalServer):
    def __init__(self, port: int, latest: _Latest):
        super().__init__(port, _Handler)
        self.latest = latest
        self.files = _page_files()


def _page_files() -> dict[str, tuple[str, bytes]]:
    """Returns the kind and the content of the page's files by address."""
    page = importlib.resources.files("keras_a2i.exporters") / "page"
    index = (page / "index.html").read_text(encoding="utf-8")
    for old, new in (("page.js", "live.js"), ("<title>Audio to images", "<title>keras-a2i live")):
        assert index.count(old) == 1
        index = index.replace(old, new)
    live = importlib.resources.files("keras_a2i.serving") / "live.js"
    return {
        "/": (KINDS[".html"], index.encode()),
        "/page.css": (KINDS[".css"], (page / "page.css").read_bytes()),
        "/stage.js": (KINDS[".js"], (page / "stage.js").read_bytes()),
        "/live.js": (KINDS[".js"], live.read_bytes()),
    }


class _Handler(LocalHandler):
    server: _Server
    extra_headers = PAGE_HEADERS

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        super().setup()

    def answer(self, path: str) -> None:
        latest = self.server.latest
        if path in self.server.files:
            self._send(*self.server.files[path])
        elif path == "/status.json":
            self._send(KINDS[".json"], latest.status)
        elif path == "/image.jpg" and latest.jpeg:
            self._send(_JPEG, latest.jpeg)
        elif path == "/image.jpg":
            self.send_error(503, explain="There is no image yet.")
        elif path == "/stream":
            self._stream()
        else:
            self.send_error(404, explain="There are /, /stream, /image.jpg and /status.json.")

    def _send(self, kind: str, content: bytes) -> None:
        self.start(kind, len(content))
        self.wfile.write(content)

    def _stream(self) -> None:
        self.close_connection = True
        self.start("multipart/x-mixed-replace; boundary=image")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"--image\r\n")
        number = 0
        while (newest := self.server.latest.after(number)) is not None:
            number, jpeg = newest
            # The boundary follows at once: browsers show an image when they have received its end.
            header = b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (_JPEG.encode(), len(jpeg))
            self.wfile.write(header + jpeg + b"\r\n--image\r\n")
