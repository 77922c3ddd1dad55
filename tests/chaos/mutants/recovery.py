"""Mutants of what finds lost work, and of what deletes."""

from typing import Any

from taskplatform.storage import leases
from taskplatform.storage import prune as pruning
from taskplatform.supervisor import loop
from taskplatform.supervisor.loop import Supervisor
from taskplatform.supervisor.rescue import Rescuer
from tests.chaos.mutants.statements import change, put


def without_lease() -> None:
    """Whatever is held is taken away, whoever lives."""
    change(leases, "lease_until < clock_timestamp()", "lease_until > clock_timestamp()")


def once() -> None:
    """Lost work is looked for a single time."""
    real = Rescuer.rescue
    done: list[bool] = []

    def rescue(rescuer: Rescuer, connection: Any, loss: Any) -> set[str]:
        if done:
            return set()
        done.append(True)
        return real(rescuer, connection, loss)

    put(Rescuer, "rescue", rescue)


def never_rung_again() -> None:
    """A ring that is lost is lost."""

    def ring(supervisor: Supervisor, queues: dict[str, int]) -> None:
        pass

    put(Supervisor, "_ring", ring)


def retention_by_age() -> None:
    """What is old is deleted, ended or not."""
    change(pruning, "finished_at < %(cutoff)s", "%(cutoff)s::timestamptz IS NOT NULL")
    change(pruning, "make_interval(days => %s)", "make_interval(secs => 2 + 0 * %s)")
    put(loop, "PRUNE_EVERY", 1.0)
