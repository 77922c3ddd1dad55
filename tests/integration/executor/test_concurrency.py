"""Concurrency limits in the hands of children: slots, lines, and what a run too many comes to."""

import threading
from typing import Any
from uuid import UUID

import pytest

from taskplatform.core.concurrency import Concurrency
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent
from taskplatform.settings import get_settings
from taskplatform.storage import clock
from taskplatform.storage.cancel import cancel
from taskplatform.storage.dispatch import release_due
from taskplatform.supervisor.unstarted import Unstarted
from taskplatform.testing.worker import worker
from tests.integration.executor.crew import Crew
from tests.integration.executor.house import House, Number
from tests.integration.races.stage import wait_until


@pytest.fixture(autouse=True)
def alive(house: House) -> None:
    """A worker that serves what stands in line."""
    house.stage.serve("default", "p")


class Inside:
    """How many bodies are inside, and when each may leave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = self.entered = 0
        self.leave = threading.Event()

    def __call__(self, wait: bool = True) -> None:
        with self._lock:
            self.now += 1
            self.entered += 1
            self.most = max(self.most, self.now)
        if wait:
            assert self.leave.wait(20)
        with self._lock:
            self.now -= 1


def waiting(house: House) -> list[tuple[str, str]]:
    rows = house.stage.rows(
        "SELECT status, reason, waiting_for FROM taskplatform.runs"
        " WHERE status = 'waiting' ORDER BY id"
    )
    assert {status for status, _, _ in rows} <= {"waiting"}
    return [(reason, what) for _, reason, what in rows]


def slots(house: House) -> int:
    return int(house.stage.value("SELECT count(*) FROM taskplatform.slots"))


def test_a_step_waits_in_line_and_goes_on_when_a_body_has_ended(house: House) -> None:
    """W13, Q8: by key; who waits holds nothing, no attempt is used, order is kept."""
    inside = Inside()
    order: list[int] = []
    declaration = Declaration("p", input=Number)

    @declaration.step(concurrency=Concurrency(1, key=lambda input: input.n % 2))
    def a(input: Number) -> int:
        order.append(input.n)
        inside(wait=len(order) <= 1)
        return input.n

    @declaration.step
    def b(a: int) -> int:
        return a

    runs = house.enqueue(declaration, 6)
    first = threading.Thread(target=house.work, args=[house.child()])
    first.start()
    wait_until(lambda: order == [0])
    other = house.child()
    while house.shift(other):
        pass
    assert order == [0, 1, 3, 5]
    assert waiting(house) == [("concurrency", "concurrency p.a[0]: 1 of 1 taken")] * 2
    assert house.stage.value("SELECT count(*) FROM taskplatform.work WHERE holder > 0") == 1
    inside.leave.set()
    first.join(20)
    assert order == [0, 1, 3, 5, 2, 4]
    assert [house.status(run) for run in runs] == ["succeeded"] * 6
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 0
    assert slots(house) == 0


@pytest.mark.parametrize("outcome", ["fails", "retries", "interrupted", "times-out"])
def test_whatever_an_attempt_comes_to_its_slot_is_free(house: House, outcome: str) -> None:
    """W13: also with a retry to come, and for a batch of quick ones."""
    declaration = Declaration("p", input=Number, retry=Retry(1, base="1h"))

    @declaration.step(concurrency=Concurrency("api", 1), timeout="50ms")
    def a(input: Number) -> int:
        match outcome if input.n == 0 else "ok":
            case "fails":
                raise Permanent("no")
            case "retries":
                raise ValueError("no")
            case "times-out":
                threading.Event().wait(5)
            case "interrupted":
                assert cancel(house.stage.session(), runs[0])
        return 1

    runs = house.enqueue(declaration, 4)
    house.work(house.child("a"))
    assert [house.status(run) for run in runs[1:]] == ["succeeded"] * 3
    assert slots(house) == 0


def test_runs_wait_before_they_begin_and_go_on_when_one_ends(house: House) -> None:
    """W13: a pipeline's limit counts runs that have begun and not ended, also while they rest."""
    declaration = Declaration("p", input=Number, concurrency=Concurrency(2))
    declaration.sleep("nap", "1h")

    @declaration.step
    def a() -> int:
        return 1

    runs = house.enqueue(declaration, 4)
    child = house.child()
    house.work(child)
    assert [reason for reason, _ in waiting(house)] == ["sleep"] * 2 + ["concurrency"] * 2
    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = now() WHERE gate IS NULL")
    release_due(house.stage.connection)
    house.work(child)
    assert [house.status(run) for run in runs[:2]] == ["succeeded"] * 2
    assert [reason for reason, _ in waiting(house)] == ["sleep"] * 2
    assert cancel(house.stage.connection, runs[2])
    assert slots(house) == 1


@pytest.mark.parametrize("of_runs", [False, True])
def test_who_was_refused_has_not_begun(house: House, of_runs: bool) -> None:
    """W15, C4: a refused claim starts nothing, so the time in which to start it passes on."""
    declaration = Declaration(
        "p", input=Number, queue_timeout="30s", concurrency=[Concurrency(1)] if of_runs else []
    )
    inside = Inside()

    @declaration.step(concurrency=[] if of_runs else [Concurrency(1)])
    def a() -> int:
        inside()
        return 1

    runs = house.enqueue(declaration, 2)
    first = threading.Thread(target=house.work, args=[house.child()])
    first.start()
    wait_until(lambda: inside.now == 1)
    house.work(house.child())
    assert len(waiting(house)) == 1
    house.stage.connection.execute(
        "UPDATE taskplatform.runs SET start_by = clock_timestamp() - interval '1 minute'"
    )
    Unstarted(uuid7(), 1, "supervisor", "default").end(house.stage.session())
    assert [house.status(run) for run in runs] == ["running", "failed"]
    inside.leave.set()
    first.join(20)
    assert house.status(runs[0]) == "succeeded"
    assert (inside.entered, slots(house)) == (1, 0)


@pytest.mark.parametrize(
    ("overlap", "ends"),
    [
        ("skip", ["waiting", "cancelled", "cancelled"]),
        ("cancel-oldest", ["cancelled", "cancelled", "waiting"]),
        ("cancel-newest", ["waiting", "cancelled", "cancelled"]),
        ("queue", ["waiting", "waiting", "waiting"]),
    ],
)
def test_a_run_too_many(house: House, overlap: Any, ends: list[str]) -> None:
    """Q8: overlap strategies; what ends says why, and its key is free."""
    limit = Concurrency("one", 1, overlap=overlap)
    declaration = Declaration("p", input=Number, concurrency=limit)
    declaration.sleep("nap", "1h")
    child = house.child()
    runs: list[UUID] = []
    for number in range(3):
        runs += house.enqueue(declaration, 1, first=number)
        house.work(child)
    assert [house.status(run) for run in runs] == ends
    errors = house.stage.rows(
        "SELECT error ->> 'message' FROM taskplatform.runs WHERE error IS NOT NULL"
    )
    told = {
        "skip": "skipped: concurrency one: 1 of 1 taken",
        "cancel-newest": "skipped: older runs",
    }
    assert all(told[overlap] in message for (message,) in errors)
    assert slots(house) == 1


def test_an_older_run_that_comes_late_takes_the_place_of_a_newer_one(house: House) -> None:
    """Q8: cancel-newest keeps the oldest, in whatever order they come."""
    limit = Concurrency("one", 1, overlap="cancel-newest")
    declaration = Declaration("p", input=Number, concurrency=limit)
    declaration.sleep("nap", "1h")
    child = house.child()
    (old,) = house.enqueue(declaration)
    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = 'infinity'")
    (new,) = house.enqueue(declaration)
    house.work(child)
    house.stage.connection.execute(
        "UPDATE taskplatform.work SET due_at = NULL WHERE run_id = %s", (old,)
    )
    house.work(child)
    assert (house.status(old), house.status(new)) == ("waiting", "cancelled")
    assert waiting(house) == [("sleep", "nap")]


def test_in_a_crowd_no_more_than_the_limit_run_at_once(house: House) -> None:
    """W13: threads and async bodies, whose seats are holders each."""
    inside = Inside()
    declaration = Declaration("p", input=Number)

    @declaration.step(concurrency=Concurrency(3))
    def a(input: Number) -> int:
        inside(wait=inside.entered < 3)
        return input.n

    runs = house.enqueue(declaration, 20)
    crew = Crew(house, 10)
    with crew.crowd() as crowd:

        def all_but_three_wait() -> bool:
            if claimed := crew.claim():
                crowd.seat(claimed)
            return len(waiting(house)) == 17

        wait_until(all_but_three_wait)
        wait_until(lambda: crew.desk.taken == 3)
        assert inside.now == 3
        inside.leave.set()
        while any(house.status(run) != "succeeded" for run in runs):
            release_due(house.stage.connection)
            if claimed := crew.claim():
                crowd.seat(claimed)
    assert inside.most == 3
    crew.close()


def test_a_worker_of_users_tests_moves_lines_on(house: House) -> None:
    """The fixture `taskplatform_worker`: nobody else serves what stands in line there."""
    stage = house.stage
    stage.connection.execute("DELETE FROM taskplatform.workers")
    declaration = Declaration("p", input=Number, concurrency=Concurrency(1))
    declaration.sleep("nap", "1h")
    given = {"pipeline": "p", "first_step": "nap", "queue": get_settings().queue}
    runs = stage.runs(2, input=Number().model_dump_json().encode(), **given)
    with worker(stage.url) as one:
        one.drain()
        assert [reason for reason, _ in waiting(house)] == ["sleep", "concurrency"]
        clock.advance(stage.connection, 3600)
        one.drain()
        assert [house.status(run) for run in runs] == ["succeeded", "waiting"]
        clock.advance(stage.connection, 3600)
        one.drain()
        assert house.status(runs[1]) == "succeeded"
    assert stage.value("SELECT count(*) FROM taskplatform.workers") == 0
