"""Who this worker is: set before the pool is made, inherited by its children."""

import logging
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Celery
from celery.signals import worker_process_init

from taskplatform.celery.lifecycle import is_forked, spare_shifts
from taskplatform.celery.signals import CelerySignals
from taskplatform.core.ids import uuid7
from taskplatform.endpoints import database_url
from taskplatform.executor.child import Child
from taskplatform.executor.desk import Desk
from taskplatform.executor.slots import SlotTable
from taskplatform.executor.step_log import keep_logs
from taskplatform.settings import FAILPOINT, get_settings


@dataclass(frozen=True, slots=True)
class Identity:
    """The worker's id and name, and the memory it shares with its children and supervisor.

    With several `seats`, its pool is threads, and one process executes so many bodies at once.
    """

    id: UUID
    name: str
    table: SlotTable
    seats: int = 1


_identity: Identity | None = None
_local = threading.local()


def assume(identity: Identity) -> None:
    """Be this worker, in this process and those forked from it."""
    global _identity
    _identity = identity


def identity() -> Identity:
    """This worker; a process that is none gets an identity without a supervisor."""
    global _identity
    if _identity is None:
        _identity = Identity(uuid7(), f"process@{socket.gethostname()}", SlotTable.create())
    return _identity


def current_child(app: Celery) -> Child:
    """The holder that the calling pool process or thread of the app's worker is."""
    child: Child | None = getattr(_local, "child", None)
    if child is None:
        if identity().seats > 1:
            child = current_desk(app).seat()
        else:
            child = Child(**_given(app), parent=os.getppid() if is_forked() else None)
        _local.child = child
        spare_shifts(child)
    return child


_desk: Desk | None = None
_making = threading.Lock()


def current_desk(app: Celery) -> Desk:
    """What the seats of this process share."""
    global _desk
    with _making:
        if _desk is None:
            _desk = Desk(identity().seats, **_given(app))
        return _desk


def _given(app: Celery) -> dict[str, Any]:
    if armed := os.environ.get(FAILPOINT):
        from taskplatform.executor import failpoints  # noqa: PLC0415 costs nothing when off

        failpoints.arm(armed)
    settings, worker = get_settings(), identity()
    # Celery's task loggers print for themselves.
    keep_logs(logging.getLevelNamesMapping()[settings.step_log_level], ["celery.task"])
    return {
        "url": database_url(),
        "worker": worker.id,
        "worker_name": worker.name,
        "table": worker.table,
        "default_queue": settings.queue,
        "put_off_limit": settings.put_off_limit,
        "ageing": settings.priority_ageing,
        "instrument": CelerySignals(app, settings.queue, worker.name),
    }


@worker_process_init.connect(weak=False)
def _forget_child(**_: Any) -> None:
    # A forked process is a holder of its own.
    _local.__dict__.clear()
