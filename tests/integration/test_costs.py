"""What a run costs the database, counted and not timed, so that any machine can tell."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.executor.child import Child
from taskplatform.storage import leases
from taskplatform.storage.connection import connect
from taskplatform.storage.dispatch import outlook, release_due
from taskplatform.storage.running import still_held
from tests.integration.holder import QUEUE, Number, child, drain, only_pipeline, store

RUNS = 500
MOST_COMMITS = 0.5
# 3,450 when this was written; a third of it are the step results and their index.
MOST_WAL = 3800.0
HOT_TABLES = ["runs", "step_results", "step_attempts", "work"]


@pytest.fixture
def pipeline() -> Iterator[Pipeline[Number]]:
    """Five steps without work in them."""
    with only_pipeline() as made:
        yield made


@pytest.fixture
def holder(database_url: str) -> Iterator[Child]:
    """One pool child."""
    with child(database_url) as made:
        yield made


@pytest.fixture
def observer(database_url: str) -> Iterator[psycopg.Connection]:
    """Another session, which reads the counters."""
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        yield connection


def number(connection: psycopg.Connection, statement: bytes, *values: object) -> float:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return float(row[0] or 0)


def test_a_loaded_run_costs_few_commits(
    pipeline: Pipeline[Number], holder: Child, observer: psycopg.Connection
) -> None:
    """Q9: results of different runs share a transaction; at most half a commit a run."""
    with closing(connect(holder.url)) as client:
        store(client, pipeline, RUNS)
    commits = b"SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    holder.connection.execute("SELECT pg_stat_force_next_flush()")
    before = number(observer, commits)
    drain(holder)
    holder.connection.execute("SELECT pg_stat_force_next_flush()")
    spent = number(observer, commits) - before
    assert spent / RUNS <= MOST_COMMITS
    done = b"SELECT count(*) FROM taskplatform.runs WHERE status = 'succeeded'"
    assert number(observer, done) == RUNS


def test_a_lone_run_costs_one_commit_a_step_and_one_claim(
    pipeline: Pipeline[Number], holder: Child, observer: psycopg.Connection
) -> None:
    """Q9: claimed, five times settled, and the look that finds nothing more."""
    with closing(connect(holder.url)) as client:
        store(client, pipeline, RUNS)
        drain(holder)
        store(client, pipeline, 1)
    taken = b"SELECT pg_current_xact_id()::text::bigint"
    before = number(observer, taken)
    drain(holder)
    assert number(observer, taken) - before - 1 <= 7


def test_a_run_writes_little_log(
    pipeline: Pipeline[Number], holder: Child, observer: psycopg.Connection
) -> None:
    """Q9: at most 4.5 kB of WAL for a run of five steps, its enqueue included."""
    used = []
    with closing(connect(holder.url)) as client:
        sessions = (client, holder.connection)
        for _ in range(4):
            before = sum(wal_of(session, observer) for session in sessions)
            store(client, pipeline, RUNS)
            drain(holder)
            used.append(sum(wal_of(session, observer) for session in sessions) - before)
    # A checkpoint (any test can cause one) makes pages be logged whole after it.
    assert min(used) / RUNS <= MOST_WAL


def wal_of(session: psycopg.Connection, observer: psycopg.Connection) -> float:
    session.execute("SELECT pg_stat_force_next_flush()")
    wal = b"SELECT wal_bytes FROM pg_stat_get_backend_wal(%s)"
    return number(observer, wal, session.info.backend_pid)


def test_hot_statements_scan_no_table(
    pipeline: Pipeline[Number], holder: Child, observer: psycopg.Connection
) -> None:
    """Q9: claim, settle, dispatch and rescue read by index, on tables nobody has analysed."""
    scans = b"""
        SELECT sum(seq_scan) FROM pg_stat_user_tables
        WHERE schemaname = 'taskplatform' AND relname = ANY (%s::text[])
    """
    with closing(connect(holder.url)) as supervisor:
        store(supervisor, pipeline, RUNS)
        supervisor.execute("SELECT pg_stat_force_next_flush()")
        before = number(observer, scans, HOT_TABLES)
        drain(holder)
        release_due(supervisor)
        outlook(supervisor, [QUEUE], [pipeline.name])
        leases.lost(supervisor)
        still_held(supervisor, [(1, 1)])
        for session in (supervisor, holder.connection):
            session.execute("SELECT pg_stat_force_next_flush()")
    assert number(observer, scans, HOT_TABLES) - before == 0
