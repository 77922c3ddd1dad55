"""Connect to vetted addresses only, and within a total time."""

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore2

from pipelines.scraping.guard import Allowed, Refused, Resolver, vet_addresses


class Deadline:
    """A moment on the monotonic clock by which everything must be over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left. Raises TimeoutError when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not done within {self.seconds:g} s")
        return left

    def within(self, timeout: float | None) -> float:
        return self.left() if timeout is None else min(timeout, self.left())


def system_resolver(host: str, port: int) -> list[str]:
    """Ask the system's resolver for all addresses of the host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or longer than 63
        raise Refused(f"{host[:100]!r} is no host name") from error
    return [str(sockaddr[0]) for *_, sockaddr in found]


def resolve(resolver: Resolver, host: str, port: int, seconds: float) -> list[str]:
    """Resolve in a thread of its own: getaddrinfo takes no time limit."""
    answer: list[list[str]] = []
    failure: list[Exception] = []

    def ask() -> None:
        try:
            answer.append(resolver(host, port))
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError(f"{host} was not resolved within {seconds:.1f} s")
    return answer[0]


class TimedStream(httpcore2.NetworkStream):
    """A stream none of whose operations outlives the deadline.

    A peer that sends a byte a second satisfies every single read; this bounds their sum.
    """

    def __init__(self, inner: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class VettedNetwork(httpcore2.NetworkBackend):
    """Resolve a name once, vet every answer, connect to a vetted address.

    The request keeps the name for the Host header, TLS's SNI and the certificate; nobody
    resolves it a second time, so that an answer that changes meanwhile has no effect.
    """

    def __init__(self, deadline: Deadline, allowed: Allowed, resolver: Resolver) -> None:
        self._deadline = deadline
        self._allowed = allowed
        self._resolver = resolver
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        connecting = Deadline(self._deadline.within(timeout))
        found = resolve(self._resolver, host, port, connecting.left())
        error: Exception | None = None
        for address in vet_addresses(host, port, found, self._allowed):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, connecting.left(), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
                continue
            return TimedStream(stream, self._deadline)
        assert error is not None
        raise error
