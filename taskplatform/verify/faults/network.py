"""Networks that cut, lose, or delay."""

from random import Random
from time import monotonic, sleep
from typing import ClassVar

from taskplatform.verify.faults.fault import NoTarget, Possible, Sudden
from taskplatform.verify.rig.bench import Bench
from taskplatform.verify.rig.connected import owners
from taskplatform.verify.rig.proxy import Proxy

# Whoever writes nothing for so long is idle.
_PATIENCE = 2.0


class _Cut(Sudden):
    server: ClassVar[str]

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Reset all connections."""
        proxy = _proxy(bench, self.server)
        hit = set[int]().union(*owners(proxy.clients().values()).values())
        if not proxy.cut():
            raise NoTarget
        return bench.hit_with(hit)


class CutPostgres(_Cut):
    """All connections to Postgres are reset."""

    kind = "cut-postgres"
    server = "database"


class CutRedis(_Cut):
    """All connections to Redis are reset."""

    kind = "cut-redis"
    server = "broker"


class _Hole(Possible):
    server: ClassVar[str]

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Let nothing through, and tell nobody."""
        _proxy(bench, self.server).mode = "hole"
        return bench.everyone()

    def end(self, bench: Bench) -> list[int]:
        """Let it through."""
        _proxy(bench, self.server).mode = "pass"
        return bench.everyone()

    def seconds(self, dice: Random) -> float:
        """Some seconds."""
        return dice.uniform(0.5, 5)


class HolePostgres(_Hole):
    """What is sent to Postgres, and by it, does not arrive for a while."""

    kind = "hole-postgres"
    server = "database"


class HoleRedis(_Hole):
    """What is sent to Redis, and by it, does not arrive for a while."""

    kind = "hole-redis"
    server = "broker"


class SlowPostgres(Possible):
    """Every message to and from Postgres takes long."""

    kind = "slow-postgres"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Delay each."""
        bench.database.delay = dice.uniform(0.02, 0.3)
        return bench.everyone()

    def end(self, bench: Bench) -> list[int]:
        """Delay none."""
        bench.database.delay = 0.0
        return bench.everyone()

    def seconds(self, dice: Random) -> float:
        """Some seconds."""
        return dice.uniform(1, 4)


class CutAfterCommit(Possible):
    """Connections are cut between their COMMIT and its answer."""

    kind = "cut-after-commit"

    def __init__(self) -> None:
        self._hit: set[int] = set()

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Cut the next few, and wait until the first one is."""
        many = dice.randint(1, 4)
        bench.database.cut_after_commits(many, self._note)
        until = monotonic() + _PATIENCE
        while bench.database.commits_to_cut == many:
            if monotonic() > until:
                bench.database.cut_after_commits(0)
                raise NoTarget
            sleep(0.01)
        return []

    def end(self, bench: Bench) -> list[int]:
        """Cut no more; whoever was cut off."""
        bench.database.cut_after_commits(0)
        return bench.hit_with(self._hit)

    def seconds(self, dice: Random) -> float:  # noqa: ARG002
        """Until they have passed."""
        return 1.0

    def _note(self, port: int) -> None:
        self._hit.update(*owners([port]).values())


def _proxy(bench: Bench, server: str) -> Proxy:
    return bench.database if server == "database" else bench.broker
