"""A TCP proxy that does to connections what networks do."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from taskplatform.verify.rig.wire import Conversation

_CHUNK = 65536
_LINGER_OFF = b"\x01\x00\x00\x00\x00\x00\x00\x00"

Mode = Literal["pass", "refuse", "hole"]


class Proxy:
    """Passes bytes on to an address, until it is told otherwise; `port` is where it listens."""

    def __init__(self, host: str, port: int, *, postgres: bool = False) -> None:
        """Listen on a free port of the loopback for connections to (host, port).

        `postgres`: it reads its protocol, to know where transactions end.
        """
        self._to = host, port
        self._postgres = postgres
        self.mode: Mode = "pass"
        self.delay = 0.0
        self._cut_after_commit = 0
        self._note: Callable[[int], None] | None = None
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._closed = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def clients(self) -> dict[int, int]:
        """The ports of those who are connected, by that from which the server sees them."""
        with self._lock:
            return {pair.seen_as: pair.port for pair in self._pairs}

    def cut(self) -> int:
        """Reset all connections that there are; how many."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()
        return len(pairs)

    def cut_after_commits(self, many: int, note: Callable[[int], None] | None = None) -> None:
        """Reset the next so many connections whose transaction is sent, before its answer.

        `note` is told of the port of each client before it is cut off.
        """
        with self._lock:
            self._cut_after_commit = many
            self._note = note

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

    def take_cut(self, port: int) -> bool:
        """Whether a connection that commits now is to be cut before the answer."""
        with self._lock:
            if self._cut_after_commit < 1:
                return False
            self._cut_after_commit -= 1
            note = self._note
        if note is not None:
            note(port)
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
            talk = Conversation() if self._postgres else None
            try:
                pair = _Pair(self, client, server, talk)
            except OSError:
                # It has gone already.
                _reset(client)
                _reset(server)
                continue
            with self._lock:
                self._pairs.add(pair)
            pair.start()


class _Pair:
    def __init__(
        self,
        proxy: Proxy,
        client: socket.socket,
        server: socket.socket,
        talk: Conversation | None,
    ) -> None:
        self._proxy = proxy
        self._talk = talk
        self._client = client
        self._server = server
        self._silent = False
        self.port = int(client.getpeername()[1])
        self.seen_as = int(server.getsockname()[1])

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
                end = None if self._talk is None else self._talk.sent(sent)
                if end is not None and self._proxy.take_cut(self.port):
                    # The server reads all of it, and commits; only the client is cut off.
                    self._silent = True
                    self._server.sendall(sent[:end])
                    _reset(self._client)
                    return
                self._server.sendall(sent)
        if not self._silent:
            self.reset()

    def _downward(self) -> None:
        with suppress(OSError):
            while answered := self._server.recv(_CHUNK):
                if self._talk is not None:
                    self._talk.answered(answered)
                if not self._silent:
                    self._wait()
                # It may have been cut meanwhile.
                if not self._silent:
                    self._client.sendall(answered)
                elif self._talk is not None and self._talk.all_answered:
                    # Not at the first answer: a reset would take back what is not read yet.
                    break
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
