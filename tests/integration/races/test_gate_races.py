"""Gates: who stands in line is let go by rank, as many as there is room for, and never lost."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from math import inf
from uuid import UUID

import pytest

from taskplatform.core.disposition import InLine
from taskplatform.storage import clock, gates, pauses
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.gates import Room
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import PutBack, Settlement
from taskplatform.supervisor.gates import Gates
from taskplatform.supervisor.session import Database
from tests.integration.races.stage import Stage, succeed

COSTS = {"p.a": 0.0, "x.a": 0.0}
GATE = gates.gate_of("concurrency", "api", "a")
PLACE = InLine(GATE)


@pytest.fixture(autouse=True)
def worker(stage: Stage) -> None:
    """Somebody serves what stands in line."""
    stage.serve("q", "p")


def in_line(one: Claimed, line: InLine, delay: float = inf) -> Settlement:
    then = PutBack(one.step, one.queue, delay, "concurrency", "a place at the API", line=line)
    return Settlement(one.work_id, one.epoch, one.run_id, then)


def stand(stage: Stage, runs: int, line: InLine = PLACE, **options: object) -> list[UUID]:
    """So many runs stand in line, in their order."""
    made = stage.runs(runs, **options)
    queues, pipelines = [str(options.get("queue", "q"))], [str(options.get("pipeline", "p"))]
    claimed = stage.take(queues=queues, pipelines=pipelines, costs=COSTS)
    assert len(claimed) == runs
    settle(stage.connection, [in_line(one, line) for one in claimed], worker="w")
    return made


def let_go(stage: Stage, most: int, taken: int = 0) -> list[UUID]:
    """Let go as many as there is room for; who is ready by that, in the order of claims."""
    gates.release(stage.connection, [Room(GATE, most, taken)])
    release_due(stage.connection)
    return [one.run_id for one in stage.take(queues=["q", "r"], pipelines=["p", "x"], costs=COSTS)]


def test_a_line_is_let_go_by_rank_and_holds_nothing_meanwhile(stage: Stage) -> None:
    """W13, Q22: higher priority first, then the oldest; a waiting run has no holder."""
    low = stand(stage, 3)
    high = stand(stage, 2, priority=5)
    assert stage.value("SELECT count(*) FROM taskplatform.work WHERE holder IS NOT NULL") == 0
    assert not stage.take()
    assert not stage.wrong()

    assert let_go(stage, 3) == [*high, low[0]]
    assert let_go(stage, 3, 3) == []
    assert let_go(stage, 4, 3) == [low[1]]
    assert set(stage.rows("SELECT gate FROM taskplatform.work WHERE holder IS NOT NULL")) == {
        (None,)
    }


def test_tenants_take_turns_by_what_they_have_used_and_by_weight(stage: Stage) -> None:
    """W13: one tenant's long line does not make another's first run wait for it."""
    execute = stage.connection.execute

    def tenant(lane: str, runs: int, priority: int = 0) -> list[UUID]:
        made = stand(stage, runs, priority=priority)
        execute("UPDATE taskplatform.work SET lane = %s WHERE run_id = ANY (%s)", (lane, made))
        return made

    def gone(most: int) -> list[UUID]:
        gates.release(stage.connection, [Room(GATE, most)])
        execute("UPDATE taskplatform.work SET lane = '' WHERE gate IS NULL")
        release_due(stage.connection)
        return sorted(one.run_id for one in stage.take())

    many, few = tenant("a", 8), tenant("b", 2)
    assert gone(4) == sorted([*many[:2], *few])

    more = tenant("b", 4)
    execute("INSERT INTO taskplatform.weights VALUES ('b', 3)")
    assert gone(4) == sorted([many[2], *more[:3]])

    # Who has used more waits until the other has, too; a point of priority is worth a minute.
    execute(
        "INSERT INTO taskplatform.lanes (queue, lane, vtime) VALUES ('q', 'a', 1), ('q', 'b', 9)"
    )
    assert gone(2) == many[3:5]
    (urgent,) = tenant("b", 1, priority=5)
    assert gone(2) == sorted([urgent, more[3]])
    assert gone(9) == many[5:]


def test_a_heavy_head_is_waited_for_and_not_overtaken(stage: Stage) -> None:
    """Q8: weights; and a share of the limit that is left to others."""
    (heavy,) = stand(stage, 1, InLine(GATE, weight=4))
    light = stand(stage, 2, InLine(GATE, weight=1))
    (modest,) = stand(stage, 1, InLine(GATE, weight=1, share=0.5))

    assert let_go(stage, 10, 7) == []
    assert let_go(stage, 10, 5) == [heavy, light[0]]
    assert let_go(stage, 10, 5) == [light[1]]
    assert let_go(stage, 10, 4) == [modest]


def test_a_newcomer_does_not_overtake_and_who_was_let_go_has_a_place(stage: Stage) -> None:
    """W13: at least its rank; a reservation is for one, once, and for a while."""
    stand(stage, 2)
    stage.runs(1)
    stage.runs(1, priority=1)
    high, low = stage.take()
    ask = stage.connection

    assert gates.may_enter(ask, GATE, high.work_id) == (True, 0)
    assert gates.may_enter(ask, GATE, low.work_id) == (False, 0)
    gates.release(ask, [Room(GATE, 1)])
    release_due(ask)
    (first,) = stage.take()
    assert gates.may_enter(ask, GATE, first.work_id) == (True, 0)
    assert gates.may_enter(ask, GATE, high.work_id) == (True, 1)
    gates.used(ask, first.work_id, ["throttle:other:"])
    assert gates.may_enter(ask, GATE, high.work_id) == (True, 1)
    gates.used(ask, first.work_id, [GATE])
    assert gates.may_enter(ask, GATE, high.work_id) == (True, 0)
    gates.release(ask, [Room(GATE, 1)])
    assert gates.may_enter(ask, GATE, low.work_id) == (True, 1)
    clock.advance(ask, gates.HOLD)
    assert gates.may_enter(ask, GATE, low.work_id) == (True, 0)


def test_what_nobody_claims_keeps_its_queue_back_and_no_other(stage: Stage) -> None:
    """G5: the workers of one queue are busy, the line's other queues go on."""
    stage.serve("r", "x")
    busy = stand(stage, 3)
    other = stand(stage, 2, queue="r", pipeline="x")

    def ready() -> list[UUID]:
        rows = stage.rows(
            "SELECT run_id FROM taskplatform.work WHERE due_at IS NULL AND holder IS NULL"
            " ORDER BY id"
        )
        return [run for (run,) in rows]

    gates.release(stage.connection, [Room(GATE, 1)])
    release_due(stage.connection)
    clock.advance(stage.connection, 2 * gates.HOLD + 1)
    gates.sweep(stage.connection)
    gates.release(stage.connection, [Room(GATE, 1)])
    release_due(stage.connection)
    assert ready() == [busy[0], other[0]]

    assert len(stage.take()) == 1
    gates.sweep(stage.connection)
    gates.release(stage.connection, [Room(GATE, 1)])
    release_due(stage.connection)
    assert ready() == [busy[1], other[0]]


def test_what_no_worker_serves_or_is_paused_is_in_nobodys_way(stage: Stage) -> None:
    """G5, W14: it keeps its place and takes none from who can go on."""
    unserved = stand(stage, 2, queue="r", pipeline="x")
    served = stand(stage, 2)

    assert let_go(stage, 1) == [served[0]]
    stage.serve("r", "x")
    pauses.pause(stage.connection, "x", None)
    assert let_go(stage, 1) == [served[1]]
    pauses.resume(stage.connection, "x")
    assert let_go(stage, 2) == unserved


def test_two_who_let_go_at_once_take_different_ones(stage: Stage) -> None:
    """Several supervisors: nobody waits for the other, and none goes twice."""
    stand(stage, 4)
    with closing(stage.session()) as other, other.transaction():
        assert gates.release(other, [Room(GATE, 2)]) == {GATE: 2}
        assert gates.release(stage.connection, [Room(GATE, 2)]) == {GATE: 2}
    assert stage.value("SELECT count(DISTINCT work_id) FROM taskplatform.reservations") == 4


def test_a_cancel_in_line_and_a_line_that_ends_by_time(stage: Stage) -> None:
    """G10, W15: the run's own time limit is stood in line, too."""
    gone, *rest = stand(stage, 3)
    assert cancel(stage.connection, gone)
    (late,) = stage.runs(1)
    (claimed,) = stage.take()
    settle(stage.connection, [in_line(claimed, InLine(GATE), 0.0)], worker="w")
    release_due(stage.connection)
    assert [one.run_id for one in stage.take()] == [late]
    assert let_go(stage, 5) == rest
    clock.advance(stage.connection, 3 * gates.HOLD)
    gates.sweep(stage.connection)
    assert stage.value("SELECT count(*) FROM taskplatform.reservations") == 0


def test_the_supervisor_finds_what_was_lost(stage: Stage) -> None:
    """G5: nobody has said that there is room: each line is looked at, whatever its name."""
    others = [gates.gate_of("concurrency", "api", key) for key in ("", "ä", "b:c", "z")]
    for gate in others:
        stand(stage, 1, InLine(gate))
    stand(stage, 1, InLine(gates.gate_of("breaker", "api")))
    seen: Counter[str] = Counter()
    rung: list[dict[str, int]] = []

    def keeper(connection: Session, wanted: Sequence[str]) -> list[Room]:
        seen.update(wanted)
        return [Room(gate, 1) for gate in wanted if gate != others[0]]

    database = Database(stage.url, "s")
    assert Gates(database, rung.append, {"concurrency": keeper}).heal() >= 1.0

    assert seen == Counter(others)
    assert rung == [{"q": 3}]
    assert gates.lines(stage.connection, "concurrency") == [others[0]]
    assert gates.waiting(stage.connection, others[:2]) == {others[0]: 1, others[1]: 0}
    assert len(gates.lines(stage.connection, "breaker")) == 1
    database.ask(lambda connection: connection.close(), None)


def test_a_place_in_line_is_told(stage: Stage) -> None:
    """Q9: how many are before it, and of how much weight."""
    stand(stage, 2, InLine(GATE, weight=3))
    (last,) = stand(stage, 1, InLine(GATE, weight=2))
    (told,) = gates.standing(stage.connection, last)
    assert (told.gate, told.before, told.weight_before, told.weight) == (GATE, 2, 6, 2)
    assert told.waiting_for == "a place at the API"
    for one in stage.take():
        settle(stage.connection, [succeed(one)], worker="w")


def test_who_was_let_go_and_is_cancelled_leaves_no_place_behind(stage: Stage) -> None:
    """W13, A5: the next of the line has it at once, not when the reservation is void."""
    first, second = stand(stage, 2)
    gates.release(stage.connection, [Room(GATE, 1)])
    assert stage.value("SELECT count(*) FROM taskplatform.reservations") == 1
    assert cancel(stage.connection, first)
    assert stage.value("SELECT count(*) FROM taskplatform.reservations") == 0
    assert let_go(stage, 1) == [second]
