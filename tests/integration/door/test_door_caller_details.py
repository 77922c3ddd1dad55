"""What callers with connections of their own may rely on, besides what all six kinds show."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.adapt import Dumper, Loader
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import (
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session as AlchemySession
from sqlalchemy.orm import scoped_session, sessionmaker

from taskplatform.client import ringer, within
from taskplatform.client.pipeline import Pipeline, aenqueue_many, enqueue_many
from taskplatform.client.reading import list_runs
from taskplatform.errors import (
    InvalidInput,
    KeyBusy,
    NotCommitted,
    RequestIdReused,
    RunNotFound,
    UnusableConnection,
)
from taskplatform.storage.connection import Session

Orders = Pipeline[Any]


class Shouting(Loader):
    def load(self, data: Any) -> str:
        return bytes(data).decode().upper()


class Broken(Dumper):
    def dump(self, obj: Any) -> bytes:
        raise AssertionError("the caller's own dumper was used")


def test_the_callers_adapters_rows_and_cursors_are_neither_used_nor_changed(
    database_url: str, orders: Orders
) -> None:
    """Through a cursor of ours."""
    with psycopg.connect(
        database_url, row_factory=dict_row, cursor_factory=psycopg.ClientCursor, prepare_threshold=0
    ) as connection:
        connection.adapters.register_loader("text", Shouting)
        connection.adapters.register_dumper(UUID, Broken)
        run = orders.enqueue({"number": "1"}, connection=connection)
        assert run.status == "queued"

        assert connection.execute("SELECT 'a'::text AS b").fetchone() == {"b": "A"}
        assert (connection.row_factory, connection.prepare_threshold) == (dict_row, 0)
        assert connection.cursor_factory is psycopg.ClientCursor


def test_inside_of_a_block_and_of_a_pipeline_of_psycopg(database_url: str, orders: Orders) -> None:
    """The caller's transaction blocks and pipeline mode go on working around it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.pipeline(), connection.transaction():
            cursor = connection.execute("SELECT 1")
            kept = orders.enqueue({"number": "1"}, connection=connection)
            assert cursor.fetchone() == (1,)
        with connection.transaction(force_rollback=True):
            orders.enqueue({"number": "2"}, connection=connection)

    assert [run.id for run in list_runs()] == [kept.id]


def test_many_are_stored_whole_or_not_at_all(
    database_url: str, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when there are so many that they take several statements."""
    monkeypatch.setattr("taskplatform.client.chunks._ROWS", 3)
    owner = orders.enqueue({"number": "7"})
    with psycopg.connect(database_url) as other, psycopg.connect(database_url) as connection:
        orders.enqueue({"number": "8"}, connection=other)
        connection.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(KeyBusy):
            enqueue_many(orders, [{"number": str(one)} for one in range(10)], connection=connection)
        other.rollback()
        connection.commit()
        assert [run.id for run in list_runs()] == [owner.id]

        numbers = [*range(10), 0, 7]
        runs = enqueue_many(
            orders, [{"number": str(one)} for one in numbers], connection=connection
        )
        connection.commit()

    assert (runs[7].id, runs[11].id, runs[10].id) == (owner.id, owner.id, runs[0].id)
    assert {run.id for run in list_runs()} == {run.id for run in runs}


def test_many_in_an_async_connection(database_url: str, orders: Orders) -> None:
    """Without one, too."""

    async def ask() -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            runs = await aenqueue_many(
                orders, [{"number": "1"}, {"number": "2"}, {"number": "1"}], connection=connection
            )
            assert runs[0].id == runs[2].id
            assert list_runs() == []
        assert len(await aenqueue_many(orders, [{"number": "1"}, {"number": "3"}])) == 2

    asyncio.run(ask())
    assert sorted(str(run.key) for run in list_runs()) == ["1", "2", "3"]


def test_nothing_can_be_done_to_a_run_before_the_commit(database_url: str, orders: Orders) -> None:
    """Cancel, retry, replay and output say what wait says."""
    with psycopg.connect(database_url) as connection:
        run = orders.enqueue({"number": "1"}, connection=connection)
        for act in (
            run.cancel,
            run.retry,
            run.replay,
            lambda: run.output,
            lambda: next(run.stream()),
        ):
            with pytest.raises(NotCommitted):
                act()
        connection.rollback()
        for act in (run.cancel, run.replay):
            with pytest.raises(RunNotFound, match="rolled back"):
                act()


def test_a_snapshot_from_before_the_owner_is_told_to_begin_anew(
    database_url: str, orders: Orders
) -> None:
    """In repeatable read the owner cannot be seen; the transaction goes on all the same."""
    with psycopg.connect(database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT 1")
        owner = orders.enqueue({"number": "1"})
        with pytest.raises(KeyBusy, match="snapshot"):
            orders.enqueue({"number": "1"}, connection=connection)
        mine = orders.enqueue({"number": "2"}, connection=connection)
        connection.commit()

        assert orders.enqueue({"number": "1"}, connection=connection).id == owner.id
    assert {run.id for run in list_runs()} == {owner.id, mine.id}


def test_a_role_without_rights_is_told_what_it_needs(
    database_url: str, orders: Orders, connection: Session
) -> None:
    """And its transaction goes on."""
    connection.execute("CREATE ROLE poor_app")
    try:
        with psycopg.connect(database_url) as caller:
            caller.execute("SET LOCAL ROLE poor_app")
            with pytest.raises(UnusableConnection, match="grant"):
                orders.enqueue({"number": "1"}, connection=caller)
            assert caller.execute("SELECT 1").fetchone() == (1,)
    finally:
        connection.execute("DROP ROLE poor_app")


@contextmanager
def unusable(kind: str, url: str) -> Iterator[Any]:
    """Something that is no connection in a transaction."""
    with psycopg.connect(url) as connection:
        if kind == "closed":
            connection.close()
        elif kind == "failed":
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT 1/0")
        elif kind == "cursor":
            yield connection.cursor()
            return
        yield connection


@pytest.mark.parametrize(
    ("kind", "words"),
    [("closed", "closed"), ("failed", "roll it back"), ("cursor", "psycopg 3, or")],
)
def test_what_cannot_be_used_says_why(
    kind: str, words: str, database_url: str, orders: Orders
) -> None:
    """UnusableConnection names the remedy."""
    with (
        unusable(kind, database_url) as connection,
        pytest.raises(UnusableConnection, match=words),
    ):
        orders.enqueue({"number": "1"}, connection=connection)


def test_another_driver_or_an_engine_is_refused(database_url: str, orders: Orders) -> None:
    """The message says which drivers work."""
    sqlite = create_engine("sqlite://")
    with sqlite.connect() as connection:
        with pytest.raises(UnusableConnection, match=r"sqlite3\.Connection.*psycopg 3"):
            orders.enqueue({"number": "1"}, connection=connection)
        assert not connection.in_transaction()
    with pytest.raises(UnusableConnection, match="Engine of SQLAlchemy"):
        orders.enqueue({"number": "1"}, connection=sqlite)
    sqlite.dispose()


def test_blocking_and_async_connections_are_not_mixed_up(database_url: str, orders: Orders) -> None:
    """Each is told to use the other call."""

    async def both() -> None:
        connection = await psycopg.AsyncConnection.connect(database_url)
        async with connection:
            with pytest.raises(UnusableConnection, match="aenqueue"):
                orders.enqueue({"number": "1"}, connection=connection)
        with (
            psycopg.connect(database_url) as blocking,
            pytest.raises(UnusableConnection, match="call enqueue"),
        ):
            await orders.aenqueue({"number": "1"}, connection=blocking)

    asyncio.run(both())


def test_a_session_rings_when_it_has_committed(
    database_url: str, orders: Orders, rung: Counter[str]
) -> None:
    """Once, for all its runs, and not at a savepoint's release."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    session = scoped_session(sessionmaker(engine))
    with session.begin_nested():
        orders.enqueue({"number": "1"}, connection=session)
    orders.enqueue({"number": "2"}, connection=session)
    assert ringer.RINGER.flush()
    assert not rung

    session.commit()
    assert ringer.RINGER.flush()
    assert rung == {"taskplatform": 2}

    session.commit()
    session.remove()
    engine.dispose()
    assert ringer.RINGER.flush()
    assert rung == {"taskplatform": 2}


def test_an_async_session_rings_when_it_has_committed(
    database_url: str, orders: Orders, rung: Counter[str]
) -> None:
    """Of a scoped session, too; a rollback rings nobody."""

    async def ask() -> None:
        engine = create_async_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
        session = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        await orders.aenqueue({"number": "1"}, connection=session)
        await session.rollback()
        assert ringer.RINGER.flush()
        assert not rung
        await orders.aenqueue({"number": "2"}, connection=session())
        await session.commit()
        await session.remove()
        await engine.dispose()

    asyncio.run(ask())
    assert ringer.RINGER.flush()
    assert rung == {"taskplatform": 1}
    assert [run.key for run in list_runs()] == ["2"]


def test_a_server_that_was_started_again_is_still_the_platforms(
    database_url: str, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was remembered of it is asked again before the caller is refused."""
    monkeypatch.setattr(within, "_identities", {database_url: "started before"})
    with psycopg.connect(database_url) as connection:
        orders.enqueue({"number": "1"}, connection=connection)

    assert len(list_runs()) == 1


def test_an_input_that_does_not_fit_touches_no_connection(orders: Orders) -> None:
    """InvalidInput comes first."""
    with pytest.raises(InvalidInput):
        orders.enqueue({}, connection=object())


def test_callers_that_take_keys_in_opposite_order_are_not_aborted(
    database_url: str, orders: Orders, sessions: Callable[[], Session]
) -> None:
    """A deadlock of keys is KeyBusy for one of them, and its transaction goes on."""

    async def ask(first: str, second: str, met: asyncio.Barrier) -> bool:
        connection = await psycopg.AsyncConnection.connect(database_url)
        async with connection:
            await orders.aenqueue({"number": first}, connection=connection)
            await met.wait()
            try:
                await orders.aenqueue({"number": second}, connection=connection)
            except KeyBusy:
                await connection.rollback()
                return False
            await connection.commit()
            return True

    async def both() -> list[bool]:
        met = asyncio.Barrier(2)
        return list(await asyncio.gather(ask("1", "2", met), ask("2", "1", met)))

    assert sorted(asyncio.run(both())) == [False, True]
    assert len(list_runs()) == 2


def test_a_cancelled_caller_leaves_its_transaction_usable(
    database_url: str, orders: Orders
) -> None:
    """Cancelled while it waits for a key: the savepoint is undone."""

    async def give_up() -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as holder:
            await orders.aenqueue({"number": "1"}, connection=holder)
            async with await psycopg.AsyncConnection.connect(database_url) as connection:
                await connection.execute("SELECT 1")
                asked = asyncio.create_task(orders.aenqueue({"number": "1"}, connection=connection))
                await until_blocked(holder, connection.info.backend_pid)
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
                await orders.aenqueue({"number": "2"}, connection=connection)
                await connection.commit()
            await holder.rollback()

    asyncio.run(give_up())
    assert [run.key for run in list_runs()] == ["2"]


async def until_blocked(mine: psycopg.AsyncConnection[Any], pid: int) -> None:
    """Return when that session waits for a lock."""
    for _ in range(2000):
        cursor = await mine.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,))
        row = await cursor.fetchone()
        if row and row[0]:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not wait")


def test_the_reused_request_id_is_of_this_transaction_too(
    database_url: str, orders: Orders
) -> None:
    """A request id that the same open transaction used counts."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with AlchemySession(engine) as session, session.begin():
        first = orders.enqueue({"number": "1"}, request_id="r", connection=session)
        again = orders.enqueue({"number": "1"}, request_id="r", connection=session)
        with pytest.raises(RequestIdReused):
            orders.enqueue({"number": "2"}, request_id="r", connection=session)
    engine.dispose()

    assert first.id == again.id
    assert [run.id for run in list_runs()] == [first.id]
