"""The harm is real: what the rig says it does to servers and wires, it does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from taskplatform.storage.connection import Session, connect, one_trip
from taskplatform.verify.rig.processes import gone, look
from taskplatform.verify.rig.remains import remains
from taskplatform.verify.rig.rig import Rig, rig
from taskplatform.verify.rig.waiting import wait_for

# Three servers' starts, at worst.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def made() -> Iterator[Rig]:
    """A rig, harmed by each test and mended in its end."""
    with rig() as one:
        with connect(one.direct_database_url, pinned=False) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS public.notes (note text)")
        yield one


def notes(one: Rig) -> list[str]:
    with connect(one.direct_database_url, pinned=False) as connection:
        return [note for (note,) in connection.execute("SELECT note FROM public.notes ORDER BY 1")]


def in_a_block(connection: Session, note: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO public.notes VALUES (%s)", (note,))


def in_one_trip(connection: Session, note: str) -> None:
    with one_trip(connection):
        connection.execute("SELECT 1")
        connection.execute("INSERT INTO public.notes VALUES (%s)", (note,))


def alone(connection: Session, note: str) -> None:
    connection.execute("INSERT INTO public.notes VALUES (%s)", (note,))


@pytest.mark.parametrize("write", [in_a_block, in_one_trip, alone])
@pytest.mark.parametrize("before", [0, 3])
def test_a_commit_is_durable_whose_answer_is_cut(
    made: Rig, write: Callable[[Session, str], None], before: int
) -> None:
    """F20: the client cannot know, the database does. Prepared statements too (`before`)."""
    name = f"{write}-{before}"
    connection = connect(made.database_url)
    for number in range(before):
        write(connection, f"{name}-told-{number}")
    cuts = len(made.to_postgres.cuts)
    made.to_postgres.cut_after_commit()
    connection.execute("SELECT count(*) FROM public.notes")
    with pytest.raises(psycopg.OperationalError):
        write(connection, name)
    connection.close()
    wait_for(lambda: name in notes(made), 5, "the commit is durable")
    assert made.to_postgres.cuts[cuts:] == [os.getpid()]
    with connect(made.database_url) as again:
        write(again, f"{name}-again")


def test_a_hole_lets_nothing_through_until_it_is_closed(made: Rig) -> None:
    with connect(made.database_url) as connection:
        assert made.to_postgres.hole(True) == [os.getpid()]
        connection.pgconn.send_query(b"SELECT 1")
        connection.pgconn.flush()
        time.sleep(0.5)
        connection.pgconn.consume_input()
        assert connection.pgconn.is_busy()
        made.to_postgres.hole(False)
        wait_for(lambda: not _busy(connection), 5, "the answer arrives late")
        assert _value(connection) == b"1"


def _busy(connection: Session) -> int:
    connection.pgconn.consume_input()
    return connection.pgconn.is_busy()


def _value(connection: Session) -> bytes | None:
    result = connection.pgconn.get_result()
    assert result is not None
    assert connection.pgconn.get_result() is None
    return result.get_value(0, 0)


def test_a_cut_ends_connections_and_a_refusal_new_ones(made: Rig) -> None:
    connection = connect(made.database_url)
    assert made.to_postgres.cut() == [os.getpid()]
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    broker = Redis.from_url(made.broker_url, retry=None)
    assert broker.ping()
    made.to_valkey.refuse(True)
    made.to_valkey.cut()
    with pytest.raises(RedisError):
        broker.ping()
    made.to_valkey.refuse(False)
    assert broker.ping()
    broker.close()


def test_a_slow_wire_is_slow(made: Rig) -> None:
    with Redis.from_url(made.broker_url) as broker:
        broker.ping()
        made.to_valkey.slow(0.2)
        begin = time.monotonic()
        broker.ping()
        assert time.monotonic() - begin >= 0.4
        made.to_valkey.slow(0)


def test_a_paused_server_does_not_answer(made: Rig) -> None:
    with connect(made.direct_database_url) as connection:
        stopped = made.postgres.pause()
        assert connection.info.backend_pid in stopped
        assert all((seen := look(pid)) and seen.state == "T" for pid in stopped)
        connection.pgconn.send_query(b"SELECT 1")
        time.sleep(0.3)
        assert _busy(connection)
        made.postgres.go_on()
        wait_for(lambda: not _busy(connection), 5, "it answers again")
        assert _value(connection) == b"1"


@pytest.mark.parametrize("empty", [True, False])
def test_a_broker_comes_back_at_its_port_with_or_without_its_keys(made: Rig, empty: bool) -> None:
    with Redis.from_url(made.direct_broker_url) as broker:
        broker.set("kept", 1)
        # The append-only file is synced once a second.
        broker.execute_command("WAITAOF", 1, 0, 5000)
    made.valkey.restart(empty=empty)
    with Redis.from_url(made.broker_url) as broker:
        assert (broker.get("kept") is None) is empty


@pytest.mark.parametrize("how", ["kill", "stop_immediately"])
def test_a_database_keeps_what_it_acknowledged(made: Rig, how: str) -> None:
    with connect(made.direct_database_url) as connection:
        connection.execute("INSERT INTO public.notes VALUES (%s)", (how,))
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    pids = getattr(made.postgres, how)()
    assert pids
    assert gone(pids, 1)
    made.postgres.start()
    assert how in notes(made)


_HARNESS = """
import sys, time
from taskplatform.verify.rig.rig import rig
with rig("pipelines.demo") as made:
    made.worker("left", "-c", "1").wait_ready()
    print(made.folder, flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_running_when_the_rig_is_killed() -> None:
    root = Path(__file__).parents[3]
    harness = subprocess.Popen(
        [sys.executable, "-c", _HARNESS],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
    )
    assert harness.stdout is not None
    with harness.stdout:
        folder = Path(harness.stdout.readline().decode().strip())
    found = remains(folder)
    assert len(found) > 5
    os.kill(harness.pid, signal.SIGKILL)
    harness.wait()
    wait_for(lambda: not remains(folder), 15, "nothing is left")
    assert gone(found, 1)


def test_nothing_is_left_when_a_rig_ends_in_spite_of_what_was_done_to_it() -> None:
    with rig("pipelines.demo") as one:
        worker = one.worker("stopped", "-c", "1")
        worker.wait_ready()
        worker.pause_all()
        one.postgres.pause()
        one.valkey.pause()
        found = remains(one.folder)
        assert set(worker.pids()) <= set(found)
    assert remains(one.folder) == []
    assert not one.folder.exists()
