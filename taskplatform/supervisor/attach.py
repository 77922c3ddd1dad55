"""Attaching a supervisor to a Celery worker, whatever its pool."""

import os
import subprocess
import sys
import threading
from time import monotonic_ns
from typing import Any

import orjson
from celery import bootsteps, signals
from celery.utils.log import get_logger
from celery.worker import state
from kombu.entity import Queue

from taskplatform.celery.identity import Identity, assume
from taskplatform.celery.shift import private_queue, served_queues
from taskplatform.core.ids import uuid7
from taskplatform.executor.slots import SlotTable
from taskplatform.settings import get_settings

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
        self.identity = Identity(uuid7(), worker.hostname, SlotTable.create())
        assume(self.identity)
        name = private_queue(self.identity.id)
        worker.app.amqp.queues.select_add(
            Queue(  # type: ignore[no-untyped-call]
                name, exchange="", routing_key=name, durable=False, auto_delete=True
            )
        )

    def start(self, worker: Any) -> None:
        """Start the supervisor and listen to what it has to know."""
        signals.worker_shutting_down.connect(self._shutting_down)
        signals.task_received.connect(self._received)
        self._launch()
        worker.timer.call_repeatedly(1.0, self._revive)

    def stop(self, worker: Any) -> None:
        """Nothing: the supervisor sees its worker end, and cleans up after it."""

    terminate = stop

    def _launch(self) -> None:
        worker = self._worker
        about = {
            "parent": os.getpid(),
            "fd": self.identity.table.fd,
            "id": str(self.identity.id),
            "name": self.identity.name,
            "pool": type(worker.pool).__module__.rpartition(".")[2],
            "concurrency": worker.concurrency,
            "queues": served_queues(worker.app),
            "loglevel": worker.loglevel,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskplatform.supervisor", orjson.dumps(about).decode()],
            pass_fds=(self.identity.table.fd,),
            stdin=subprocess.DEVNULL,
        )

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
        others = any(request.name != "taskplatform.shift" for request in waiting)
        self.identity.table.messages_wait = others
        if waiting:
            self._worker.timer.call_after(_RECHECK, self._check)
        else:
            with self._lock:
                self._checking = False
