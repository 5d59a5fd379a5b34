"""A small HTTP server for browsers of this machine, and for nobody else."""

import contextlib
import errno
import http.server
import os
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Mapping
from typing import Any

from keras_a2i.errors import UsageError

HOST = "127.0.0.1"
MAX_CONNECTIONS = 64
# A page on the web can resolve its own name to this machine's address; the Host header still holds that name.
_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_SECONDS_TO_ANSWER = 10
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
}
# The rest of the policy is in the page itself, so that it holds on any server.
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class LocalHandler(http.server.BaseHTTPRequestHandler):
    """Answers GET requests whose Host is this machine and that arrive within 10 seconds.

    Attributes:
        extra_headers: headers of every answer.
    """

    extra_headers: Mapping[str, str] = {}
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS_TO_ANSWER
    disable_nagle_algorithm = True

    def answer(self, path: str) -> None:
        """Answers a request for a path, which is the part of the address before any "?"."""
        raise NotImplementedError

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
        if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0].strip()):
            self.send_error(403, explain="The Host header must be 127.0.0.1 or localhost.")
        else:
            self.answer(self.path.partition("?")[0])

    def start(self, kind: str, length: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Sends the status and the headers of an answer, some of them given, and with a length in bytes their end."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        for name, value in {**self.extra_headers, **(headers or {})}.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
            self.end_headers()

    def version_string(self) -> str:
        return "keras-a2i"

    def log_message(self, format: str, *args) -> None:
        """Logs nothing: the terminal belongs to the command."""


class LocalServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on 127.0.0.1 with at most 64 connections, each with a thread.

    Args:
        port: 1 to 65535, or 0 for any free one.
        handler: what answers the requests.

    Raises:
        UsageError: if the port is in use, not allowed or out of range.
    """

    # Elsewhere than on POSIX the option lets two programs listen on one port.
    allow_reuse_address = os.name == "posix"
    daemon_threads = False
    request_queue_size = 32

    def __init__(self, port: int, handler: type[LocalHandler]):
        self._connections: set[socket.socket] = set()
        try:
            super().__init__((HOST, port), handler)
        except (OSError, OverflowError) as error:
            raise UsageError(_port_message(port, error)) from error
        self.port = self.server_address[1]
        self.where = f"http://{HOST}:{self.port}/"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="local server", daemon=True)

    def start(self) -> None:
        """Serves in a thread until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Ends all connections, joins the threads and frees the port."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        # Wakes the threads that wait for their viewers; no new ones are accepted.
        for request in list(self._connections):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        self.server_close()

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A viewer that goes away is no error.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _port_message(port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return f"port must be between 0 and 65535. Received: port={port}"
    if error.errno == errno.EADDRINUSE:
        reason = "another program uses it"
    else:
        reason = f"the system refuses it: {error.strerror}"
    return f"port must be free. Received: port={port}, but {reason}. Choose another, or 0 for any free one"
