"""A child that dies at a named point of a step's life."""

from pathlib import Path
from random import Random
from time import monotonic, sleep

from taskplatform.executor.failpoints import POINTS
from taskplatform.verify.faults.fault import NoTarget, Sudden
from taskplatform.verify.rig.bench import Bench

_PATIENCE = 2.0


def armed(folder: Path) -> str:
    """The value of TASKPLATFORM_FAILPOINT for workers of a bench with that folder."""
    tokens = folder / "tokens"
    tokens.mkdir(parents=True, exist_ok=True)
    return ",".join(f"{point}:kill@{tokens}" for point in POINTS)


class DieAtPoint(Sudden):
    """Whoever passes the point next dies there."""

    kind = "failpoint"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Allow it once, and wait until somebody has died of it."""
        point = dice.choice(POINTS)
        tokens = bench.folder / "tokens"
        token = tokens / point
        before = set(tokens.iterdir())
        token.touch()
        until = monotonic() + _PATIENCE
        while token.exists():
            if monotonic() > until:
                token.unlink(missing_ok=True)
                break
            sleep(0.01)
        taken = [one for one in tokens.iterdir() if one not in before and one != token]
        if not taken:
            raise NoTarget
        return [int(one.name.split(".")[1]) for one in taken]
