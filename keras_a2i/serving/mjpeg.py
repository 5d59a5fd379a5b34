"""Live images in a browser of this machine: a page, its numbers and the images as a stream of JPEGs."""

import contextlib
import dataclasses
import errno
import http.server
import importlib.resources
import io
import json
import os
import re
import socket
import socketserver
import sys
import threading
from typing import Any

import numpy as np

from keras_a2i.errors import UsageError
from keras_a2i.media.image import to_pillow
from keras_a2i.serving.live_status import LiveStatus

HOST = "127.0.0.1"
MAX_CONNECTIONS = 64
# A page on the web can resolve its own name to this machine's address; the Host header still holds that name.
_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_SECONDS_TO_ANSWER = 10
# What the system buffers for a viewer that doesn't read would reach it late: a few images at most.
_SEND_BUFFER = 16_384
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class MjpegServer:
    """Serves live images to browsers of this machine, and to nobody else.

    `/` is a page with the image, the audio's level and the session's numbers; `/stream` the images as
    multipart/x-mixed-replace; `/image.jpg` the newest one; `/status.json` the numbers. Every viewer receives the newest
    image when it is ready for one; what it was too slow for is neither sent nor kept.

    Args:
        port: 1 to 65535, or 0 for any free one.

    Raises:
        UsageError: if the port is in use, not allowed or out of range.
    """

    def __init__(self, port: int = 8000):
        self._latest = _Latest()
        try:
            self._server = _Server((HOST, port), self._latest)
        except (OSError, OverflowError) as error:
            raise UsageError(_port_message(port, error)) from error
        self.port = self._server.server_address[1]
        self.where = f"http://{HOST}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="mjpeg", daemon=True)
        self._thread.start()

    def show(self, image: np.ndarray, status: LiveStatus) -> None:
        """Encodes an image once, for all viewers."""
        buffer = io.BytesIO()
        to_pillow(image).save(buffer, "JPEG", quality=92, subsampling=0)
        self._latest.put(buffer.getvalue(), json.dumps(dataclasses.asdict(status)).encode())

    def close(self) -> None:
        """Ends all connections, joins the threads and frees the port."""
        self._latest.close()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()


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


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Elsewhere than on POSIX the option lets two programs listen on one port.
    allow_reuse_address = os.name == "posix"
    daemon_threads = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], latest: _Latest):
        super().__init__(address, _Handler)
        self.latest = latest
        self.page = importlib.resources.files("keras_a2i.serving").joinpath("live.html").read_bytes()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            # The system accepts so few bytes at once.
            with contextlib.suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Too many viewers\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wakes the threads that wait for their viewers; call it when no new ones are accepted."""
        for request in list(self._connections):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A viewer that goes away is no error.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS_TO_ANSWER
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        super().setup()

    def handle_one_request(self) -> None:
        # The timeout of the socket is one of each byte: a request that drips would hold its place forever.
        self._limit = threading.Timer(_SECONDS_TO_ANSWER, self._give_up)
        self._limit.daemon = True
        self._limit.start()
        try:
            super().handle_one_request()
        finally:
            self._limit.cancel()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        # The whole request has arrived.
        self._limit.cancel()
        hosts = self.headers.get_all("Host", [])
        path = self.path.partition("?")[0]
        latest = self.server.latest
        if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0].strip()):
            self.send_error(403, explain="The Host header must be 127.0.0.1 or localhost.")
        elif path == "/":
            self._answer("text/html; charset=utf-8", self.server.page)
        elif path == "/status.json":
            self._answer("application/json", latest.status)
        elif path == "/image.jpg" and latest.jpeg:
            self._answer("image/jpeg", latest.jpeg)
        elif path == "/image.jpg":
            self.send_error(503, explain="There is no image yet.")
        elif path == "/stream":
            self._stream()
        else:
            self.send_error(404, explain="There are /, /stream, /image.jpg and /status.json.")

    def _answer(self, kind: str, content: bytes) -> None:
        self._start(kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self.close_connection = True
        self._start("multipart/x-mixed-replace; boundary=image")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"--image\r\n")
        number = 0
        while (newest := self.server.latest.after(number)) is not None:
            number, jpeg = newest
            # The boundary follows at once: browsers show an image when they have received its end.
            header = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            self.wfile.write(header + jpeg + b"\r\n--image\r\n")

    def _start(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        for name, value in _HEADERS.items():
            self.send_header(name, value)

    def version_string(self) -> str:
        return "keras-a2i"

    def log_message(self, format: str, *args) -> None:
        """Logs nothing: the terminal shows the session's numbers."""


def _port_message(port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return f"port must be between 0 and 65535. Received: port={port}"
    if error.errno == errno.EADDRINUSE:
        reason = "another program uses it"
    else:
        reason = f"the system refuses it: {error.strerror}"
    return f"port must be free. Received: port={port}, but {reason}. Choose another, or 0 for any free one"
