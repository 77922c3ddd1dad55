"""A local HTTP server whose answers a test writes itself, byte by byte where need be."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Keep the requests that came, as (path, Host header)."""

    daemon_threads = True

    def __init__(self, host: str, scripts: dict[str, Script], port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.scripts = scripts
        self.seen: list[tuple[str, str]] = []
        self.stopping = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))
        self.server.scripts[self.path](self)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(
    scripts: dict[str, Script],
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Serve the scripts by path until the context is left."""
    server = Server(host, scripts, port)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(status: int, body: bytes = b"", **headers: str) -> Script:
    """Answer in one piece; header names are given with `_` for `-`."""
    headers = {"Content_Length": str(len(body)), "Content_Type": "text/html"} | headers

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return script


def redirect(location: str, status: int = 302) -> Script:
    # Closing makes the client connect, and therefore vet, again.
    return answer(status, Location=location, Connection="close")


def drip(head: bytes, piece: bytes, seconds: float) -> Script:
    """Send the head, then the piece again and again, so many seconds apart, without end."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        assert isinstance(handler.server, Server)
        handler.wfile.write(head)
        while not handler.server.stopping.wait(seconds):
            handler.wfile.write(piece)

    return script
