"""Shapes under real workers: what the model promises, judged by what bodies wrote down."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from taskplatform import enqueue_many, get_run, send_event
from taskplatform.testing import advance
from tests.acceptance.conftest import Ledger
from tests.acceptance.ledger import Order
from tests.acceptance.processes import wait_for, worker
from tests.acceptance.shaped import Batch, busy, mapped, patient, saga, wide

ITEMS = 10_000
CHILDREN = 10


@pytest.fixture
def shapes(env: dict[str, str]) -> dict[str, str]:
    """The environment of workers that know the shaped pipelines."""
    return {**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.shaped"}


@pytest.fixture
def ask(database_url: str) -> Iterator[Callable[..., int]]:
    """Ask the database for a number, outside of the platform."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def number(query: str, *values: object) -> int:
            row = connection.execute(query.encode(), values).fetchone()
            assert row is not None
            return int(row[0] or 0)

        yield number


def _visited(ledger: Ledger, many: int) -> bool:
    return len(ledger.lines()) > many


def test_a_map_over_10000_items_survives_two_kills_of_its_worker(
    shapes: dict[str, str], ledger: Ledger, log: Path, ask: Callable[..., int]
) -> None:
    """Q2, Q3, W1: each item's body once but for those in hand, joined once, in order."""
    run = mapped.enqueue(Batch(ledger=ledger.path, id="m", count=ITEMS, seconds=0.001))
    kills = []
    for share in (0.25, 0.5):
        with worker(shapes, log, "-c", str(CHILDREN), name=f"w{share}") as one:
            enough = partial(_visited, ledger, int(ITEMS * share))
            wait_for(enough, 120, "items visited")
            kills.append(time.monotonic_ns())
            one.kill_all()
    with worker(shapes, log, "-c", str(CHILDREN)):
        assert run.wait(timeout=170).output is True
    visits: dict[str, list[int]] = {}
    for _, what, _, at in ledger.lines():
        visits.setdefault(what, []).append(int(at))
    assert len(visits.pop("total")) == 1
    assert len(visits) == ITEMS
    twice = {what: times for what, times in visits.items() if len(times) > 1}
    # A child has no more in hand than fits a few milliseconds of expected work.
    assert len(twice) <= 2 * CHILDREN * 6
    assert all(len(times) <= 3 for times in twice.values())
    for times in twice.values():
        assert any(0 <= kill - times[0] < 2e9 for kill in kills)
    assert ask("SELECT count(*) FROM taskplatform.items WHERE finished_at IS NOT NULL") == ITEMS


@pytest.mark.parametrize("do", ["", "die:undo-2"])
def test_a_run_that_fails_at_step_4_of_5_is_undone_3_2_1_once_each(
    shapes: dict[str, str], ledger: Ledger, log: Path, do: str
) -> None:
    """Also with a kill between them."""
    run = saga.enqueue(Order(ledger=ledger.path, id="s", do=do))
    with worker(shapes, log, "-c", "2"):
        run.wait(timeout=60)
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error.step, run.error.message) == ("four", "no stock")
    assert [line[1] for line in ledger.lines()] == ["undo-3", "undo-2", "undo-1"]
    steps = {step.name: step for step in run.view().steps}
    crashed = [one.outcome for one in steps["two:compensate"].attempts]
    assert crashed == (["crashed", "succeeded"] if do else ["succeeded"])


def test_10000_waiting_runs_hold_no_slot_no_connection_and_cost_no_query(
    shapes: dict[str, str], ledger: Ledger, log: Path, ask: Callable[..., int]
) -> None:
    """A run that waits is a row, and nothing else."""
    queries = (
        "SELECT xact_commit + xact_rollback FROM pg_stat_database "
        "WHERE datname = current_database()"
    )
    connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"

    def rate() -> float:
        ask("SELECT pg_stat_clear_snapshot() IS NULL")
        before, began = ask(queries), time.monotonic()
        time.sleep(3)  # a rate takes its time
        return (ask(queries) - before) / (time.monotonic() - began)

    with worker(shapes, log, "-c", "2"):
        first = busy.enqueue(Order(ledger=ledger.path, id="warm"))
        first.wait(timeout=30)
        wait_for(lambda: b"succeeded" in log.read_bytes(), 30, "the shift has ended")
        quiet, open_before = rate(), ask(connections)
        enqueue_many(patient, [Order(ledger=ledger.path, id=str(n)) for n in range(10_000)])
        waiting = "SELECT count(*) FROM taskplatform.runs WHERE reason = 'event'"
        wait_for(lambda: ask(waiting) == 10_000, 120, "all wait")
        assert ask("SELECT count(*) FROM taskplatform.work WHERE holder IS NOT NULL") == 0
        shifts = log.read_bytes().count(b"succeeded")
        wait_for(lambda: log.read_bytes().count(b"succeeded") > shifts, 30, "shifts have ended")
        # Sessions that rest tell the statistics seconds later, so what the supervisor does in ten
        # seconds may be seen in three. To look at each who waits, even seldom, would be thousands.
        assert rate() < quiet + 60
        assert ask(connections) <= open_before + 2
        send_event("patient.approved", {"id": "77"})
        wait_for(lambda: ledger.has("approved", "77"), 10, "the one that was approved goes on")
        advance("3d")
        wait_for(lambda: len(ledger.count("approved")) == 10_000, 120, "all go on")


def test_nothing_starts_after_the_cancel_of_a_run_with_three_children_and_a_map(
    shapes: dict[str, str], ledger: Ledger, log: Path
) -> None:
    """G10: but for the bodies that were starting in those 50 ms."""
    order = Batch(ledger=ledger.path, id="w", seconds=0.05, items=list(range(500)))
    with worker(shapes, log, "-c", "6"):
        run = wide.enqueue(order)
        wait_for(
            lambda: ledger.has("start:item") and sum(ledger.count("start:early").values()) == 3,
            60,
            "children and items are executed",
        )
        assert run.cancel()
        acknowledged = time.monotonic_ns()
        children = [get_run(id) for id in run.view().children]
        assert [one.status for one in children] == ["cancelled"] * 3
        other = busy.enqueue(Order(ledger=ledger.path, id="other", seconds=0.2))
        other.wait(timeout=30)
    started = [int(at) for id, _, _, at in ledger.lines() if id == "w"]
    assert max(started) < acknowledged + 50e6
    assert len(started) < 400
    assert run.refresh().status == "cancelled"
