"""Networks that cut, lose, or delay."""

from random import Random
from typing import ClassVar

from taskplatform.verify.faults.fault import Sudden
from taskplatform.verify.rig.bench import Bench
from taskplatform.verify.rig.proxy import Proxy


class _Cut(Sudden):
    server: ClassVar[str]

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Reset all connections."""
        _proxy(bench, self.server).cut()
        return []


class CutPostgres(_Cut):
    """All connections to Postgres are reset."""

    kind = "cut-postgres"
    server = "database"


class CutRedis(_Cut):
    """All connections to Redis are reset."""

    kind = "cut-redis"
    server = "broker"


class _Hole:
    server: ClassVar[str]

    def begin(self, bench: Bench, dice: Random) -> list[int]:  # noqa: ARG002
        """Let nothing through, and tell nobody."""
        _proxy(bench, self.server).mode = "hole"
        return []

    def end(self, bench: Bench) -> list[int]:
        """Let it through."""
        _proxy(bench, self.server).mode = "pass"
        return []

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


class SlowPostgres:
    """Every message to and from Postgres takes long."""

    kind = "slow-postgres"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Delay each."""
        bench.database.delay = dice.uniform(0.02, 0.3)
        return []

    def end(self, bench: Bench) -> list[int]:
        """Delay none."""
        bench.database.delay = 0.0
        return []

    def seconds(self, dice: Random) -> float:
        """Some seconds."""
        return dice.uniform(1, 4)


class CutAfterCommit:
    """Connections are cut between their COMMIT and its answer."""

    kind = "cut-after-commit"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Cut the next few."""
        bench.database.cut_after_commits(dice.randint(1, 4))
        return []

    def end(self, bench: Bench) -> list[int]:
        """Cut no more."""
        bench.database.cut_after_commits(0)
        return []

    def seconds(self, dice: Random) -> float:  # noqa: ARG002
        """Until they have passed."""
        return 1.0


def _proxy(bench: Bench, server: str) -> Proxy:
    return bench.database if server == "database" else bench.broker
