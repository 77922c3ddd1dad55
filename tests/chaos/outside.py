"""The outside API: a server of its own that writes down when it was called, and by whom."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """A hundred calls at once are not told to come back in a second."""

    request_queue_size = 512


@contextmanager
def outside(folder: Path) -> Iterator[str]:
    """Serve until the end; yields the address. Calls go to calls.jsonl in the folder."""
    log = os.open(folder / "calls.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            mono, wall = time.monotonic_ns(), time.time()
            _, limit, run, step = self.path.split("/")
            line = {
                "limit": limit,
                "key": self.headers.get("Idempotency-Key"),
                "run": run,
                "step": step,
                "mono": mono,
                "wall": wall,
            }
            os.write(log, json.dumps(line).encode() + b"\n")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="outside API", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        os.close(log)
