"""A busy worker's supervisor keeps the dead rows of work few."""

from collections.abc import Iterator
from contextlib import closing

import orjson
import pytest

from taskplatform.core.ids import uuid7
from taskplatform.executor.slots import SlotTable
from taskplatform.storage import dead_rows
from taskplatform.storage.claim import claim
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.new_run import NewRun, insert
from taskplatform.supervisor import vacuum
from taskplatform.supervisor.vacuum import Vacuum
from tests.integration.races.stage import wait_until

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
    database_url: str, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M9, Q20: what a worker has claimed is removed as soon as it is much, once."""
    monkeypatch.setattr(vacuum, "CLAIMED", RUNS)
    monkeypatch.setattr(dead_rows, "LEAST", AT_ONCE)
    table = SlotTable.create()
    slot = table.allocate()
    duty = Vacuum(table, database_url, "w")
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
    database_url: str, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q9: with next to nothing left a vacuum would do more harm than dead rows do."""
    monkeypatch.setattr(vacuum, "CLAIMED", RUNS)
    monkeypatch.setattr(dead_rows, "LEAST", AT_ONCE + 1)
    table = SlotTable.create()
    table.allocate().claimed = RUNS
    duty = Vacuum(table, database_url, "w")
    work_off(connection)
    store(connection, AT_ONCE, "waits")
    duty.tick()
    wait_until(lambda: not duty.is_under_way())
    assert vacuums(connection) == 0
    row = connection.execute(
        "SELECT reltuples FROM pg_class WHERE oid = 'taskplatform.work'::regclass"
    ).fetchone()
    assert row == (-1,)


def test_a_child_that_is_replaced_takes_its_count_along(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M9: what is claimed after that counts from there on."""
    monkeypatch.setattr(vacuum, "CLAIMED", 100)
    table = SlotTable.create()
    slot = table.allocate()
    duty = Vacuum(table, database_url, "w")
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


def test_without_a_database_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """F18: it is left to PostgreSQL, and nothing is raised."""
    monkeypatch.setattr(vacuum, "CLAIMED", 1)
    table = SlotTable.create()
    table.allocate().claimed = 1
    duty = Vacuum(table, "postgresql://nobody@127.0.0.1:1/none", "w")
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
