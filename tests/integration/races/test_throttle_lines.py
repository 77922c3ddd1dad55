"""The lines of throttles: let go at the moment when there is room, and never forgotten."""

from collections.abc import Sequence
from math import inf
from uuid import UUID

import pytest

from taskplatform.core.disposition import InLine
from taskplatform.storage import clock, gates, limits, throttle_lines, throttles
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import outlook, release_due
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import PutBack, Settlement
from taskplatform.storage.throttles import Grant, Refusal, Wanted
from tests.integration.races.stage import Stage, wait_until

LIMIT, WINDOW = 3, 60.0
API = Wanted("api", "", LIMIT, WINDOW)


@pytest.fixture(autouse=True)
def worker(stage: Stage) -> None:
    """Somebody serves what stands in line."""
    stage.serve("q", "p")


def ask_all(stage: Stage, wanted: Wanted = API) -> tuple[list[UUID], list[UUID]]:
    """Whoever is ready asks: those who may start, and those who stand in line by that."""
    started, waiting = [], []
    for one in stage.take():
        answer = throttles.ask(stage.connection, [wanted], work_id=one.work_id)
        if isinstance(answer, Grant):
            started.append(one.run_id)
            continue
        line = InLine(wanted.gate, wanted.weight, wanted.share)
        then = PutBack(one.step, one.queue, inf, "throttle", "throttle api", line=line)
        settle(
            stage.connection,
            [Settlement(one.work_id, one.epoch, one.run_id, then)],
            worker="w",
        )
        waiting.append(one.run_id)
    return started, waiting


def next_gate(stage: Stage) -> float | None:
    return outlook(stage.connection, ["q"], ["p"]).next_gate


def let_go(stage: Stage) -> int:
    went = throttle_lines.let_go(stage.connection)
    release_due(stage.connection)
    return went


def test_a_line_moves_on_when_the_window_does(stage: Stage) -> None:
    """Q22: the clock is told when the head may go; as many go as there is room, and get it."""
    runs = stage.runs(8)
    assert ask_all(stage) == (runs[:3], runs[3:])
    told = next_gate(stage)
    assert told is not None
    assert 59 < told < 62
    assert let_go(stage) == 0

    clock.advance(stage.connection, told + 0.5)
    assert let_go(stage) == 3
    # A newcomer joins behind them, and takes nothing of what is kept free.
    (late,) = stage.runs(1)
    assert ask_all(stage) == (runs[3:6], [late])
    clock.advance(stage.connection, WINDOW * 1.02)
    assert let_go(stage) == 3
    assert ask_all(stage) == ([*runs[6:], late], [])
    assert gates.lines(stage.connection, "throttle") == []
    clock.advance(stage.connection, WINDOW * 1.02)
    assert let_go(stage) == 0
    assert next_gate(stage) is None


def test_room_that_comes_while_somebody_looks_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q22: between the look for room and the next moment that is noted time passes."""
    short = Wanted("api", "", 1, 0.5)
    stage.runs(2)
    ask_all(stage, short)
    stage.connection.execute("UPDATE taskplatform.throttle_buckets SET next_at = clock_timestamp()")

    def slowly(connection: Session, rooms: Sequence[gates.Room]) -> dict[str, int]:
        assert [one.taken for one in rooms] == [1]
        wait_until(lambda: not isinstance(probe(stage, short), Refusal))
        return {}

    monkeypatch.setattr(gates, "release", slowly)
    assert throttle_lines.let_go(stage.connection) == 0
    monkeypatch.undo()

    moment = next_gate(stage)
    assert moment is not None
    assert moment <= 0
    assert let_go(stage) == 1


def probe(stage: Stage, wanted: Wanted) -> Grant | Refusal | None:
    """Whether the window has room, without taking it."""
    row = stage.connection.execute(
        "SELECT bool_and(at < clock_timestamp() - make_interval(secs => %s))"
        " FROM taskplatform.throttle_slices",
        (wanted.window * 1.02,),
    ).fetchone()
    return None if row == (True,) else Refusal(wanted, 0.0)


def test_what_was_let_go_and_lost_is_let_go_again(stage: Stage) -> None:
    """G5: a kill between the line and the grant costs its place two seconds, and no grant."""
    runs = stage.runs(5)
    ask_all(stage)
    clock.advance(stage.connection, WINDOW * 1.02)
    assert let_go(stage) == 2
    lost = stage.take()
    assert [one.run_id for one in lost] == runs[3:]
    stage.runs(3)
    assert len(ask_all(stage)[0]) == 1
    assert next_gate(stage) is not None

    clock.advance(stage.connection, gates.HOLD)
    throttle_lines.wake(stage.connection, [API.gate])
    assert let_go(stage) == 2
    assert len(ask_all(stage)[0]) == 2
    for one in lost:
        answer = throttles.ask(stage.connection, [API], work_id=one.work_id)
        assert isinstance(answer, Refusal)


def test_a_line_without_a_moment_is_found(stage: Stage) -> None:
    """G5: whoever joins after everybody has looked; and a limit that was raised by hand."""
    stage.runs(5)
    ask_all(stage)
    stage.connection.execute("UPDATE taskplatform.throttle_buckets SET next_at = NULL")
    throttle_lines.wake(stage.connection, [API.gate])
    assert let_go(stage) == 0
    told = next_gate(stage)
    assert told is not None
    assert told > 50
    limits.put(stage.connection, "throttle", "api", 4, None)
    assert let_go(stage) == 1
    throttles.close(stage.connection, API, 30.0, "by hand")
    limits.put(stage.connection, "throttle", "api", 9, None)
    assert let_go(stage) == 0
    closed = next_gate(stage)
    assert closed is not None
    assert 25 < closed <= 30
    throttles.open_again(stage.connection, "api")
    assert let_go(stage) == 1
