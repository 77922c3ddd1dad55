"""Asking for runs: what is checked first, what is stored, when it is due, who is rung."""

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskplatform.celery.ringer import Ringer
from taskplatform.client import ringer
from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.reading import get_run, list_runs
from taskplatform.errors import InvalidInput, Unavailable
from taskplatform.storage.connection import Session, close_pools
from taskplatform.storage.dispatch import release_due
from taskplatform.testing.clock import advance

Orders = Pipeline[Any]


def test_a_run_is_stored_with_what_its_input_says(
    orders: Orders, connection: Session, rung: Counter[str]
) -> None:
    """Q12, Q13, W21: the input canonical; owner and priority from its fields; work is ready."""
    run = orders.enqueue('{"number": "1", "user": "ann", "weight": 300}')

    view = get_run(run.id).view()
    assert (view.status, view.owner, view.priority, view.key) == ("queued", "ann", 300, "1")
    assert view.input == {
        "number": "1",
        "amount": 1,
        "user": "ann",
        "weight": 300,
        "again": False,
    }
    work = connection.execute(
        "SELECT run_id, pipeline, step, queue, priority, due_at, holder FROM taskplatform.work"
    ).fetchall()
    assert work == [(run.id, "orders", "check", "taskplatform", 300, None, None)]
    ringer.RINGER.flush(10)
    assert rung == {"taskplatform": 1}


def test_arguments_win_over_the_input(orders: Orders) -> None:
    """Q13, W21."""
    run = orders.enqueue(
        {"number": "1", "user": "ann", "weight": 1}, key="k", owner="bob", priority=-300
    )

    view = run.view()
    assert (view.key, view.owner, view.priority) == ("k", "bob", -300)


@pytest.mark.parametrize(
    ("input", "options", "named"),
    [
        ({"amount": 1}, {}, "number"),
        ({"number": "1", "amount": "x"}, {}, "amount"),
        ("{", {}, "JSON"),
        ("\udcff", {}, "JSON"),
        ({"number": "a\0b"}, {}, "number"),
        ({"number": ""}, {}, "key"),
        ({"number": "1"}, {"delay": -1}, "delay"),
        ({"number": "1"}, {"delay": "soon"}, "delay"),
        ({"number": "1"}, {"delay": float("nan")}, "delay"),
        ({"number": "1"}, {"delay": 1e300}, "delay"),
        ({"number": "1"}, {"at": datetime(2030, 1, 1)}, "time zone"),
        ({"number": "1"}, {"at": "tomorrow"}, "at="),
        ({"number": "1"}, {"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)}, "both"),
        ({"number": "1"}, {"priority": 2**31}, "priority"),
        ({"number": "1"}, {"priority": 1.5}, "priority"),
        ({"number": "1"}, {"key": "x" * 10_000}, "key"),
        ({"number": "1"}, {"request_id": ""}, "request_id"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_stored(
    orders: Orders, input: Any, options: dict[str, Any], named: str
) -> None:
    """W12: at once, naming the field."""
    with pytest.raises(InvalidInput, match=named):
        orders.enqueue(input, **options)

    assert list_runs() == []


def test_one_bad_input_of_many_stores_none(orders: Orders) -> None:
    """W12: it is named by its place."""
    with pytest.raises(InvalidInput, match=r"input 1: .*number"):
        enqueue_many(orders, [{"number": "1"}, {}, {"number": "3"}])

    assert list_runs() == []


def test_a_delayed_run_is_due_by_the_databases_clock(
    orders: Orders, connection: Session, rung: Counter[str]
) -> None:
    """Q11: in N minutes; nobody is rung for it now."""
    run = orders.enqueue({"number": "1"}, delay="5m")

    assert run.status == "scheduled"
    row = connection.execute(
        "SELECT w.due_at = r.due_at, w.due_at - r.created_at FROM taskplatform.work w"
        " JOIN taskplatform.runs r ON r.id = w.run_id"
    ).fetchone()
    assert row is not None
    assert row[0]
    assert abs(row[1].total_seconds() - 300) < 1
    advance(299)
    assert release_due(connection) == {}
    advance(1)
    assert release_due(connection) == {"taskplatform": 1}
    assert run.refresh().status == "queued"
    ringer.RINGER.flush(10)
    assert rung == {}


def test_a_run_for_a_moment(orders: Orders) -> None:
    """Q11: a moment in the past is now."""
    moment = datetime.now(UTC) + timedelta(hours=3)

    later = orders.enqueue({"number": "1"}, at=moment)
    past = orders.enqueue({"number": "2"}, at=datetime(2020, 1, 1, tzinfo=UTC))
    now = orders.enqueue({"number": "3"}, delay=0)

    assert (later.status, later.due_at) == ("scheduled", moment)
    assert (past.status, past.due_at, now.status) == ("queued", None, "queued")


def test_thousands_come_back_in_input_order(
    orders: Orders, connection: Session, rung: Counter[str]
) -> None:
    """Q21: work is claimed in the order of the call."""
    runs = enqueue_many(orders, ({"number": str(number)} for number in range(2500)))

    stored = connection.execute(
        "SELECT r.id, r.key FROM taskplatform.work w JOIN taskplatform.runs r ON r.id = w.run_id"
        " ORDER BY w.id"
    ).fetchall()
    assert stored == [(run.id, str(number)) for number, run in enumerate(runs)]
    ringer.RINGER.flush(10)
    assert rung == {"taskplatform": 2500}


def test_no_input_is_no_run(orders: Orders) -> None:
    """Q20."""
    assert enqueue_many(orders, []) == []


def test_a_broker_that_is_away_is_the_callers_least_worry(
    orders: Orders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Q20, F15: enqueue neither waits nor fails; an outage is logged once."""

    def hang(_: object) -> None:
        time.sleep(0.05)
        raise Unavailable("no answer")

    monkeypatch.setattr(ringer, "RINGER", Ringer(hang))
    start = time.monotonic()
    for number in range(20):
        orders.enqueue({"number": str(number)})
        if number % 5 == 4:
            ringer.RINGER.flush(10)
    assert time.monotonic() - start < 5

    assert [one.message for one in caplog.records if "broker" in one.message] == [
        "the broker cannot be reached (no answer): runs are stored and start a little later"
    ]


def test_rings_are_gathered_while_one_is_under_way() -> None:
    """W22: few commands to the broker."""
    heard: list[dict[str, int]] = []

    def slow(queues: Any) -> None:
        heard.append(dict(queues))
        time.sleep(0.2)

    bell = Ringer(slow)
    for _ in range(100):
        bell.ring("a")
        bell.ring("b", 2)

    assert bell.flush(10)
    assert len(heard) <= 3
    assert sum((Counter(one) for one in heard), Counter()) == {"a": 100, "b": 200}


def test_a_forked_child_enqueues_and_rings_by_itself(
    orders: Orders, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q10: neither the pool nor the ringer of the parent is used after a fork."""
    note = tmp_path / "rung"

    def write_down(queues: object) -> None:
        with note.open("a") as file:
            file.write(f"{os.getpid()} {queues}\n")

    monkeypatch.setattr(ringer, "RINGER", Ringer(write_down))
    orders.enqueue({"number": "parent"})
    ringer.RINGER.flush(10)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            orders.enqueue({"number": "child"})
            code = 0 if ringer.RINGER.flush(10) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert orders.enqueue({"number": "child"}).id in [one.id for one in list_runs()]
    ringer.RINGER.flush(10)
    lines = [line.split()[0] for line in note.read_text().splitlines()]
    assert lines == [str(os.getpid()), str(child)]


def test_a_database_that_is_away_is_said_to_be(
    orders: Orders, front_door: Callable[[str], None]
) -> None:
    """W11: fast, with the reason."""
    front_door("postgresql://nobody@127.0.0.1:1/nothing")
    start = time.monotonic()

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1.*refused"):
        orders.enqueue({"number": "1"})

    assert time.monotonic() - start < 3


def test_a_database_without_tables_says_what_to_do(
    orders: Orders, empty_database_url: str, front_door: Callable[[str], None]
) -> None:
    """C2."""
    front_door(empty_database_url)

    with pytest.raises(Unavailable, match="taskplatform db upgrade"):
        orders.enqueue({"number": "1"})


def test_connections_that_were_cut_are_replaced(orders: Orders, connection: Session) -> None:
    """W11: the database was restarted between two calls."""
    first = orders.enqueue({"number": "1"})
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'taskplatform client' AND datname = current_database()"
    )

    assert orders.enqueue({"number": "1"}).id == first.id


def test_a_database_that_only_reads_is_said_to_be_away_until_it_writes(
    orders: Orders, connection: Session
) -> None:
    """W11: another server is the primary now, or somebody has set it so; nothing is kept of it."""
    (name,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    close_pools()
    with pytest.raises(Unavailable, match="read-only"):
        orders.enqueue({"number": "1"})
    connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')

    assert orders.enqueue({"number": "1"}).status == "queued"
