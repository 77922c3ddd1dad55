"""Finding runs, waiting for them, and what is shown of them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.reading import get_run, list_runs
from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.errors import (
    Conflict,
    InvalidInput,
    RunFailed,
    RunNotFound,
    WaitTimeout,
)
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import Keep
from taskplatform.testing.clock import advance

Orders = Pipeline[Any]


def ids(**wanted: Any) -> list[UUID]:
    return [one.id for one in list_runs(**wanted)]


def test_runs_are_found_by_what_they_are(orders: Orders, worker: Any) -> None:
    """Q7, Q25, W21: by key, owner, pipeline and status, newest first."""
    a, b, c = enqueue_many(
        orders,
        [
            {"number": "1", "user": "ann"},
            {"number": "2", "user": "bob"},
            {"number": "3", "user": "ann"},
        ],
    )
    worker.succeed(a.id)
    worker.break_down(b.id)

    assert ids() == [c.id, b.id, a.id]
    assert ids(key="2") == [b.id]
    assert ids(owner="ann") == [c.id, a.id]
    assert ids(owner="ann", status="queued") == [c.id]
    assert ids(status=["failed", "succeeded"]) == [b.id, a.id]
    assert ids(status="failed") == [b.id]
    assert ids(status="succeeded", pipeline="orders") == [a.id]
    assert ids(pipeline="other") == []
    assert ids(key="x' OR 'x'='x") == []


def test_runs_are_found_by_date(orders: Orders) -> None:
    """Q7, Q25: since is included, until is not."""
    old = orders.enqueue({"number": "1"})
    advance("2h")
    new = orders.enqueue({"number": "2"})
    now = datetime.now(UTC)

    assert ids(since=now - timedelta(hours=1)) == [new.id]
    assert ids(until=now - timedelta(hours=1)) == [old.id]
    assert ids(since=now - timedelta(days=1), until=now + timedelta(hours=1)) == [new.id, old.id]
    made = old.view().created_at
    assert ids(since=made, until=made + timedelta(microseconds=1)) == [old.id]
    assert ids(until=made) == []
    ever, never = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert ids(since=ever, until=never) == [new.id, old.id]


def test_pages_follow_each_other(orders: Orders) -> None:
    """Q7: by the last id of the page before, so that new runs do not shift the pages."""
    runs = enqueue_many(orders, [{"number": str(number)} for number in range(25)])
    seen: list[UUID] = []
    after = None
    while page := list_runs(limit=10, after=after):
        seen += [one.id for one in page]
        after = page[-1].id
        orders.enqueue({"number": "new"}, key=None)

    assert seen == [run.id for run in reversed(runs)]


def test_a_wrong_question_is_an_error(orders: Orders) -> None:
    """Q7."""
    for wanted in (
        {"limit": 0},
        {"limit": 501},
        {"status": "done"},
        {"since": datetime(2026, 1, 1)},
    ):
        with pytest.raises(InvalidInput):
            list_runs(**wanted)
    for unknown in (uuid4(), str(uuid4()), "7", ""):
        with pytest.raises(RunNotFound):
            get_run(unknown)


def test_a_run_shows_every_step_and_attempt(orders: Orders, worker: Any) -> None:
    """Q30: name, status, start, end, input, output and error."""
    run = orders.enqueue({"number": "1"})
    one = worker.claim(run.id)
    worker.commit(one, "check", b'"fine"', Keep("price", mark=True))

    view = run.view()

    assert view.status == "running"
    check, price = view.steps
    assert (check.status, check.output, check.input) == ("succeeded", "fine", {"input": view.input})
    (done,) = check.attempts
    assert (done.number, done.outcome, done.worker) == (1, "succeeded", "tester")
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.started_at < done.finished_at
    assert (price.status, price.output) == ("running", None)
    (going,) = price.attempts
    assert (going.number, going.outcome, going.finished_at) == (1, "running", None)
    assert going.worker == "tester"


def test_a_failed_run_shows_its_cause(orders: Orders, worker: Any) -> None:
    """Q24, Q30."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)

    view = run.view()

    assert [step.status for step in view.steps] == ["succeeded", "failed"]
    assert view.error is not None
    assert (view.error.step, view.error.message) == ("price", "no good")
    (attempt,) = view.steps[1].attempts
    assert attempt.outcome == "failed"
    assert attempt.error is not None
    assert attempt.error.traceback == "trace"
    assert view.finished_at is not None


def test_a_run_is_shown_without_its_code(orders: Orders, worker: Any) -> None:
    """Q19: the pipeline was deleted; what is stored is still shown."""
    run = orders.enqueue({"number": "1"})
    worker.succeed(run.id)
    registry.clear()

    view = run.view()

    assert [(step.name, step.output, step.input) for step in view.steps] == [
        ("check", "fine", None),
        ("price", {"total": 7}, None),
    ]
    assert run.output == {"total": 7}


def test_the_output_has_its_declared_type(orders: Orders, worker: Any) -> None:
    """Q12."""
    run = orders.enqueue({"number": "1"})
    with pytest.raises(Conflict, match="is queued: wait"):
        _ = run.output
    worker.succeed(run.id)

    assert run.output.total == 7
    assert type(run.output).__name__ == "Price"
    assert run.view().output == {"total": 7}


def test_the_output_of_a_run_that_has_none_says_why(orders: Orders, worker: Any) -> None:
    """Q24."""
    failed, cancelled = enqueue_many(orders, [{"number": "1"}, {"number": "2"}])
    worker.break_down(failed.id)
    cancelled.cancel()

    with pytest.raises(RunFailed, match="failed in step 'price': ValueError: no good"):
        _ = failed.output
    with pytest.raises(RunFailed, match="it is cancelled"):
        _ = cancelled.output


def test_wait_returns_when_the_run_ends(
    orders: Orders, worker: Any, sessions: Callable[[], Session]
) -> None:
    """Q20: the caller waits, if it wants to."""
    run = orders.enqueue({"number": "1"})
    thread = threading.Thread(target=worker.succeed, args=(run.id,))
    thread.start()

    assert run.wait(timeout=20) is run
    assert run.status == "succeeded"
    thread.join()


def test_wait_says_where_the_run_stands_when_time_is_up(orders: Orders, worker: Any) -> None:
    """Q11."""
    run = orders.enqueue({"number": "1"})
    worker.put_back(run.id, "retry", 300.0)

    with pytest.raises(WaitTimeout, match=rf"{run.id} .* waiting \(retry\) until \d\d\d\d-"):
        run.wait(timeout=0.01)


def test_a_run_looks_once_for_all_its_properties(orders: Orders, monkeypatch: Any) -> None:
    """Q20: reading properties is free after the first."""
    run = get_run(orders.enqueue({"number": "1"}).id)
    monkeypatch.setattr("taskplatform.client.run.call", None)

    assert (run.status, run.reason, run.due_at, run.error) == ("queued", None, None, None)


def test_runs_of_event_handlers_are_listed_when_asked_for(
    orders: Orders, connection: Session
) -> None:
    """Q7: a list shows what the application enqueued, unless handlers are asked for."""
    order = orders.enqueue({"number": "1"})
    handler = uuid7()
    connection.execute(
        "INSERT INTO taskplatform.runs (id, pipeline, status, input)"
        " VALUES (%s, 'on:orders/task.failed:tell', 'queued', '{}')",
        (handler,),
    )

    assert [run.id for run in list_runs()] == [order.id]
    assert [run.id for run in list_runs(handlers=True)] == [handler, order.id]
    assert [run.id for run in list_runs(pipeline="on:orders/task.failed:tell")] == [handler]
