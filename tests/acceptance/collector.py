"""A local HTTP server that plays the collectors of Sentry and of OpenTelemetry."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What was sent: Sentry's events, and OpenTelemetry's spans."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.dsn = f"http://key@127.0.0.1:{port}/1"
        self.events: list[dict[str, Any]] = []
        self.streamed: list[dict[str, Any]] = []
        self.spans: list[Any] = []

    def transactions(self, name: str) -> list[dict[str, Any]]:
        """Sentry's transactions of that name."""
        return [
            event
            for event in self.events
            if event.get("type") == "transaction" and event["transaction"] == name
        ]

    def errors(self) -> list[dict[str, Any]]:
        """Sentry's errors."""
        return [event for event in self.events if "exception" in event]

    def take(self, path: str, body: bytes) -> None:
        """Keep what was posted."""
        if path.startswith("/v1/traces"):
            request = ExportTraceServiceRequest.FromString(body)
            self.spans += [
                span
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
        elif "/envelope/" in path:
            lines = body.split(b"\n")
            for header, payload in zip(lines[1::2], lines[2::2], strict=False):
                if json.loads(header)["type"] in ("event", "transaction"):
                    self.events.append(json.loads(payload))
                elif json.loads(header)["type"] == "span":
                    self.streamed += json.loads(payload)["items"]


@contextmanager
def collector() -> Iterator[Collector]:
    """Listen on the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
