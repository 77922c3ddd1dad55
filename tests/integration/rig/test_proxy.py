"""The proxy does what it says to connections."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest

from taskplatform.storage.connection import Session, connect
from taskplatform.verify.rig.connected import owners
from taskplatform.verify.rig.proxy import Proxy
from tests.acceptance.processes import wait_for

WRITE = "INSERT INTO taskplatform.canvases (run_id, tail) VALUES (gen_random_uuid(), %s::json)"


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    parts = urlsplit(database_url)
    with closing(Proxy(parts.hostname or "", parts.port or 0, postgres=True)) as made:
        yield made


@pytest.fixture
def url(database_url: str, proxy: Proxy) -> str:
    """The database, through the proxy."""
    return database_url.replace(f":{urlsplit(database_url).port}/", f":{proxy.port}/")


def notes(database_url: str) -> list[str]:
    with connect(database_url, pinned=False) as connection:
        return [
            str(one)
            for (one,) in connection.execute("SELECT tail::text FROM taskplatform.canvases")
        ]


def in_a_block(connection: Session, note: str) -> None:
    with connection.transaction():
        connection.execute(WRITE, (note,))


def in_one_trip(connection: Session, note: str) -> None:
    with connection.pipeline():
        connection.execute(WRITE, (note,))


def with_many_answers(connection: Session, note: str) -> None:
    with connection.pipeline():
        connection.execute("SELECT repeat('x', 100000)")
        connection.execute(WRITE, (note,))


@pytest.mark.parametrize("write", [in_a_block, in_one_trip, with_many_answers])
def test_a_commit_is_durable_though_its_answer_is_lost(
    write: Callable[[Session, str], None], url: str, database_url: str, proxy: Proxy
) -> None:
    """F20: the client cannot know it, the database does."""
    connection = connect(url)
    connection.execute("SELECT 1")
    proxy.cut_after_commits(1)
    with pytest.raises(psycopg.OperationalError):
        write(connection, '"lost"')
    connection.close()
    assert proxy.commits_to_cut == 0
    wait_for(lambda: notes(database_url) == ['"lost"'], 5, "it is committed")
    with closing(connect(url)) as again:
        write(again, '"told"')
    assert sorted(notes(database_url)) == ['"lost"', '"told"']


def test_what_only_reads_is_not_cut(url: str, proxy: Proxy) -> None:
    proxy.cut_after_commits(1)
    with closing(connect(url)) as connection:
        connection.execute("SELECT count(*) FROM taskplatform.canvases")
    assert proxy.commits_to_cut == 1


def test_a_hole_lets_nothing_through_until_it_is_closed(url: str, proxy: Proxy) -> None:
    with closing(connect(url)) as connection:
        proxy.mode = "hole"
        connection.pgconn.send_query(b"SELECT 1")
        connection.pgconn.flush()
        time.sleep(0.3)
        assert busy(connection)
        proxy.mode = "pass"
        wait_for(lambda: not busy(connection), 5, "the answer arrives late")


def test_whose_connections_pass_is_known(url: str, proxy: Proxy) -> None:
    with closing(connect(url)) as one, closing(connect(url)) as other:
        seen = [
            c.execute(
                "SELECT client_port FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            ).fetchone()
            for c in (one, other)
        ]
        clients = proxy.clients()
        assert {row[0] for row in seen if row} == set(clients)
        assert owners(clients.values()) == {port: {os.getpid()} for port in clients.values()}
    assert owners([]) == {}


def busy(connection: Session) -> int:
    connection.pgconn.consume_input()
    return connection.pgconn.is_busy()


def test_a_cut_resets_all_connections_and_a_refusal_new_ones(url: str, proxy: Proxy) -> None:
    with closing(connect(url)) as one, closing(connect(url)) as other:
        assert proxy.cut() == 2
        for each in (one, other):
            with pytest.raises(psycopg.OperationalError):
                each.execute("SELECT 1")
    proxy.mode = "refuse"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    proxy.mode = "pass"
    with closing(psycopg.connect(url)) as again:
        assert again.execute("SELECT 1").fetchone() == (1,)


def test_a_slow_wire_holds_up_both_ways(url: str, proxy: Proxy) -> None:
    with closing(connect(url)) as connection:
        proxy.delay = 0.2
        begin = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - begin >= 0.4
        proxy.delay = 0.0
