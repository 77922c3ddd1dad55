"""Servers that crash, sleep, forget, or end sessions."""

import signal
from contextlib import closing
from random import Random

from redis import Redis

from taskplatform.storage.connection import connect
from taskplatform.storage.databases import end_sessions
from taskplatform.verify.faults.fault import NoTarget, Sudden
from taskplatform.verify.faults.processes import Pause
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.bench import Bench
from taskplatform.verify.rig.connected import owners


class RestartPostgres(Sudden):
    """Postgres ends at once, without a checkpoint, and is started again."""

    kind = "restart-postgres"

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Let it crash; who keeps the servers starts it again."""
        processes.send([_server(bench, "database")], signal.SIGQUIT)
        return bench.everyone()


class PausePostgres(Pause):
    """Postgres and all its sessions sleep."""

    kind = "pause-postgres"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Stop it."""
        super().begin(bench, dice)
        return bench.everyone()

    def end(self, bench: Bench) -> list[int]:
        """Let it go on."""
        super().end(bench)
        return bench.everyone()

    def seconds(self, dice: Random) -> float:
        """Some seconds."""
        return dice.uniform(0.5, 4)

    def _choose(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        _server(bench, "database")
        return bench.server_processes("database")


class EndSessions(Sudden):
    """An administrator ends some of the platform's sessions."""

    kind = "end-sessions"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """End up to three."""
        _server(bench, "database")
        # Before: whoever has lost its connection closes it at once.
        clients = bench.database.clients()
        theirs = owners(clients.values())
        with closing(connect(bench.direct.database_url, pinned=False, name="nemesis")) as one:
            ended = end_sessions(one, dice.randint(1, 3))
        if not ended:
            raise NoTarget
        hit = [theirs.get(clients.get(port, 0), ()) for port in ended]
        return bench.hit_with(set[int]().union(*hit))


class FlushRedis(Sudden):
    """Redis forgets everything."""

    kind = "flush-redis"

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Flush it."""
        _server(bench, "broker")
        with Redis.from_url(bench.direct.broker_url) as redis:
            redis.flushall()
        return []


class RestartRedis(Sudden):
    """Redis is killed, and comes back empty."""

    kind = "restart-redis"

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Empty it, kill it; who keeps the servers starts it again."""
        pid = _server(bench, "broker")
        with Redis.from_url(bench.direct.broker_url) as redis:
            redis.flushall()
        processes.send([pid], signal.SIGKILL)
        return []


class PauseRedis(Pause):
    """Redis answers nothing for a while."""

    kind = "pause-redis"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Stop it."""
        super().begin(bench, dice)
        return []

    def seconds(self, dice: Random) -> float:
        """Longer than the time-outs of those who ask, now and then."""
        return dice.uniform(0.5, 8)

    def _choose(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        return [_server(bench, "broker")]


def _server(bench: Bench, name: str) -> int:
    pid = bench.server(name)
    if processes.state(pid) not in ("R", "S", "D"):
        raise NoTarget
    return pid
