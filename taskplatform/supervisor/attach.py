"""Attaching a supervisor to a Celery worker, whatever its pool."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from time import monotonic_ns
from typing import Any

import orjson
from celery import bootsteps, signals
from celery.utils.log import get_logger
from celery.worker import state

from taskplatform.celery import queues
from taskplatform.celery.address import address_of
from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.forking import share_memory
from taskplatform.celery.identity import Identity, assume
from taskplatform.celery.steps import register_steps
from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.executor.slots import SlotTable
from taskplatform.settings import get_settings
from taskplatform.supervisor.sources import sources

logger = get_logger(__name__)

# How soon a waiting message is noticed, and looked at again.
_RECHECK = 0.05


class Supervision(bootsteps.StartStopStep):
    """Starts the supervisor process, restarts it when it dies, tells it of a shutdown.

    It requires nothing, so it is made before the pool forks and stopped after the pool drained.
    """

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._worker = worker
        self._process: subprocess.Popen[bytes] | None = None
        self._checking = False
        self._lock = threading.Lock()
        in_threads = worker.pool_cls.__module__ == "celery.concurrency.thread"
        seats = worker.concurrency if in_threads else 1
        self.identity = Identity(uuid7(), worker.hostname, SlotTable.create(), seats)
        assume(self.identity)
        signals.worker_before_create_process.connect(share_memory)
        # Only now are all modules of the app imported, and what they declare is known.
        registry.finalize_all()
        register_steps(worker.app)
        self._address = address_of(worker.app)
        self._warning = queues.serve(worker.app, queues.private(self.identity.id))

    def start(self, worker: Any) -> None:
        """Start the supervisor and listen to what it has to know."""
        if self._warning:
            logger.warning(self._warning)
        signals.worker_shutting_down.connect(self._shutting_down)
        signals.task_received.connect(self._received)
        self._launch()
        worker.timer.call_repeatedly(1.0, self._revive)

    def stop(self, worker: Any) -> None:
        """Nothing: the supervisor sees its worker end, and cleans up after it."""

    terminate = stop

    def _launch(self) -> None:
        worker, table = self._worker, self.identity.table
        assert table.wake is not None
        told = {
            "parent": os.getpid(),
            "fd": table.fd,
            "wake": table.wake,
            "id": str(self.identity.id),
            "name": self.identity.name,
            "pool": type(worker.pool).__module__.rpartition(".")[2],
            "concurrency": worker.concurrency,
            "queues": queues.served(worker.app),
            "pipelines": registry.names(),
            "loglevel": worker.loglevel,
            "broker": asdict(self._address),
            "path": sys.path,
            "sources": sources(),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskplatform.supervisor", self.identity.name],
            pass_fds=(table.fd, table.wake),
            stdin=subprocess.PIPE,
        )
        # Not as an argument, which everybody on the machine can read: it may hold a password.
        with suppress(BrokenPipeError), self._process.stdin as pipe:  # type: ignore[union-attr]
            pipe.write(orjson.dumps(told))

    def _revive(self) -> None:
        process = self._process
        if process is None or process.poll() is None:
            return
        logger.error("the supervisor ended with code %s; starting another", process.returncode)
        self._launch()

    def _shutting_down(self, *, how: str = "Warm", **_: Any) -> None:
        table = self.identity.table
        if how != "Warm":
            table.cold = True
        if table.grace_ends_ns == 0:
            table.grace_ends_ns = monotonic_ns() + int(get_settings().shutdown_grace * 1e9)

    def _received(self, **_: Any) -> None:
        # The user's own tasks must not wait for a shift to end by itself.
        with self._lock:
            if self._checking:
                return
            self._checking = True
        self._worker.timer.call_after(_RECHECK, self._check)

    def _check(self) -> None:
        waiting = [
            request
            for request in list(state.reserved_requests)
            if request not in state.active_requests
        ]
        # A shift that waits for a child is no reason to end one.
        others = any(request.type != SHIFT_TASK for request in waiting)
        self.identity.table.messages_wait = others
        if waiting:
            self._worker.timer.call_after(_RECHECK, self._check)
        else:
            with self._lock:
                self._checking = False
