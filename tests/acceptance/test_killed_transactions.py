"""A child that is killed between a transactional body and its commit leaves both or none."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance import bodies
from tests.acceptance.processes import wait_for, worker

# Waits, where it stands, for as long as the test holds the lock.
GATE = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$
"""
TRIGGERS = {
    "in the body": "",
    "in the settling": (
        "CREATE TRIGGER gate BEFORE INSERT ON taskplatform.step_results"
        " FOR EACH ROW EXECUTE FUNCTION gate()"
    ),
    "in the commit": (
        "CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON payments"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gate()"
    ),
}


@pytest.fixture
def database(env: dict[str, str]) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """The test's database, with a table of the user's own."""
    with psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE payments (run text)")
        connection.execute(GATE)
        yield connection


@pytest.mark.parametrize("where_killed", TRIGGERS)
def test_a_kill_leaves_both_or_none(
    env: dict[str, str],
    log: Path,
    tmp_path: Path,
    database: "psycopg.Connection[tuple[Any, ...]]",
    where_killed: str,
) -> None:
    """Exactly once inside Postgres, whatever the server made of the dead client's statements."""
    modules = {"TASKPLATFORM_PIPELINES": "tests.acceptance.bodies"}
    where = bodies.Where(path=tmp_path / "said")
    database.execute(TRIGGERS[where_killed])
    database.execute("SELECT pg_advisory_lock(42)")
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    def at_the_gate() -> bool:
        row = database.execute(waits).fetchone()
        return row is not None and row[0] == 1

    with worker(env | modules, log, "-c", "2"):
        run = bodies.paying.enqueue(where)
        wait_for(lambda: where.told("paid"), 30, "the body has written")
        if TRIGGERS[where_killed]:
            where.tell("go on")
            wait_for(at_the_gate, 10, "the transaction is at the gate")
        pid = int(where.path.read_text().split()[1])
        os.kill(pid, signal.SIGKILL)
        where.tell("go on")
        database.execute("SELECT pg_advisory_unlock(42)")
        run.wait(timeout=60)

    assert run.status == "succeeded", run.error
    assert run.output == 2
    assert database.execute("SELECT run FROM payments").fetchall() == [(str(run.id),)]
