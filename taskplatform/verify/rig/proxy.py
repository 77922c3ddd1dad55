"""A TCP proxy that does to connections what networks do."""

import socket
import threading
import time
from contextlib import suppress
from typing import Literal

_CHUNK = 65536
_LINGER_OFF = b"\x01\x00\x00\x00\x00\x00\x00\x00"

# By these the end of a transaction that writes is known, in the simple protocol and, before a Sync,
# in the extended one, where a prepared statement is known by its parameters only.
_WRITING = (b"COMMIT", b'"work_id"', b"INSERT INTO taskplatform")

Mode = Literal["pass", "refuse", "hole"]


class Proxy:
    """Passes bytes on to an address, until it is told otherwise; `port` is where it listens."""

    def __init__(self, host: str, port: int) -> None:
        """Listen on a free port of the loopback for connections to (host, port)."""
        self._to = host, port
        self.mode: Mode = "pass"
        self.delay = 0.0
        self._cut_after_commit = 0
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._closed = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> int:
        """Reset all connections that there are; how many."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()
        return len(pairs)

    def cut_after_commits(self, many: int) -> None:
        """Reset the next so many connections whose transaction is sent, before its answer."""
        with self._lock:
            self._cut_after_commit = many

    @property
    def commits_to_cut(self) -> int:
        """How many are still to be cut."""
        return self._cut_after_commit

    def close(self) -> None:
        """End it and all connections."""
        self._closed = True
        # Closing alone does not wake whoever waits for a connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def wants_cut(self, sent: bytes) -> bool:
        """Whether the connection that sends this is to be cut before the answer."""
        ends = sent[:1] == b"Q" or b"S\x00\x00\x00\x04" in sent
        if not ends or not any(mark in sent for mark in _WRITING):
            return False
        with self._lock:
            if self._cut_after_commit < 1:
                return False
            self._cut_after_commit -= 1
            return True

    def forget(self, pair: "_Pair") -> None:
        """The pair has ended."""
        with self._lock:
            self._pairs.discard(pair)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._to, timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            pair = _Pair(self, client, server)
            with self._lock:
                self._pairs.add(pair)
            pair.start()


class _Pair:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._silent = False

    def start(self) -> None:
        for one in (self._upward, self._downward):
            threading.Thread(target=one, name="proxy pair", daemon=True).start()

    def reset(self) -> None:
        self._proxy.forget(self)
        _reset(self._client)
        _reset(self._server)

    def _upward(self) -> None:
        with suppress(OSError):
            while sent := self._client.recv(_CHUNK):
                self._wait()
                if self._proxy.wants_cut(sent):
                    # The server reads all of it, and commits; only the client is cut off.
                    self._silent = True
                    self._server.sendall(sent)
                    _reset(self._client)
                    return
                self._server.sendall(sent)
        if not self._silent:
            self.reset()

    def _downward(self) -> None:
        with suppress(OSError):
            while answered := self._server.recv(_CHUNK):
                if self._silent:
                    # It has answered, so what was sent is committed.
                    break
                self._wait()
                self._client.sendall(answered)
        self.reset()

    def _wait(self) -> None:
        if self._proxy.delay:
            time.sleep(self._proxy.delay)
        while self._proxy.mode == "hole":
            time.sleep(0.02)


def _reset(one: socket.socket) -> None:
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        one.close()
