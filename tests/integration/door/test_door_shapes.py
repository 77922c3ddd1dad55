"""What is shown of runs with branches, items, waits, children and compensations."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.client.reading import list_runs
from taskplatform.client.run import Run
from taskplatform.client.view import StepView
from taskplatform.core.ids import uuid7
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import End, Keep

Orders = Pipeline[Any]


def steps(run: Run) -> dict[str, StepView]:
    return {step.name: step for step in run.view().steps}


def join(connection: Session, run: UUID, step: str) -> int:
    """Make the main row the join of branches."""
    row = connection.execute(
        "UPDATE taskplatform.work SET step = %s, due_at = 'infinity', rest = 'branches'"
        " WHERE run_id = %s AND branch = '' RETURNING id",
        (step, run),
    ).fetchone()
    assert row is not None
    connection.execute(
        "UPDATE taskplatform.runs SET status = 'waiting', reason = 'children' WHERE id = %s", (run,)
    )
    return int(row[0])


def branch(connection: Session, run: UUID, name: str, parent: int, **columns: object) -> None:
    """A branch beside others."""
    given = {
        "run_id": run,
        "branch": name,
        "pipeline": "orders",
        "step": name.partition("[")[0],
        "queue": "taskplatform",
        "parent": parent,
        **columns,
    }
    names, marks = ", ".join(given), ", ".join(["%s"] * len(given))
    connection.execute(
        f"INSERT INTO taskplatform.work ({names}) VALUES ({marks})", list(given.values())
    )


def item(connection: Session, run: UUID, position: int, output: str | None, failed: bool) -> None:
    """An item of the map `each`, ended if it has an output."""
    ended = None if output is None else datetime.now(UTC)
    connection.execute(
        "INSERT INTO taskplatform.items (run_id, step_name, position, item, version, output,"
        " failed, attempt, started_at, finished_at, worker, log)"
        " VALUES (%s, 'each', %s, %s, 1, %s, %s, 1, %s, %s, 'tester', 'hello')",
        (run, position, f'"item {position}"', output, failed, ended, ended),
    )


def failed_attempt(connection: Session, run: UUID, step: str) -> None:
    connection.execute(
        "INSERT INTO taskplatform.step_attempts (run_id, step_name, number, outcome, error,"
        " finished_at, epoch, log) VALUES (%s, %s, 1, 'failed',"
        """ '{"type": "ValueError", "message": "no"}', now(), 1, 'before it broke')""",
        (run, step),
    )


def test_items_are_steps_that_follow_their_map(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """Each with its item as input, its own status and attempts; the map counts them."""
    run = orders.enqueue({"number": "1"})
    parent = join(connection, run.id, "each")
    soon = datetime.now(UTC) + timedelta(minutes=5)
    error = '{"index": 1, "type": "ValueError", "message": "no"}'
    for position, output in enumerate(['{"n": 1}', error, None, None, None]):
        item(connection, run.id, position, output, failed=position == 1)
    failed_attempt(connection, run.id, "each[1]")
    failed_attempt(connection, run.id, "each[2]")
    branch(connection, run.id, "each[2]", parent, item=2, due_at=soon, reason="retry")
    branch(connection, run.id, "each[3]", parent, item=3)

    found = steps(run)
    assert list(found)[-6:] == ["each", *(f"each[{number}]" for number in range(5))]
    assert [found[f"each[{number}]"].status for number in range(5)] == [
        "succeeded",
        "failed",
        "waiting",
        "pending",
        "pending",
    ]
    done, broken, again = found["each[0]"], found["each[1]"], found["each[2]"]
    assert (done.input, done.output, done.log, done.item_of) == (
        "item 0",
        {"n": 1},
        "hello",
        "each",
    )
    assert [one.outcome for one in done.attempts] == ["succeeded"]
    assert (broken.output["type"], [one.outcome for one in broken.attempts]) == (
        "ValueError",
        ["failed"],
    )
    assert (again.reason, again.due_at, again.log) == ("retry", soon, "before it broke")
    each = found["each"]
    assert (each.status, each.reason, each.due_at) == ("waiting", "retry", soon)
    assert each.progress is not None
    assert (each.progress.done, each.progress.total) == (2, 5)


def test_an_item_whose_body_executes_shows_its_progress(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """The map runs while one of its items does."""
    run = orders.enqueue({"number": "1"})
    parent = join(connection, run.id, "each")
    item(connection, run.id, 0, None, failed=False)
    now = datetime.now(UTC)
    branch(
        connection,
        run.id,
        "each[0]",
        parent,
        holder=worker.holder,
        started_at=now,
        progress_done=40,
        progress_total=100,
        heartbeat_at=now,
    )
    found = steps(run)
    assert (found["each"].status, found["each[0]"].status) == ("running", "running")
    progress = found["each[0]"].progress
    assert progress is not None
    assert (progress.done, progress.total, progress.heartbeat_at) == (40, 100, now)
    assert found["each[0]"].attempts[0].outcome == "running"
    assert found["each[0]"].attempts[0].worker == "tester"


def test_the_members_of_a_group_wait_each_for_its_own(orders: Orders, connection: Session) -> None:
    """With reason, time and what they wait for; the join is none of them."""
    run = orders.enqueue({"number": "1"})
    parent = join(connection, run.id, "check")
    soon = datetime.now(UTC) + timedelta(days=3)
    branch(connection, run.id, "check", parent, due_at=soon, rest="sleep", reason="sleep")
    branch(
        connection,
        run.id,
        "price",
        parent,
        due_at="infinity",
        rest="event",
        reason="event",
        waiting_for="order.approved",
    )
    found = steps(run)
    assert (found["check"].status, found["check"].reason, found["check"].due_at) == (
        "waiting",
        "sleep",
        soon,
    )
    price = found["price"]
    assert (price.status, price.reason, price.due_at) == ("waiting", "event", None)
    assert price.waiting_for == "order.approved"


def test_the_only_branch_waits_as_its_run_does(orders: Orders, worker: Any) -> None:
    """A retry is said of the step too."""
    run = orders.enqueue({"number": "1"})
    worker.put_back(run.id, "retry", 60.0)
    view = run.view()
    assert view.steps[0].reason == "retry"
    assert view.due_at is not None
    assert view.steps[0].due_at is not None
    assert abs((view.steps[0].due_at - view.due_at).total_seconds()) < 1


def test_a_child_run_is_named_by_its_parent_and_names_it(
    orders: Orders, connection: Session
) -> None:
    """On the step that waits for it, among the run's children, and in the list."""
    run = orders.enqueue({"number": "1"})
    child = uuid7()
    connection.execute(
        "INSERT INTO taskplatform.runs (id, pipeline, status, input, parent_run, parent_step)"
        " VALUES (%s, 'other', 'queued', '{}', %s, 'check')",
        (child, run.id),
    )
    assert run.view().children == [child]
    assert steps(run)["check"].child_run == child
    (listed, _) = list_runs()
    assert (listed.id, listed.parent_run) == (child, run.id)
    assert Run(child, "other").view().parent_run == run.id


def test_compensations_come_after_the_steps(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """The step that failed is shown as such while what was done before it is undone."""
    run = orders.enqueue({"number": "1"})
    one = worker.claim(run.id)
    assert worker.commit(one, "check", b'"fine"', Keep("price", mark=True))
    connection.execute(
        "UPDATE taskplatform.work SET step = 'check:compensate', failing = true, holder = NULL,"
        " started_at = NULL"
    )
    connection.execute(
        """UPDATE taskplatform.runs SET error = '{"type": "E", "message": "no", "step": "price"}'"""
    )
    assert [(step.name, step.status) for step in run.view().steps] == [
        ("check", "succeeded"),
        ("price", "failed"),
        ("check:compensate", "pending"),
    ]


def test_a_step_whose_version_was_raised_is_open_again(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """Its earlier output is still there, but it is what the run stands at."""
    run = orders.enqueue({"number": "1"})
    one = worker.claim(run.id)
    assert worker.commit(one, "check", b'"fine"', Keep("price", mark=True))
    connection.execute("UPDATE taskplatform.step_results SET version = 7")
    connection.execute(
        "UPDATE taskplatform.work SET step = 'check', holder = NULL, due_at = 'infinity',"
        " reason = 'parked'"
    )
    assert steps(run)["check"].status == "waiting"


def test_the_output_of_a_group_is_an_object(orders: Orders, worker: Any) -> None:
    """By the names of its steps, each in its declared type."""
    run = orders.enqueue({"number": "1"})
    one = worker.claim(run.id)
    assert worker.commit(one, "check", b'"fine"', Keep("price", mark=True))
    assert worker.commit(
        one, "price", b'{"total":7}', End("succeeded", "check,price", owns_key=True)
    )
    assert run.view().output == {"check": "fine", "price": {"total": 7}}
    assert run.output["check"] == "fine"
    assert run.output["price"].total == 7


@pytest.mark.parametrize("output_step", ["check", "check,price"])
def test_an_output_that_is_gone_is_none(
    orders: Orders, worker: Any, connection: Session, output_step: str
) -> None:
    run = orders.enqueue({"number": "1"})
    worker.succeed(run.id)
    connection.execute("UPDATE taskplatform.runs SET output_step = %s", (output_step,))
    connection.execute("DELETE FROM taskplatform.step_results")
    assert run.output == ({} if "," in output_step else None)
