"""What the tests of the door share: a pipeline, the front door, a worker's moves."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from taskplatform.celery.ringer import Ringer
from taskplatform.client import ringer
from taskplatform.client.pipeline import Pipeline
from taskplatform.core import registry
from taskplatform.core.failure import Failure
from taskplatform.endpoints import endpoints
from taskplatform.settings import get_settings
from taskplatform.storage import leases, workers
from taskplatform.storage.claim import Claimed, claim_run
from taskplatform.storage.connection import Session, close_pools, connect
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Attempt, End, Keep, PutBack, Result, Settlement


class Order(BaseModel):
    """The input of the pipeline under test."""

    number: str
    amount: int = 1
    user: str | None = None
    weight: int = 0
    again: bool = False


class Price(BaseModel):
    """The output of its last step."""

    total: int


class Worker:
    """Makes the moves of a worker, one at a time, with the statements of a real one."""

    def __init__(self, connection: Session) -> None:
        self.connection = connection
        worker = uuid4()
        workers.report(
            connection,
            id=worker,
            name="tester",
            host="here",
            pid=1,
            pool="solo",
            concurrency=1,
            queues=["taskplatform"],
            pipelines=["orders"],
        )
        self.holder = leases.register(connection, worker=worker, pid=1)
        self.epoch = 0

    def claim(self, run: UUID) -> Claimed:
        """Claim a run and start its body."""
        (one,) = claim_run(self.connection, holder=self.holder, after=self.epoch, run_id=run)
        self.epoch = one.epoch
        return one

    def commit(self, one: Claimed, step: str, output: bytes, then: Any) -> bool:
        """Commit a step's output, and what comes after it; False if it was refused."""
        result = Result(step, 1, 1, output, 0.02, 0.01)
        return self._settle(Settlement(one.work_id, one.epoch, one.run_id, then, result=result))

    def fail(self, one: Claimed, step: str, then: Any) -> bool:
        """Commit a failed attempt; False if it was refused."""
        error = Failure("ValueError", "no good", "trace").encode()
        attempt = Attempt(step, "failed", error, 0.02, 0.01)
        return self._settle(Settlement(one.work_id, one.epoch, one.run_id, then, attempt=attempt))

    def succeed(self, run: UUID, key_seconds: float | None = None) -> None:
        """Execute a whole run."""
        one = self.claim(run)
        assert self.commit(one, "check", b'"fine"', Keep("price", mark=True))
        end = End("succeeded", output_step="price", owns_key=True, key_seconds=key_seconds)
        assert self.commit(one, "price", b'{"total":7}', end)

    def break_down(self, run: UUID, key_seconds: float | None = None) -> None:
        """Execute a run up to its second step, which fails for good."""
        one = self.claim(run)
        assert self.commit(one, "check", b'"fine"', Keep("price", mark=True))
        error = Failure("ValueError", "no good", "trace").encode("price")
        end = End("failed", error=error, owns_key=True, key_seconds=key_seconds)
        assert self.fail(one, "price", end)

    def put_back(self, run: UUID, reason: str, delay: float) -> None:
        """Fail the first step, to be tried again."""
        then = PutBack("check", "taskplatform", delay, reason, failures=1, put_off=5.0, tried=True)
        assert self.fail(self.claim(run), "check", then)

    def _settle(self, one: Settlement) -> bool:
        return bool(settle(self.connection, [one], worker="tester"))


@pytest.fixture
def sessions(database_url: str) -> Iterator[Callable[[], Session]]:
    """Opens sessions on the test's database."""
    opened: list[Session] = []

    def open_one() -> Session:
        opened.append(connect(database_url, pinned=False))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def connection(sessions: Callable[[], Session]) -> Session:
    """A session on the test's database."""
    return sessions()


@pytest.fixture
def rung() -> Counter[str]:
    """How many runs were rung for, by queue."""
    return Counter()


@pytest.fixture
def front_door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Opens the client on a database."""

    def open_on(url: str) -> None:
        monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", url)
        forget()

    def forget() -> None:
        get_settings.cache_clear()
        endpoints.cache_clear()

    yield open_on
    close_pools()
    monkeypatch.undo()
    forget()


@pytest.fixture
def orders(
    database_url: str,
    rung: Counter[str],
    front_door: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pipeline[Order]]:
    """A pipeline, with the front door open on the test's database."""

    def ring(queues: Mapping[str, int]) -> None:
        rung.update(queues)

    monkeypatch.setenv("TASKPLATFORM_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(ringer, "RINGER", Ringer(ring))
    front_door(database_url)
    registry.clear()
    pipeline = Pipeline(
        "orders",
        input=Order,
        key="number",
        idempotency="1h",
        owner="user",
        priority="weight",
        force="again",
    )

    @pipeline.step
    def check(input: Order) -> str:
        return "fine"

    @pipeline.step
    def price(input: Order, check: str) -> Price:
        return Price(total=input.amount)

    yield pipeline
    registry.clear()


@pytest.fixture
def worker(database_url: str) -> Iterator[Worker]:
    """A worker of the pipeline."""
    with closing(connect(database_url)) as connection:
        yield Worker(connection)


@pytest.fixture
def blocked() -> Callable[[Session, Session], None]:
    """Returns when the other session waits for a lock of mine."""

    def wait(mine: Session, other: Session) -> None:
        pid, deadline = other.info.backend_pid, time.monotonic() + 10
        while time.monotonic() < deadline:
            row = mine.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,)).fetchone()
            if row and row[0]:
                return
            time.sleep(0.005)
        raise AssertionError("the other session does not wait")

    return wait
