"""The life of a run: its states and the changes between them."""

from enum import StrEnum


class Status(StrEnum):
    """Where a run is."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """What a waiting run waits for."""

    RETRY = "retry"
    THROTTLE = "throttle"
    CONCURRENCY = "concurrency"
    BREAKER = "breaker"
    SLEEP = "sleep"
    EVENT = "event"
    CHILDREN = "children"
    PAUSED = "paused"
    NO_WORKER = "no-worker"
    PARKED = "parked"


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

# A short step begins and ends within one commit, so a run may pass over `running`.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.FAILED, Status.CANCELLED}),
    Status.QUEUED: FINAL | {Status.RUNNING, Status.WAITING},
    Status.RUNNING: FINAL | {Status.QUEUED, Status.WAITING},
    Status.WAITING: frozenset(
        {Status.QUEUED, Status.RUNNING, Status.WAITING, Status.FAILED, Status.CANCELLED}
    ),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset(),
}


def is_final(status: Status) -> bool:
    """Whether a run in this state has ended; a failed one goes on only by a retry by hand."""
    return status in FINAL
