"""A worker without processes: claims and executes in the test's own."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.errors import WaitTimeout
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.slots import SlotTable
from taskplatform.settings import get_settings
from taskplatform.storage import workers
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.gates import any_in_line
from taskplatform.supervisor.gates import Gates
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.unstarted import Unstarted


class TestWorker:
    """The real executor over the real database, one body at a time.

    Time limits of bodies do not hold: their alarm is the test's own.
    """

    __test__ = False

    def __init__(self, url: str) -> None:
        """`url` is the database; nothing is executed before `drain`."""
        self.url = url
        settings = get_settings()
        alarm = signal.getsignal(signal.SIGALRM)
        self._id = id = uuid7()
        self._database = Database(url, "test")
        self._unstarted = Unstarted(id, os.getpid(), "test", settings.queue)
        self._child = Child(
            url=url,
            worker=id,
            worker_name="test",
            table=SlotTable.create(),
            default_queue=settings.queue,
            put_off_limit=settings.put_off_limit,
            ageing=settings.priority_ageing,
        )
        if self._child.time_limit.available:
            self._child.time_limit.available = False
            signal.signal(signal.SIGALRM, alarm)

    def drain(self, timeout: float = 60.0) -> int:
        """Execute all that is ready or due, on all queues, until nothing is; how many claims.

        What waits for later is left: let the time pass with `testing.advance`. Raises
        WaitTimeout after `timeout` seconds; what was executed by then is stored.
        """
        until = time.monotonic() + timeout
        queues = _queues()
        claims = 0
        if self._unstarted.any_declared():
            self._unstarted.end(self._child.connection)
        while True:
            while release_due(self._child.connection):
                pass
            claimed, _ = self._child.claim(queues)
            if not claimed:
                if not self._move_lines(queues):
                    return claims
                continue
            self._child.remember(claimed)
            Batch(self._child, lambda _: None).execute(claimed)
            claims += len(claimed)
            if time.monotonic() > until:
                raise WaitTimeout(f"work is still ready after {timeout:g} s")

    def _move_lines(self, queues: Sequence[str]) -> bool:
        """Let go who stands in line, as a supervisor does; whether anything is ready by that."""
        connection = self._child.connection
        if not any_in_line(connection):
            return False
        # What no living worker serves stays in its line.
        workers.report(
            connection,
            id=self._id,
            name="test",
            host=os.uname().nodename,
            pid=os.getpid(),
            pool="solo",
            concurrency=1,
            queues=queues,
            pipelines=registry.names(),
        )
        try:
            Gates(self._database, lambda _: None).heal()
        finally:
            workers.gone(connection, self._id)
        return self._child.ready(queues)

    def close(self) -> None:
        """Give the connections back."""
        self._database.ask(lambda connection: connection.close(), None)
        self._child.close()


@contextmanager
def worker(url: str) -> Iterator[TestWorker]:
    """A worker for the time of a test."""
    made = TestWorker(url)
    try:
        yield made
    finally:
        made.close()


def _queues() -> list[str]:
    named = {step.queue for one in registry.all() for step in one.steps if step.queue}
    return sorted({get_settings().queue, *named})
