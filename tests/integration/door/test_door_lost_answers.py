"""L12: the connection is cut after COMMIT was sent; the same call gives the same run."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.reading import list_runs
from taskplatform.core.ids import uuid7
from taskplatform.endpoints import database_url as url_in_force
from taskplatform.storage.connection import Session, close_pools, connect
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun

Orders = Pipeline[Any]


class Proxy:
    """Stands between client and server; once armed, it eats the end of an answer and hangs up."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.armed = False
        self.eats = 65536
        self.cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        hang_up(client, server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                # The transaction's answer ends with ReadyForQuery: it is committed by now.
                if self.armed and data[-6:-1] == b"Z\0\0\0\5":
                    self.armed, self.cut = False, self.cut + 1
                    client.sendall(data[: -self.eats])
                    break
                client.sendall(data)
        hang_up(client, server)


def hang_up(*ends: socket.socket) -> None:
    for one in ends:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.fixture
def proxy(orders: Orders, database_url: str, front_door: Callable[[str], None]) -> Iterator[Proxy]:
    """The front door, with a proxy before the database."""
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    proxy = Proxy(parts.hostname, parts.port or 5432)
    userinfo = parts.netloc.rpartition("@")[0]
    url = urlunsplit(parts._replace(netloc=f"{userinfo}@127.0.0.1:{proxy.port}"))
    front_door(url)
    yield proxy
    close_pools()
    proxy.close()


@pytest.mark.parametrize("options", [{}, {"key": None}, {"request_id": "r"}])
def test_an_enqueue_whose_answer_is_lost_makes_one_run(
    orders: Orders, proxy: Proxy, connection: Session, options: dict[str, Any]
) -> None:
    """F20: it was committed; asked again, it answers with the same run, as queued."""
    orders.enqueue({"number": "0"})
    proxy.armed = True

    run = orders.enqueue({"number": "1"}, **options)

    assert proxy.cut == 1
    assert run.status == "queued"
    assert list_runs()[0].id == run.id
    assert connection.execute("SELECT count(*) FROM taskplatform.runs").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM taskplatform.work").fetchone() == (2,)


def test_a_thousand_whose_answer_is_lost_are_a_thousand(
    orders: Orders, proxy: Proxy, connection: Session
) -> None:
    """F20."""
    orders.enqueue({"number": "x"})
    proxy.armed = True

    runs = enqueue_many(orders, [{"number": str(number)} for number in range(1000)])

    assert proxy.cut == 1
    assert len({run.id for run in runs}) == 1000
    assert connection.execute("SELECT count(*) FROM taskplatform.runs").fetchone() == (1001,)


def test_cancel_retry_and_replay_survive_a_lost_answer(
    orders: Orders, proxy: Proxy, worker: Any, connection: Session
) -> None:
    """F20: each has happened once."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)

    proxy.armed = True
    assert run.retry().status == "queued"
    proxy.armed = True
    new = run.replay("price")
    proxy.armed = True
    assert run.cancel()

    assert proxy.cut == 3
    assert [one.id for one in list_runs()] == [new.id, run.id]
    assert connection.execute("SELECT run_id FROM taskplatform.work").fetchall() == [(new.id,)]


@pytest.mark.parametrize("eats", [6, 65536])
def test_an_answer_without_its_end_is_no_answer(orders: Orders, proxy: Proxy, eats: int) -> None:
    """G1: every statement was answered, but not the commit: that must not pass for a yes."""
    row = NewRun(
        id=uuid7(),
        pipeline="orders",
        first_step="check",
        queue="taskplatform",
        input=b"{}",
        key="1",
    )
    with closing(connect(url_in_force())) as connection:
        proxy.eats, proxy.armed = eats, True
        with pytest.raises(psycopg.OperationalError):
            enqueue(connection, [row])
