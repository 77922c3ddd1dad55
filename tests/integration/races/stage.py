"""A database with runs in it, sessions to race over them, and facts to judge the races by."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from taskplatform.core.ids import uuid7
from taskplatform.storage import leases, workers
from taskplatform.storage.claim import Claimed, claim
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.settlement import (
    Attempt,
    End,
    Keep,
    PutBack,
    Result,
    Settlement,
)

P = ParamSpec("P")
T = TypeVar("T")

FREE = {f"p.{step}": 0.0 for step in "abcdefgh"}


def wait_until(fact: Callable[[], T], seconds: float = 20.0) -> T:
    """Look until something is true; what it is."""
    end = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < end, f"not so within {seconds} s: {fact}"
        time.sleep(0.001)
    return found


class Racer:
    """A session in a thread of its own, of which one can tell that it waits for a lock."""

    def __init__(self, connection: Session, watcher: Session) -> None:
        self.connection = connection
        self._watcher = watcher
        self._pid = connection.info.backend_pid
        self._thread = ThreadPoolExecutor(1)

    def start(self, statement: Callable[..., T], *args: object, **options: object) -> "Future[T]":
        """Call `statement(connection, ...)` in the thread."""
        return self._thread.submit(statement, self.connection, *args, **options)

    def blocked(self) -> bool:
        """Wait for the fact that the session waits for a lock of another one."""
        return wait_until(self._blocked)

    def _blocked(self) -> bool:
        row = self._watcher.execute(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (self._pid,)
        ).fetchone()
        return row is not None and bool(row[0])

    def close(self) -> None:
        self._thread.shutdown()


class Stage:
    """One test's database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._exits = ExitStack()
        self.connection = self.session()

    def session(self) -> Session:
        """Another session, closed after the test."""
        connection = connect(self.url)
        self._exits.callback(connection.close)
        return connection

    def serve(self, queue: str, *pipelines: str) -> None:
        """Tell that a worker serves them: what nobody serves is not let go out of a line."""
        workers.report(
            self.connection,
            id=uuid7(),
            name="w",
            host="here",
            pid=1,
            pool="solo",
            concurrency=1,
            queues=[queue],
            pipelines=pipelines,
        )

    def racer(self) -> Racer:
        """Another session in a thread of its own."""
        racer = Racer(self.session(), self.session())
        self._exits.callback(racer.close)
        return racer

    def close(self) -> None:
        self._exits.close()

    def runs(self, count: int = 1, **options: Any) -> list[UUID]:
        """Enqueue runs of pipeline p, first step a."""
        given = {"pipeline": "p", "first_step": "a", "queue": "q", "input": b"{}", **options}
        rows = [NewRun(id=uuid7(), **given) for _ in range(count)]
        return [one.id for one in enqueue(self.connection, rows)]

    def holder(self) -> int:
        """A holder with a fresh lease."""
        return leases.register(self.connection, worker=uuid7(), pid=1)

    def take(
        self,
        limit: int = 1000,
        *,
        holder: int | None = None,
        costs: Mapping[str, float] = FREE,
        pipelines: Sequence[str] = ("p",),
        queues: Sequence[str] = ("q",),
        connection: Session | None = None,
    ) -> list[Claimed]:
        """Claim for a holder of its own; the bodies count as started if costs are unknown."""
        return claim(
            connection or self.connection,
            holder=self.holder() if holder is None else holder,
            after=self.last_epoch(),
            queues=queues,
            pipelines=pipelines,
            limit=limit,
            costs=costs,
            budget=1.0,
        )[0]

    def last_epoch(self) -> int:
        """The highest epoch that was given out."""
        return int(
            self.value(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM taskplatform.epochs"
            )
        )

    def take_started(self) -> Claimed:
        """Claim one run whose body counts as started."""
        (one,) = self.take(1, costs={})
        return one

    def value(self, statement: str, *values: object) -> Any:
        """The one value that a query answers."""
        row = self.connection.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All that a query answers."""
        return self.connection.execute(statement, values).fetchall()

    def status(self, run: UUID) -> str:
        return str(self.value("SELECT status FROM taskplatform.runs WHERE id = %s", run))

    def results(self, run: UUID) -> dict[str, bytes]:
        """The outputs of a run by step."""
        return dict(
            self.rows(
                "SELECT step_name, output FROM taskplatform.step_results WHERE run_id = %s", run
            )
        )

    def attempts(self, run: UUID) -> list[tuple[str, int, str]]:
        """(step, number, outcome) of the attempts without an output."""
        return self.rows(
            "SELECT step_name, number, outcome FROM taskplatform.step_attempts"
            " WHERE run_id = %s ORDER BY step_name, number",
            run,
        )

    def wrong(self) -> list[str]:
        """What contradicts the promises in the tables as they are, as words."""
        return [f"{what}: {found}" for what, query in _WRONG.items() if (found := self.rows(query))]


_WRONG = {
    "an open run without exactly one work row": """
        SELECT r.id, r.status FROM taskplatform.runs r WHERE r.finished_at IS NULL
        AND (SELECT count(*) FROM taskplatform.work w WHERE w.run_id = r.id) <> 1""",
    "work of a run that has ended": """
        SELECT r.id, r.status FROM taskplatform.runs r JOIN taskplatform.work w ON w.run_id = r.id
        WHERE r.finished_at IS NOT NULL""",
    "work without a run": """
        SELECT w.id FROM taskplatform.work w LEFT JOIN taskplatform.runs r ON r.id = w.run_id
        WHERE r.id IS NULL""",
    "a run that says it waits while its work does not, or the other way round": """
        SELECT r.id, r.status, w.due_at, w.holder
        FROM taskplatform.runs r JOIN taskplatform.work w ON w.run_id = r.id
        WHERE (r.status IN ('waiting', 'scheduled')) <> (w.due_at IS NOT NULL)""",
    "a run that says it runs while nobody holds it": """
        SELECT r.id, w.due_at FROM taskplatform.runs r JOIN taskplatform.work w ON w.run_id = r.id
        WHERE r.status = 'running' AND w.holder IS NULL""",
    "a wait that says another time than the one it ends at": """
        SELECT r.id, r.due_at, w.due_at
        FROM taskplatform.runs r JOIN taskplatform.work w ON w.run_id = r.id
        WHERE coalesce(abs(extract(epoch FROM r.due_at - w.due_at)), 0) > 1
           OR (r.due_at IS NULL) <> (w.due_at IS NULL OR w.due_at = 'infinity')""",
    "an active key whose run has ended": """
        SELECT k.key, r.status FROM taskplatform.keys k
        LEFT JOIN taskplatform.runs r ON r.id = k.run_id
        WHERE k.expires_at IS NULL AND (r.id IS NULL OR r.finished_at IS NOT NULL)""",
    "an open run that does not own its key": """
        SELECT r.id, r.key FROM taskplatform.runs r
        WHERE r.key IS NOT NULL AND r.finished_at IS NULL AND NOT r.forced AND r.replay_of IS NULL
        AND NOT EXISTS (SELECT FROM taskplatform.keys k WHERE k.run_id = r.id
                        AND k.pipeline = r.pipeline AND k.key = r.key AND k.expires_at IS NULL)""",
    "a succeeded run without the output it names": """
        SELECT r.id FROM taskplatform.runs r WHERE r.status = 'succeeded'
        AND NOT EXISTS (SELECT FROM taskplatform.step_results s
                        WHERE s.run_id = r.id AND s.step_name = r.output_step)""",
}


def result(step: str, output: bytes = b'"done"', attempt: int = 1) -> Result:
    """An output of a step."""
    return Result(step, 1, attempt, output, started_ago=0.002, finished_ago=0.0)


def keep(
    one: Claimed, following: str, *, output: bytes = b'"done"', mark: bool = False
) -> Settlement:
    """The step's output, and the holder goes on with the following one."""
    return _settled(one, Keep(following, mark=mark), result=result(one.step, output))


def pass_on(one: Claimed, following: str, *, output: bytes = b'"done"') -> Settlement:
    """The step's output, and anybody goes on with the following one."""
    return _settled(one, PutBack(following, one.queue), result=result(one.step, output))


def give_back(one: Claimed) -> Settlement:
    """The work as it was, for anybody."""
    return _settled(one, PutBack(one.step, one.queue, failures=one.failures))


def wait(one: Claimed, delay: float, reason: str = "retry") -> Settlement:
    """A failed attempt; the next one in `delay` seconds."""
    failed = Attempt(one.step, "failed", b'{"message":"no"}', started_ago=0.001)
    then = PutBack(one.step, one.queue, delay, reason, failures=one.failures + 1, tried=True)
    return _settled(one, then, attempt=failed)


def succeed(
    one: Claimed, *, output: bytes = b'"done"', key_seconds: float | None = None
) -> Settlement:
    """The last step's output, and the run's end."""
    then = End("succeeded", one.step, owns_key=one.key is not None, key_seconds=key_seconds)
    return _settled(one, then, result=result(one.step, output))


def fail(one: Claimed, *, key_seconds: float | None = None) -> Settlement:
    """A failed attempt that ends the run."""
    failed = Attempt(one.step, "failed", b'{"message":"no"}', started_ago=0.001)
    error = b'{"type":"E","message":"no"}'
    then = End("failed", error=error, owns_key=one.key is not None, key_seconds=key_seconds)
    return _settled(one, then, attempt=failed)


def _settled(one: Claimed, then: Keep | PutBack | End, **made: Any) -> Settlement:
    return Settlement(one.work_id, one.epoch, one.run_id, then, **made)
