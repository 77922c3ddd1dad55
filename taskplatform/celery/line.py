"""Rings that are sent and not waited for: what they came to is read before the next one.

A thread that has to be woken, a command of redis-py and its answer cost whoever enqueues more than
the run does. A single ring is one packet, and the kernel takes it.
"""

import socket
from collections import deque
from time import monotonic
from typing import Any

from redis import RedisError

from taskplatform.celery.bell import SHIFT_TASK, Bell, clients_bell
from taskplatform.celery.installed import installed
from taskplatform.celery.message import message
from taskplatform.celery.ringer import PAUSE, Broken
from taskplatform.endpoints import broker_url

# With so many unanswered, the thread rings, which waits; after so many seconds nobody may be there.
_MOST_UNANSWERED = 8
_LONGEST_UNANSWERED = 2.0
_READ = 4096


class Line:
    """A connection to Redis of its own, on which sending never blocks; for one thread at a time."""

    def __init__(self, bell: Bell) -> None:
        """Connect. Raises Broken if that fails, or if rings cannot be sent like this."""
        self._bell = bell
        self._where = _where()
        # A packet holds a message, whose ids must not be used twice.
        self._unused: dict[str, bytes] = {}
        self._unanswered: deque[tuple[str, bytes]] = deque()
        self._buffer = b""
        self._quiet_until = self._heard_at = 0.0
        self._connection = bell.connection()
        try:
            self._connection.connect()
        except RedisError as error:
            raise Broken(str(error)) from error
        self._socket: socket.socket = self._connection._sock
        if type(self._socket) is not socket.socket:
            # With TLS, what was taken is not yet what was sent.
            raise self._broken("not a plain connection")
        self._socket.setblocking(False)

    def ring(self, queue: str) -> bool:
        """Send a ring for one run; False, or Broken: it was not sent.

        False while nobody has to be woken, by the last answer, or while answers are slow.
        """
        now = monotonic()
        if self._bell.closed or self._where != _where():
            raise self._broken("the broker is another one")
        # At least once, to see whether it was closed meanwhile.
        while self._hear(now) and self._unanswered:
            pass
        if self._unanswered and now - self._heard_at > _LONGEST_UNANSWERED:
            raise self._broken("it does not answer")
        if now < self._quiet_until or len(self._unanswered) >= _MOST_UNANSWERED:
            return False
        packet = self._unused.pop(queue, None) or self._packet(queue)
        try:
            sent = self._socket.send(packet)
        except OSError as error:
            raise self._broken(str(error)) from error
        if sent < len(packet):
            raise self._broken("it does not read")
        if not self._unanswered:
            self._heard_at = now
        self._unanswered.append((queue, packet))
        return True

    def flush(self, timeout: float) -> bool:
        """Wait until all that was sent is answered; in seconds."""
        until = monotonic() + timeout
        try:
            while self._unanswered and (left := until - monotonic()) > 0:
                self._socket.settimeout(left)
                self._hear(monotonic())
                self._socket.setblocking(False)
        except Broken:
            return False
        return not self._unanswered

    def _hear(self, now: float) -> bool:
        """Read what came; whether anything did."""
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError as error:
            raise self._broken(str(error)) from error
        if not data:
            raise self._broken("it was closed")
        self._heard_at = now
        *answers, self._buffer = (self._buffer + data).split(b"\r\n")
        for answer in answers:
            if not (self._unanswered and answer.startswith(b":")):
                raise self._broken(answer.decode(errors="replace"))
            queue, packet = self._unanswered.popleft()
            messages = int(answer[1:])
            if messages <= 0:
                self._unused[queue] = packet
            if messages < 0:
                self._quiet_until = now + PAUSE
        return True

    def _packet(self, queue: str) -> bytes:
        command = self._bell.single(queue, message(SHIFT_TASK, queue))
        packed: Any = self._connection.pack_command(*command)
        return b"".join(packed)

    def _broken(self, why: str) -> Broken:
        self._unanswered.clear()
        self._connection.disconnect()
        return Broken(why)


def line() -> Line:
    """A line of a process that is no worker. Raises Broken."""
    return Line(clients_bell())


def _where() -> object:
    return installed() or broker_url()
