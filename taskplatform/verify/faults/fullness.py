"""Servers that have no room: for connections, for writes, in memory, on their disk."""

from collections.abc import Callable
from contextlib import closing, suppress
from random import Random

import psycopg
from redis import Redis

from taskplatform.errors import TaskPlatformError
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.databases import end_sessions, only_read, switch_wal
from taskplatform.verify.faults.fault import NoTarget, Possible
from taskplatform.verify.rig.bench import Bench


class _Lasting(Possible):
    def seconds(self, dice: Random) -> float:
        """Some seconds."""
        return dice.uniform(1, 4)


class ExhaustConnections(_Lasting):
    """An outsider takes all connections that Postgres has, and some of the platform's are ended."""

    kind = "exhaust-connections"

    def __init__(self) -> None:
        self._taken: list[Session] = []

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Take all, and those that become free."""
        self._take(bench)
        if not self._taken:
            raise NoTarget
        with suppress(psycopg.Error):
            end_sessions(self._taken[0], dice.randint(2, 6))
        self._take(bench)
        return bench.everyone()

    def end(self, bench: Bench) -> list[int]:
        """Give them back."""
        for one in self._taken:
            one.close()
        return bench.everyone()

    def _take(self, bench: Bench) -> None:
        with suppress(psycopg.OperationalError, TaskPlatformError):
            while True:
                url = bench.direct.database_url
                self._taken.append(connect(url, pinned=False, name="outsider"))


class OnlyRead(_Lasting):
    """Postgres refuses all writes, as one that is no primary any more."""

    kind = "only-read"

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Let it only read."""
        _told(bench, lambda one: only_read(one, True))
        return bench.everyone()

    def end(self, bench: Bench) -> list[int]:
        """Let it write again."""
        _told(bench, lambda one: only_read(one, False))
        return bench.everyone()


class FullDisk(_Lasting):
    """The disk of the servers is full."""

    kind = "full-disk"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Leave nothing free; Postgres now and then needs its next file at once."""
        assert bench.disk is not None
        if not bench.disk.fill():
            raise NoTarget
        if dice.random() < 0.5:
            with suppress(psycopg.Error, TaskPlatformError):
                _told(bench, switch_wal)
        return bench.everyone()

    def end(self, bench: Bench) -> list[int]:
        """Make room."""
        assert bench.disk is not None
        bench.disk.free()
        return bench.everyone()

    @staticmethod
    def impossible(bench: Bench) -> str:
        """Why it cannot be done on this bench; empty if it can."""
        return "" if bench.disk else "no disk of its own could be mounted"


class FullRedis(_Lasting):
    """Redis has no memory left, and evicts nothing."""

    kind = "full-redis"

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Leave it none."""
        _limit(bench, 1)
        return []

    def end(self, bench: Bench) -> list[int]:
        """Give it all."""
        _limit(bench, 0)
        return []


def _told(bench: Bench, what: Callable[[Session], None]) -> None:
    with closing(connect(bench.direct.database_url, pinned=False, name="nemesis")) as one:
        what(one)


def _limit(bench: Bench, limit: int) -> None:
    with Redis.from_url(bench.direct.broker_url, socket_timeout=2) as client:
        client.config_set("maxmemory", limit)
