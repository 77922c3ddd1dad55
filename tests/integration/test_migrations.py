"""C5: the schema is made and checked through Alembic's Python API."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command

from taskplatform.errors import Unavailable
from taskplatform.storage import migrations
from taskplatform.storage.migrations import check, upgrade


def test_a_fresh_database_is_behind_until_it_is_upgraded(empty_database_url: str) -> None:
    current, head = check(empty_database_url)
    assert current is None
    assert head is not None

    upgrade(empty_database_url)

    assert check(empty_database_url) == (head, head)


def test_an_upgrade_of_a_new_schema_changes_nothing(database_url: str) -> None:
    upgrade(database_url)

    current, head = check(database_url)
    assert current == head


def test_two_migrators_at_once_do_the_work_once(empty_database_url: str) -> None:
    # Alembic keeps its context in module globals: processes, not threads, migrate side by side
    # in life; here the second one's lock wait is held up by a session of our own.
    with ThreadPoolExecutor(1) as thread, psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE SCHEMA taskplatform")
        migration = thread.submit(upgrade, empty_database_url)
        connection.commit()
        migration.result(timeout=30)

    current, head = check(empty_database_url)
    assert current == head


def test_each_test_has_a_database_of_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM taskplatform.runs").fetchone()
    assert row == (0,)


def test_an_unreachable_database_is_said_to_be_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        check("postgresql://nobody@127.0.0.1:1/nothing")


def test_a_migration_that_cannot_have_its_lock_does_not_stop_the_others(
    empty_database_url: str,
) -> None:
    """F44: a long transaction holds a table; who writes meanwhile waits a second, not for it."""
    command.upgrade(migrations._config(empty_database_url), "0002")
    write = """
        INSERT INTO taskplatform.work (run_id, pipeline, step, queue)
        SELECT gen_random_uuid(), 'p', 'a', 'q'
    """
    longest, inserts = 0.0, 0
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(empty_database_url) as long,
        psycopg.connect(empty_database_url, autocommit=True) as writer,
    ):
        long.execute(write)
        migration = thread.submit(upgrade, empty_database_url)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            began = time.monotonic()
            writer.execute(write)
            longest, inserts = max(longest, time.monotonic() - began), inserts + 1
        assert not migration.done()
        long.commit()
        migration.result(timeout=30)

    assert longest < 3
    assert inserts > 10
    current, head = check(empty_database_url)
    assert current == head


def test_a_migration_that_never_gets_its_lock_says_so(empty_database_url: str) -> None:
    """F44: nothing was changed, and the message says what to do."""
    command.upgrade(migrations._config(empty_database_url), "0002")
    with psycopg.connect(empty_database_url) as long:
        long.execute("LOCK TABLE taskplatform.work IN ROW EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="long transactions"):
            upgrade(empty_database_url, patience=0.5)
    assert check(empty_database_url)[0] == "0002"
