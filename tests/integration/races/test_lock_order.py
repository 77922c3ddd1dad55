"""Batches in any order never wait for each other in a circle.

Unordered ones did, in 166 of 240 tries. [X]
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from taskplatform.core.ids import uuid7
from taskplatform.storage.claim import Claimed
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Settlement
from tests.integration.races.stage import (
    Stage,
    fail,
    keep,
    pass_on,
    succeed,
    wait,
)

Made = Callable[[Claimed], Settlement]
ROUNDS = 200


def wait_a_minute(one: Claimed) -> Settlement:
    return wait(one, 60)


def go_on(one: Claimed) -> Settlement:
    return keep(one, "b")


def go_on_marked(one: Claimed) -> Settlement:
    return keep(one, "b", mark=True)


def to_the_next(one: Claimed) -> Settlement:
    return pass_on(one, "b")


def deadlocks(stage: Stage) -> int:
    """How many the database has seen; statistics of idle sessions are flushed within a second."""
    stage.connection.execute("SELECT pg_stat_force_next_flush()")
    return int(
        stage.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    )


def new_run(key: str) -> NewRun:
    return NewRun(id=uuid7(), pipeline="p", first_step="a", queue="q", input=b"{}", key=key)


@pytest.mark.parametrize("move", [go_on, succeed], ids=["work rows", "run rows"])
def test_commits_in_opposite_order_lock_in_one(stage: Stage, move: Made) -> None:
    """G3: held up at the row in the middle, neither has what the other will want."""
    runs = stage.runs(3)
    batch = stage.take()
    made = [move(one) for one in batch]
    one, other = stage.racer(), stage.racer()
    with stage.connection.transaction():
        for table, column in (("runs", "id"), ("work", "run_id")):
            stage.connection.execute(
                f"SELECT FROM taskplatform.{table} WHERE {column} = %s FOR UPDATE", (runs[1],)
            )
        first = one.start(settle, made, worker="a")
        second = other.start(settle, made[::-1], worker="b")
        assert one.blocked()
        assert other.blocked()

    assert first.result(20) | second.result(20) == {held.work_id for held in batch}
    assert deadlocks(stage) == 0


def test_two_commits_over_the_same_runs_in_opposite_order(stage: Stage) -> None:
    """G3: 200 times two settles of the same epochs at once: one of each pair wins, none dies."""
    size = 6
    moves: list[Made] = [go_on, go_on_marked, to_the_next, wait_a_minute, succeed, fail]
    stage.runs(ROUNDS * size)
    one, other = stage.racer(), stage.racer()
    meet = threading.Barrier(2)

    def commit(session: object, made: list[Settlement], worker: str) -> set[int]:
        meet.wait(20)
        return settle(session, made, worker=worker)  # type: ignore[arg-type]

    for number in range(ROUNDS):
        batch = stage.take(size)
        made = [moves[(number + place) % len(moves)](held) for place, held in enumerate(batch)]
        first = one.start(commit, made, worker="a")
        second = other.start(commit, made[::-1], worker="b")
        # Where the holder goes on, both are right; everywhere else one of them.
        left = {made.work_id for made in made if type(made.then).__name__ == "Keep"}
        both = first.result(20) & second.result(20)
        assert first.result() | second.result() == {held.work_id for held in batch}
        assert both == left

    assert not stage.wrong()
    assert deadlocks(stage) == 0


def test_ending_runs_beside_enqueuing_their_keys_again(stage: Stage) -> None:
    """Q14: an enqueue locks the keys it finds taken, in order; so does the end of their runs."""
    keys = ["k0", "k1", "k2", "k3"]
    ids = [one.id for one in enqueue(stage.connection, [new_run(key) for key in keys[::-1]])]
    batch = stage.take()
    assert [one.run_id for one in batch] == ids
    asking, ending = stage.racer(), stage.racer()
    with stage.connection.transaction():
        # Holds both up at the key in the middle: each has locked its way up to there.
        stage.connection.execute("SELECT FROM taskplatform.keys WHERE key = 'k2' FOR UPDATE")
        asked: Future[object] = asking.start(enqueue, [new_run(key) for key in keys])
        assert asking.blocked()
        ended = ending.start(settle, [succeed(one) for one in batch], worker="w")
        assert ending.blocked()

    assert len(asked.result(20)) == 4  # type: ignore[arg-type]
    assert ended.result(20) == {one.work_id for one in batch}
    assert not stage.wrong()
    assert deadlocks(stage) == 0


def test_keys_are_locked_in_the_order_of_their_code_points(stage: Stage) -> None:
    """Q14: not in that of the database's collation: enqueue sorts in Python."""
    keys = ["B", "a", "b", "é"]
    enqueue(stage.connection, [new_run(key) for key in ("a", "B", "é", "b")])
    batch = stage.take()
    ending = stage.racer()
    with stage.connection.transaction():
        stage.connection.execute("SELECT FROM taskplatform.keys WHERE key = 'b' FOR UPDATE")
        ended = ending.start(settle, [succeed(one) for one in batch], worker="w")
        assert ending.blocked()
        free = stage.rows("SELECT key FROM taskplatform.keys FOR UPDATE SKIP LOCKED")

    assert ended.result(20) == {one.work_id for one in batch}
    # Up to the one it waited for, in order, and none behind that.
    assert sorted(key for (key,) in free) == keys[2:]


def test_ends_and_marks_and_renewals_of_a_full_house(stage: Stage) -> None:
    """Eight sessions commit overlapping halves of one big batch: no deadlock, one winner each."""
    stage.runs(120)
    batch = stage.take()
    meet = threading.Barrier(8)

    def commit(number: int) -> set[int]:
        mine = [one for one in batch if (one.work_id + number) % 3]
        if number % 2:
            mine.reverse()
        session = stage.session()
        meet.wait(20)
        return settle(session, [succeed(one) for one in mine], worker=str(number))

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(commit, range(8)))

    assert sum(map(len, accepted)) == 120
    assert stage.value("SELECT count(*) FROM taskplatform.step_results") == 120
    assert not stage.wrong()
