"""run.stream() tells what happens: no finished step and no end is missed."""

import asyncio
import threading
from typing import Any

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.client.stream import Change
from taskplatform.errors import RunNotFound, WaitTimeout
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import Keep

Orders = Pipeline[Any]


def words(change: Change) -> tuple[Any, ...]:
    """A change without its time."""
    match change.kind:
        case "status":
            return change.status, change.reason
        case "progress":
            return change.step, change.done, change.total
        case _:
            return change.step, change.attempt, change.outcome


def test_it_begins_with_the_present_and_ends_after_the_end(orders: Orders, worker: Any) -> None:
    """Each finished step, in order, then the final status."""
    run = orders.enqueue({"number": "1"})
    seen = []
    for change in run.stream(timeout=30):
        seen.append(words(change))
        if len(seen) == 1:
            one = worker.claim(run.id)
            assert worker.commit(one, "check", b'"fine"', Keep("price", mark=True))
        if seen[-1] == ("running", None):
            worker.connection.execute("UPDATE taskplatform.work SET holder = NULL")
            worker.succeed(run.id)

    assert seen[0] == ("queued", None)
    assert seen[-1] == ("succeeded", None)
    assert ("check", 1, "succeeded") in seen
    assert seen.index(("check", 1, "succeeded")) < seen.index(("price", 1, "succeeded"))
    assert len(seen) == len(set(seen))


def test_of_a_run_that_has_ended_it_tells_all_and_stops(orders: Orders, worker: Any) -> None:
    """The end is the last in this case too."""
    run = orders.enqueue({"number": "1"})
    worker.put_back(run.id, "retry", 0.0)
    worker.connection.execute("UPDATE taskplatform.work SET due_at = NULL")
    worker.break_down(run.id)

    assert [words(change) for change in run.stream()] == [
        ("check", 1, "failed"),
        ("check", 1, "succeeded"),
        ("price", 1, "failed"),
        ("failed", None),
    ]


def test_attempts_and_why_it_waits_are_told(orders: Orders, worker: Any) -> None:
    """An attempt without an output says how it ended, then the run waits, for a reason."""
    run = orders.enqueue({"number": "1"})
    stream = run.stream(timeout=30)
    assert words(next(stream)) == ("queued", None)

    worker.put_back(run.id, "retry", 60.0)

    assert words(next(stream)) == ("check", 1, "failed")
    assert words(next(stream)) == ("waiting", "retry")


def test_progress_is_told_when_it_changes(orders: Orders, worker: Any, connection: Session) -> None:
    """With what is done, of how much."""
    run = orders.enqueue({"number": "1"})
    worker.claim(run.id)
    stream = run.stream(timeout=30)
    assert words(next(stream)) == ("running", None)

    for done in (1, 2):
        connection.execute(
            "UPDATE taskplatform.work SET progress_done = %s, progress_total = 9", (done,)
        )
        assert words(next(stream)) == ("check", done, 9)


def test_its_time_is_bounded(orders: Orders) -> None:
    """WaitTimeout; the run goes on."""
    run = orders.enqueue({"number": "1"})
    stream = run.stream(timeout=0.1)
    next(stream)

    with pytest.raises(WaitTimeout, match="queued"):
        next(stream)


def test_of_a_run_that_is_gone_it_says_so(orders: Orders, connection: Session) -> None:
    """RunNotFound, as wait does."""
    run = orders.enqueue({"number": "1"})
    connection.execute("DELETE FROM taskplatform.runs")

    with pytest.raises(RunNotFound):
        next(run.stream())


def test_async_streams_tell_the_same(orders: Orders, worker: Any) -> None:
    """While a worker executes, from another thread."""
    run = orders.enqueue({"number": "1"})

    async def read() -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        async for change in run.astream(timeout=30):
            if not found:
                threading.Thread(target=worker.succeed, args=(run.id,)).start()
            found.append(words(change))
        return found

    seen = asyncio.run(read())
    assert [one for one in seen if len(one) == 3] == [
        ("check", 1, "succeeded"),
        ("price", 1, "succeeded"),
    ]
    assert (seen[0], seen[-1]) == (("queued", None), ("succeeded", None))
