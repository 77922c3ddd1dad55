"""A busy worker's supervisor keeps the dead rows of work few."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import orjson
import pytest

from taskplatform.core.ids import uuid7
from taskplatform.executor.slot import Slot
from taskplatform.executor.slots import SlotTable
from taskplatform.storage import dead_rows
from taskplatform.storage.claim import claim
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.new_run import NewRun, insert
from taskplatform.supervisor import vacuum
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.vacuum import Vacuum
from tests.integration.races.stage import wait_until

Make = Callable[[SlotTable, str], Vacuum]

RUNS = 4_000
AT_ONCE = 500
_HEAD = """
EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT id FROM taskplatform.work
WHERE queue = 'q' AND lane = '' AND holder IS NULL AND due_at IS NULL ORDER BY rank, id LIMIT 1
"""


@pytest.fixture
def connection(database_url: str) -> Iterator[Session]:
    """A session like a child's."""
    with closing(connect(database_url)) as made:
        yield made


@pytest.fixture
def duty_of() -> Iterator[Make]:
    """Makes the duty of a supervisor of children in that table."""
    with ExitStack() as stack:

        def make(table: SlotTable, url: str) -> Vacuum:
            database = Database(url, "w")
            stack.callback(database.ask, Session.close, None)
            return Vacuum(table, database, url, "w")

        yield make


def pages(connection: Session) -> int:
    """How many pages are looked at to find what is ready first."""
    row = connection.execute(_HEAD).fetchone()
    assert row is not None
    plan = orjson.loads(row[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def store(connection: Session, many: int, pipeline: str) -> None:
    """Store runs that are ready."""
    for _ in range(0, many, AT_ONCE):
        insert(
            connection,
            [
                NewRun(id=uuid7(), pipeline=pipeline, first_step="a", queue="q", input=b"{}")
                for _ in range(AT_ONCE)
            ],
        )


def work_off(connection: Session) -> None:
    """Take and end many runs."""
    store(connection, RUNS, "p")
    taken, more = 0, True
    while more:
        held, more = claim(
            connection,
            holder=1,
            after=0,
            queues=["q"],
            pipelines=["p"],
            limit=AT_ONCE,
            costs={"p.a": 0.0},
            budget=1.0,
        )
        taken += len(held)
        connection.execute("DELETE FROM taskplatform.work WHERE holder = 1")
    assert taken == RUNS


def test_who_claims_does_not_step_over_what_is_done(
    database_url: str, connection: Session, duty_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M9, Q20: what a worker has claimed is removed as soon as it is much, once."""
    monkeypatch.setattr(vacuum, "CLAIMED", RUNS)
    monkeypatch.setattr(dead_rows, "LEAST", AT_ONCE)
    table = SlotTable.create()
    slot = table.allocate()
    duty = duty_of(table, database_url)
    work_off(connection)
    store(connection, AT_ONCE, "waits")
    # The first look marks what it steps over, which the next one steps over, too.
    pages(connection)
    before = pages(connection)

    slot.claimed += RUNS - 1
    duty.tick()
    assert not duty.is_under_way()

    slot.claimed += 1
    duty.tick()
    assert duty.is_under_way()
    wait_until(lambda: not duty.is_under_way())
    assert pages(connection) < before / 2
    assert vacuums(connection) == 1

    duty.tick()
    assert not duty.is_under_way()


def test_the_planner_is_not_told_that_there_is_nothing(
    database_url: str, connection: Session, duty_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q9: with next to nothing left a vacuum would do more harm than dead rows do."""
    monkeypatch.setattr(vacuum, "CLAIMED", RUNS)
    monkeypatch.setattr(dead_rows, "LEAST", AT_ONCE + 1)
    table = SlotTable.create()
    table.allocate().claimed = RUNS
    duty = duty_of(table, database_url)
    work_off(connection)
    store(connection, AT_ONCE, "waits")
    duty.tick()
    wait_until(lambda: not duty.is_under_way())
    assert vacuums(connection) == 0
    assert believed(connection) == -1


def test_the_planner_is_told_of_a_backlog_that_came_after_a_vacuum(
    database_url: str, connection: Session, duty_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q9: PostgreSQL's own came when nothing was left; it is looked at while any are claimed."""
    monkeypatch.setattr(dead_rows, "LEAST", AT_ONCE)
    table = SlotTable.create()
    slot = table.allocate()
    duty = duty_of(table, database_url)
    work_off(connection)
    connection.execute("VACUUM (TRUNCATE off) taskplatform.work")
    assert believed(connection) == 0

    slot.claimed = 1
    duty.tick()
    assert not duty.is_under_way()

    store(connection, AT_ONCE, "p")
    wait_until(lambda: looked(duty, slot))
    wait_until(lambda: not duty.is_under_way())
    assert believed(connection) == AT_ONCE


def looked(duty: Vacuum, slot: Slot) -> bool:
    """Claim one more, and let the duty look, if it is time."""
    slot.claimed += 1
    duty.tick()
    return duty.is_under_way()


def believed(connection: Session) -> float:
    """How many rows the planner takes the table to have."""
    row = connection.execute(
        "SELECT reltuples FROM pg_class WHERE oid = 'taskplatform.work'::regclass"
    ).fetchone()
    assert row is not None
    return float(row[0])


def test_a_child_that_is_replaced_takes_its_count_along(
    database_url: str, duty_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M9: what is claimed after that counts from there on."""
    monkeypatch.setattr(vacuum, "CLAIMED", 100)
    table = SlotTable.create()
    slot = table.allocate()
    duty = duty_of(table, database_url)
    slot.claimed = 99
    duty.tick()
    slot.reset(slot.pid)
    duty.tick()
    slot.claimed = 99
    duty.tick()
    assert not duty.is_under_way()
    slot.claimed = 100
    duty.tick()
    assert duty.is_under_way()
    wait_until(lambda: not duty.is_under_way())


def test_without_a_database_there_is_none(duty_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """F18: it is left to PostgreSQL, and nothing is raised."""
    monkeypatch.setattr(vacuum, "CLAIMED", 1)
    table = SlotTable.create()
    table.allocate().claimed = 1
    duty = duty_of(table, "postgresql://nobody@127.0.0.1:1/none")
    duty.tick()
    wait_until(lambda: not duty.is_under_way())


def vacuums(connection: Session) -> int:
    """How often the table was vacuumed by somebody."""
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(
        "SELECT vacuum_count FROM pg_stat_user_tables"
        " WHERE schemaname = 'taskplatform' AND relname = 'work'"
    ).fetchone()
    assert row is not None
    return int(row[0])
