"""Claims: each row once, in order, no more than fits, and with what was committed just before."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskplatform.storage.claim import Claimed, claim, claim_run
from taskplatform.storage.dispatch import outlook
from taskplatform.storage.settle import settle
from tests.integration.races.stage import FREE, Stage, give_back, pass_on, wait

# Shadows a function of the claim for one session: it waits where the test wants it to wait,
# after the statement's snapshot was taken and before it locks its rows.
PAUSE_AFTER_SNAPSHOT = """
CREATE SCHEMA pauses;
CREATE FUNCTION pauses.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(7);
    PERFORM pg_advisory_unlock_shared(7);
    RETURN QUERY SELECT * FROM pg_catalog.unnest($1);
END $$;
"""


def test_ten_sessions_claim_a_thousand_runs_once_each(stage: Stage) -> None:
    """G3: a thousand rows, ten claimers, no row twice and none left."""
    runs = stage.runs(1000)
    start = threading.Barrier(10)
    sessions = [stage.session() for _ in range(10)]
    holders = [stage.holder() for _ in sessions]

    def take_all(number: int) -> list[Claimed]:
        taken: list[Claimed] = []
        start.wait()
        more = True
        while more:
            got, more = claim(
                sessions[number],
                holder=holders[number],
                after=max((one.epoch for one in taken), default=0),
                queues=["q"],
                pipelines=["p"],
                limit=7,
                costs=FREE,
                budget=1.0,
            )
            taken += got
        return taken

    with ThreadPoolExecutor(10) as pool:
        by_session = list(pool.map(take_all, range(10)))

    assert Counter(one.run_id for taken in by_session for one in taken) == Counter(runs)
    epochs = [one.epoch for taken in by_session for one in taken]
    assert len(set(epochs)) == 1000
    assert stage.value("SELECT count(*) FROM taskplatform.work WHERE holder IS NULL") == 0


def test_a_claim_reads_what_was_committed_between_its_snapshot_and_its_lock(stage: Stage) -> None:
    """G4, Q3: a row that went round within the claim's snapshot comes with its new result. [X]"""
    (run,) = stage.runs()
    stage.connection.execute(PAUSE_AFTER_SNAPSHOT)
    racer = stage.racer()
    racer.connection.execute("SET search_path = pauses, pg_catalog")
    gate = stage.session()
    gate.execute("SELECT pg_advisory_lock(7)")

    claimed = racer.start(
        claim,
        holder=stage.holder(),
        after=0,
        queues=["q"],
        pipelines=["p"],
        limit=10,
        costs=FREE,
        budget=1.0,
    )
    assert racer.blocked()
    (first,) = stage.take()
    settle(stage.connection, [pass_on(first, "b", output=b'"new"')], worker="w")
    gate.execute("SELECT pg_advisory_unlock(7)")

    ((second,), _) = claimed.result(10)
    assert second.run_id == run
    assert second.step == "b"
    assert second.outputs == {"a": b'"new"'}
    assert second.epoch > first.epoch


def test_a_claim_leaves_a_row_that_went_to_wait_after_its_snapshot(stage: Stage) -> None:
    """G6: due later is due later, also for a claim that saw it ready."""
    stage.runs()
    stage.connection.execute(PAUSE_AFTER_SNAPSHOT)
    racer = stage.racer()
    racer.connection.execute("SET search_path = pauses, pg_catalog")
    gate = stage.session()
    gate.execute("SELECT pg_advisory_lock(7)")
    claimed = racer.start(
        claim,
        holder=stage.holder(),
        after=0,
        queues=["q"],
        pipelines=["p"],
        limit=10,
        costs=FREE,
        budget=1.0,
    )
    assert racer.blocked()
    (first,) = stage.take()
    settle(stage.connection, [wait(first, 60)], worker="w")
    gate.execute("SELECT pg_advisory_unlock(7)")

    assert claimed.result(10) == ([], False)
    assert not stage.wrong()


def test_claims_follow_priority_then_age(stage: Stage) -> None:
    """Q13, W17: higher first, over all queues that the worker serves; equal ones by age."""
    bulk = stage.runs(3, priority=-300)
    normal = stage.runs(2, queue="other")
    critical = stage.runs(1, priority=300)

    taken = stage.take(queues=["q", "other"])

    assert [one.run_id for one in taken] == [*critical, *normal, *bulk]


def test_a_small_claim_takes_the_most_urgent_of_all_queues(stage: Stage) -> None:
    """Q13: the limit is of the claim, not of each queue."""
    stage.runs(5, queue="q")
    urgent = stage.runs(2, queue="other", priority=1)

    taken = stage.take(2, queues=["q", "other"])

    assert [one.run_id for one in taken] == urgent
    assert stage.value("SELECT count(*) FROM taskplatform.work WHERE holder IS NULL") == 5


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({}, 1),
        ({"p.a": 0.3}, 3),
        ({"p.a": 0.5}, 2),
        ({"p.a": 2.0}, 1),
        ({"p.b": 0.1}, 1),
        ({"p.a": 0.0}, 10),
    ],
)
def test_a_claim_takes_what_fits_its_budget(
    stage: Stage, costs: dict[str, float], expected: int
) -> None:
    """The first row whatever it costs, then what fits; unknown costs are taken first only."""
    stage.runs(10)

    assert len(stage.take(costs=costs)) == expected


def test_a_row_of_unknown_cost_ends_what_a_claim_takes(stage: Stage) -> None:
    """Priority order holds: nothing overtakes a row that does not fit."""
    cheap = stage.runs(2)
    stage.runs(1, first_step="unknown")
    stage.runs(2)

    assert [one.run_id for one in stage.take()] == cheap
    assert [one.step for one in stage.take()] == ["unknown"]
    assert len(stage.take()) == 2


def test_a_body_that_starts_at_once_is_marked_with_its_claim(stage: Stage) -> None:
    """Of unknown cost: it runs now. In a batch: it runs when it runs."""
    stage.runs(3)
    (lone,) = stage.take(costs={})
    batch = stage.take()

    assert lone.started
    assert [one.started for one in batch] == [False, False]
    assert stage.status(lone.run_id) == "running"
    assert stage.status(batch[0].run_id) == "queued"


def test_a_row_that_has_to_be_alone_is_claimed_alone(stage: Stage) -> None:
    """F30: after a crash in a batch each member goes alone, first or later in line."""
    stage.runs(4)
    stage.connection.execute(
        "UPDATE taskplatform.work SET alone = true WHERE id IN"
        " (SELECT id FROM taskplatform.work ORDER BY id OFFSET 1 LIMIT 2)"
    )

    assert [len(stage.take()) for _ in range(5)] == [1, 1, 1, 1, 0]


def test_work_that_was_to_be_alone_and_was_not_started_stays_so(stage: Stage) -> None:
    """F30: a shutdown between claim and body must not put a poison step into a batch again."""
    stage.runs(3)
    stage.connection.execute("UPDATE taskplatform.work SET alone = true")
    (first,) = stage.take()
    settle(stage.connection, [give_back(first)], worker="w")

    assert stage.value("SELECT bool_and(alone) FROM taskplatform.work")


def test_work_that_was_tried_alone_need_not_be_alone_again(stage: Stage) -> None:
    """F30: it ended without a crash: it is none of the suspects."""
    stage.runs()
    stage.connection.execute("UPDATE taskplatform.work SET alone = true")
    (first,) = stage.take()
    settle(stage.connection, [wait(first, 0)], worker="w")

    assert stage.value("SELECT alone FROM taskplatform.work") is False


def test_unknown_pipelines_are_left_to_workers_that_know_them(stage: Stage) -> None:
    """Q19: workers never claim pipelines they do not know, and tell nobody there is more."""
    stage.runs(3, pipeline="new")
    mine = stage.runs(2)

    assert [one.run_id for one in stage.take(pipelines=["p"])] == mine
    assert stage.take(pipelines=["p"]) == []
    assert outlook(stage.connection, ["q"], ["p"]).ready == []
    assert outlook(stage.connection, ["q"], ["p", "new"]).ready == ["q"]


def test_waiting_and_held_rows_are_not_claimed(stage: Stage) -> None:
    """G6, G3: by no kind of claim."""
    (later,) = stage.runs(1, delay=60)
    (held,) = stage.runs()
    stage.take()

    assert stage.take() == []
    for run in (later, held):
        assert claim_run(stage.connection, holder=stage.holder(), after=0, run_id=run) == []


def test_a_claim_passes_over_rows_that_others_lock(stage: Stage) -> None:
    """W14: nobody ever waits in a claim."""
    busy, free = stage.runs(2)
    other = stage.session()
    with other.transaction():
        other.execute("SELECT FROM taskplatform.work WHERE run_id = %s FOR UPDATE", (busy,))
        assert [one.run_id for one in stage.take()] == [free]
        assert claim_run(stage.connection, holder=stage.holder(), after=0, run_id=busy) == []


def test_one_run_is_claimed_by_one_of_two_messages(stage: Stage) -> None:
    """F17: a duplicate message finds nothing to claim."""
    (run,) = stage.runs()
    start = threading.Barrier(4)
    sessions = [stage.session() for _ in range(4)]

    def take(number: int) -> list[Claimed]:
        start.wait()
        return claim_run(sessions[number], holder=number + 1, after=0, run_id=run)

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, range(4)))

    assert sorted(map(len, taken)) == [0, 0, 0, 1]
