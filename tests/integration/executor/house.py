"""Real children over a real database, without a pool around them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.retry import Next, retry
from taskplatform.supervisor.rescue import Rescuer
from tests.integration.races.stage import Stage

QUICK = 0.00005


class Number(BaseModel):
    """The input of the pipelines of these tests."""

    n: int = 0


class House:
    """A worker's children, its table of slots, and the database."""

    def __init__(self, url: str) -> None:
        self.stage = Stage(url)
        self.table = SlotTable.create()
        self.rescuer = Rescuer("supervisor", "default", 60.0)
        self.rung: list[dict[str, int]] = []
        self._children: list[Child] = []

    def child(self, *known: str, url: str | None = None) -> Child:
        """A child that knows these steps of pipeline p to be quick."""
        child = Child(
            url=url or self.stage.url,
            worker=uuid7(),
            worker_name="w",
            table=self.table,
            default_queue="default",
            put_off_limit=60.0,
        )
        child.costs.known.update({f"p.{step}": QUICK for step in known})
        self._children.append(child)
        return child

    def enqueue(
        self, declaration: Declaration[Any], count: int = 1, *, first: int = 0
    ) -> list[UUID]:
        """Runs with the inputs 0, 1, 2, ..."""
        return [
            run
            for n in range(first, first + count)
            for run in self.stage.runs(
                pipeline=declaration.name,
                first_step=declaration.steps[0].name,
                queue="default",
                input=Number(n=n).model_dump_json().encode(),
            )
        ]

    def shift(self, child: Child) -> int:
        """Claim and execute once; how many branches were claimed."""
        claimed, _ = child.claim(["default"])
        child.remember(claimed)
        Batch(child, self.rung.append).execute(claimed)
        return len(claimed)

    def work(self, child: Child) -> None:
        """Claim and execute until nothing is ready."""
        while self.shift(child):
            pass

    def elsewhere(self, act: Callable[[], Any]) -> Any:
        """Do something in another thread, as another process would; its answer."""
        with ThreadPoolExecutor(1) as pool:
            future: Future[Any] = pool.submit(act)
            return future.result(30)

    def work_elsewhere(self) -> None:
        """Let another child do what is ready."""
        self.elsewhere(lambda: self.work(self.child()))

    def kill_connection(self, child: Child) -> None:
        """End the child's session from outside, as a restart of the server does."""
        pid = child.connection.info.backend_pid
        with self.stage.session() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    def status(self, run: UUID) -> str:
        return self.stage.status(run)

    def retry(self, run: UUID, step: str) -> None:
        """Retry a run by hand, at that step."""
        retry(self.stage.connection, run, lambda *_: Next(step, "default"))

    def close(self) -> None:
        for child in self._children:
            child.close()
        self.stage.close()


class Count:
    """How often bodies were executed, by what they were called with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.times: dict[Any, int] = {}

    def __call__(self, what: Any) -> int:
        with self._lock:
            self.times[what] = self.times.get(what, 0) + 1
            return self.times[what]

    def of(self, what: Any) -> int:
        """How often it was called with that."""
        return self.times.get(what, 0)
