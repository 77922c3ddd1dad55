"""Order: a rank that never changes while work waits, and priorities that are changed later."""

from uuid import uuid4

import pytest

from taskplatform.errors import Conflict, RunNotFound
from taskplatform.storage import priorities
from taskplatform.storage.cancel import cancel
from taskplatform.storage.new_run import AGEING
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settle import settle
from tests.integration.races.hand import Hand, shift, start
from tests.integration.races.shaped import forked
from tests.integration.races.stage import Stage, give_back, wait_until

LEAST, MOST = -(2**31), 2**31 - 1
HOUR = 3600.0


def taken(stage: Stage, *queues: str) -> list[object]:
    return [one.run_id for one in stage.take(queues=queues or ("q",))]


def test_what_waits_overtakes_in_time_what_was_made_later(stage: Stage) -> None:
    """Q13: with strict order at first, and nobody waits for ever; no row is touched for it."""
    (old,) = stage.runs(priority=-1, ageing=0.05)
    (soon,) = stage.runs(priority=0, ageing=0.05)
    born = stage.value("SELECT rank FROM taskplatform.work WHERE run_id = %s", old)
    wait_until(
        lambda: stage.value(
            "SELECT extract(epoch FROM clock_timestamp()) * 1000000 > %s + 1000000", born
        )
    )
    (late,) = stage.runs(priority=0, ageing=0.05)

    assert taken(stage) == [soon, old, late]


@pytest.mark.parametrize("ageing", [AGEING, HOUR])
def test_priorities_as_high_and_low_as_they_can_be(stage: Stage, ageing: float) -> None:
    """A28: all of int4 has its place, with the longest ageing, too."""
    low, usual, high = (stage.runs(priority=one, ageing=ageing)[0] for one in (LEAST, 0, MOST))
    for run in (low, high):
        priorities.set_of_run(stage.connection, run, 0, ageing)
    priorities.set_of_run(stage.connection, low, MOST, ageing)
    priorities.set_of_run(stage.connection, low, LEAST, ageing)
    priorities.set_of_run(stage.connection, high, MOST, ageing)

    assert taken(stage) == [high, usual, low]


def test_work_that_is_due_later_stands_where_what_is_made_then_stands(stage: Stage) -> None:
    """Q13: a delay is no way to the front."""
    (later,) = stage.runs(delay=HOUR)
    (now,) = stage.runs()
    stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")

    assert taken(stage) == [now, later]


def test_a_priority_is_changed_in_line_and_in_hands(stage: Stage) -> None:
    """Q13, W17: changed later it is as if it had been enqueued with it, and the row of a holder
    keeps its epoch."""
    first, second, third = stage.runs(3)
    priorities.set_of_run(stage.connection, third, 5, AGEING)
    (held,) = stage.take(1)
    assert held.run_id == third
    priorities.set_of_run(stage.connection, third, -5, AGEING)
    priorities.set_of_run(stage.connection, second, 5, AGEING)
    priorities.set_of_run(stage.connection, second, 0, AGEING)

    assert settle(stage.connection, [give_back(held)], worker="w") == {held.work_id}
    assert taken(stage) == [first, second, third]
    assert stage.value("SELECT priority FROM taskplatform.runs WHERE id = %s", third) == -5
    assert not stage.wrong()


def test_a_priority_of_a_run_that_is_over_is_not_changed(stage: Stage) -> None:
    (run,) = stage.runs()
    cancel(stage.connection, run)

    with pytest.raises(Conflict, match="cancelled"):
        priorities.set_of_run(stage.connection, run, 5, AGEING)
    with pytest.raises(RunNotFound):
        priorities.set_of_run(stage.connection, uuid4(), 5, AGEING)


def test_a_pipelines_priority_is_remembered_for_runs_without_one(stage: Stage) -> None:
    """W17: without a deploy; a run's own priority wins, and runs in line keep theirs."""
    (before,) = stage.runs()
    priorities.set_of_pipeline(stage.connection, "p", -300)
    low, own = stage.runs(), stage.runs(priority=1)
    (other,) = stage.runs(pipeline="o")
    assert priorities.of_pipelines(stage.connection) == {"p": -300}
    priorities.set_of_pipeline(stage.connection, "p", None)
    usual = stage.runs()

    taken = stage.take(pipelines=("p", "o"), costs={"p.a": 0.0, "o.a": 0.0})
    assert [one.run_id for one in taken] == [*own, before, other, *usual, *low]
    assert priorities.of_pipelines(stage.connection) == {}


def test_branches_stand_where_their_run_stands(stage: Stage, hands: list[Hand]) -> None:
    """Q13: what has begun is finished first, and a run that is moved takes its branches along."""
    run = start(stage, forked())
    shift(hands[0])
    ranks = "SELECT count(*), count(DISTINCT rank) FROM taskplatform.work WHERE run_id = %s"
    ((many, different),) = stage.rows(ranks, run)
    assert (many > 2, different) == (True, 1)

    priorities.set_of_run(stage.connection, run, 7, AGEING)

    assert stage.rows(ranks, run) == [(many, 1)]


def test_a_retry_by_hand_stands_behind_what_came_meanwhile(stage: Stage) -> None:
    """Q13: ten thousand of yesterday's failures must not stop today's runs."""
    (failed,) = stage.runs(priority=1)
    stage.connection.execute(
        "WITH gone AS (DELETE FROM taskplatform.work) UPDATE taskplatform.runs"
        " SET status = 'failed', finished_at = clock_timestamp()"
    )
    (meanwhile,) = stage.runs(priority=1)
    (usual,) = stage.runs()
    retry(stage.connection, failed, lambda *_: Next("a", "q"))

    assert taken(stage) == [meanwhile, failed, usual]
