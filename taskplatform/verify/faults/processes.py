"""Processes that die, and processes that sleep."""

import signal
from random import Random

from taskplatform.verify.faults.fault import Possible, Sudden, one_of
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.bench import Bench
from taskplatform.verify.rig.workers import Worker

# Longer than a lease and the look for those that ran out.
_BEYOND_THE_LEASE = 18.0


class KillChild(Sudden):
    """A pool child is killed."""

    kind = "kill-child"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Kill one."""
        pid = one_of(dice, _children(bench))
        processes.send([pid], signal.SIGKILL)
        return [pid]


class KillSupervisor(Sudden):
    """A supervisor is killed; its worker starts another."""

    kind = "kill-supervisor"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Kill one."""
        pid = one_of(dice, [pid for worker in _alive(bench) for pid in worker.supervisors()])
        processes.send([pid], signal.SIGKILL)
        return [pid]


class KillParent(Sudden):
    """Only the worker's main process is killed; then the worker is started again."""

    kind = "kill-parent"

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Kill it, and start the next of its name."""
        return _worker(bench, dice).kill_parent()


class KillWorker(Possible):
    """A worker dies with everything it started, and comes back after a while."""

    kind = "kill-worker"

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Kill all its processes."""
        self._worker = _worker(bench, dice)
        return self._worker.kill()

    def end(self, bench: Bench) -> list[int]:  # noqa: ARG002
        """Start it again."""
        if self._worker is not None:
            self._worker.start()
        return []

    def seconds(self, dice: Random) -> float:
        """Some seconds."""
        return dice.uniform(0.5, 4)


class Pause(Possible):
    """A process sleeps for a while, now and then longer than its lease."""

    kind = "pause-child"

    def __init__(self) -> None:
        self._pids: list[int] = []

    def begin(self, bench: Bench, dice: Random) -> list[int]:
        """Stop it."""
        self._pids = self._choose(bench, dice)
        processes.send(self._pids, signal.SIGSTOP)
        return [*self._pids, *self._dependent()]

    def end(self, bench: Bench) -> list[int]:  # noqa: ARG002
        """Let it go on."""
        processes.send(self._pids, signal.SIGCONT)
        return []

    def seconds(self, dice: Random) -> float:
        """Mostly a few seconds."""
        return _BEYOND_THE_LEASE if dice.random() < 0.3 else dice.uniform(0.1, 3)

    def _choose(self, bench: Bench, dice: Random) -> list[int]:
        return [one_of(dice, _children(bench))]

    def _dependent(self) -> list[int]:
        return []


class PauseLong(Pause):
    """A pool child sleeps beyond its lease."""

    kind = "pause-child-beyond-lease"

    def seconds(self, dice: Random) -> float:  # noqa: ARG002
        """Longer than the lease."""
        return _BEYOND_THE_LEASE


class PauseSupervisor(Pause):
    """A supervisor sleeps."""

    kind = "pause-supervisor"

    def _choose(self, bench: Bench, dice: Random) -> list[int]:
        having = [worker for worker in _alive(bench) if worker.supervisors()]
        self._worker = one_of(dice, having)
        return self._worker.supervisors()

    def _dependent(self) -> list[int]:
        # Nobody renews their leases meanwhile.
        return self._worker.children()


class PauseWorker(Pause):
    """All processes of a worker sleep."""

    kind = "pause-worker"

    def _choose(self, bench: Bench, dice: Random) -> list[int]:
        return _worker(bench, dice).everyone()


def _worker(bench: Bench, dice: Random) -> Worker:
    return one_of(dice, _alive(bench))


def _alive(bench: Bench) -> list[Worker]:
    return [one for one in bench.workers if one.alive]


def _children(bench: Bench) -> list[int]:
    return [pid for worker in _alive(bench) for pid in worker.children()]
