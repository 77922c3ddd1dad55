"""What a replay reuses of a run whose steps were undone or mapped."""

from typing import Any
from uuid import UUID

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.client.run import Run
from taskplatform.errors import Conflict
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import Keep

Orders = Pipeline[Any]


def statuses(run: Run) -> dict[str, str]:
    return {step.name: step.status for step in run.view().steps}


def _undo(connection: Session, run: UUID, step: str) -> None:
    connection.execute(
        "INSERT INTO taskplatform.step_results (run_id, step_name, output, attempt, started_at,"
        " finished_at, epoch) VALUES (%s, %s, 'null', 1, now(), now(), 1)",
        (run, step),
    )


def test_a_replay_does_not_reuse_what_was_compensated(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """The charge that was refunded must not count as paid; from before it the replay is a run."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)
    _undo(connection, run.id, "check:compensate")

    with pytest.raises(Conflict, match="has compensated 'check', which would be reused"):
        run.replay("price")
    assert statuses(run.replay("check"))["check"] == "pending"
    assert statuses(run.replay())["check"] == "pending"


def test_a_run_that_compensates_is_not_replayed_from_a_step(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """What would be reused is being undone."""
    run = orders.enqueue({"number": "1"})
    one = worker.claim(run.id)
    assert worker.commit(one, "check", b'"fine"', Keep("price", mark=True))
    connection.execute("UPDATE taskplatform.work SET failing = true")

    with pytest.raises(Conflict, match="is compensating"):
        run.replay("price")
    run.replay()


def test_a_replay_copies_the_collected_list_of_a_map_and_not_its_items(
    orders: Orders, worker: Any, connection: Session
) -> None:
    """The outputs are one step result; the items are how it was made."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)
    connection.execute(
        "INSERT INTO taskplatform.items (run_id, step_name, position, item, version, output)"
        " VALUES (%s, 'check', 0, '1', 1, '2')",
        (run.id,),
    )
    new = run.replay("price")

    assert statuses(new)["check"] == "reused"
    rows = connection.execute("SELECT run_id FROM taskplatform.items").fetchall()
    assert rows == [(run.id,)]
