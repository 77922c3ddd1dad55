"""Everything at once: claims, commits, cancels, retries, dispatches, rescues and marks.

No deadlock, no error that escapes, and the tables hold what they promise.
"""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from taskplatform.core.ids import uuid7
from taskplatform.errors import Conflict, KeyTaken
from taskplatform.storage import leases
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed, claim
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.running import mark
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Settlement
from taskplatform.supervisor.rescue import Loss, Rescuer, lost_holders
from tests.integration.races.stage import (
    FREE,
    Stage,
    fail,
    give_back,
    keep,
    pass_on,
    succeed,
    wait,
)

ACTS = 60
KEYS = [f"key-{number}" for number in range(12)]
AFTER = {"a": "b", "b": "c"}
RESCUER = Rescuer("rescuer", "q", 60.0)


class Player:
    """One thread that does all that workers, supervisors and people do, at random."""

    def __init__(self, stage: Stage, seed: int, acknowledged: set[UUID]) -> None:
        self.session: Session = stage.session()
        self.random = random.Random(seed)
        self.holder = stage.holder()
        self.held: list[Claimed] = []
        self.last_epoch = 0
        self.runs: list[UUID] = []
        self.acknowledged = acknowledged

    def play(self) -> None:
        acts: list[Callable[[], object]] = [
            self.enqueue,
            self.claim,
            self.claim,
            self.settle,
            self.settle,
            self.settle,
            self.cancel,
            self.retry,
            self.dispatch,
            self.mark,
            self.rescue,
        ]
        for _ in range(ACTS):
            self.random.choice(acts)()
        self.settle()

    def enqueue(self) -> None:
        keys = self.random.sample(KEYS, 4)
        rows = [
            NewRun(id=uuid7(), pipeline="p", first_step="a", queue="q", input=b"{}", key=key)
            for key in keys
        ]
        self.runs += [one.id for one in enqueue(self.session, rows)]

    def claim(self) -> None:
        taken, _ = claim(
            self.session,
            holder=self.holder,
            after=self.last_epoch,
            queues=["q"],
            pipelines=["p"],
            limit=self.random.choice([1, 4]),
            costs=self.random.choice([FREE, {}]),
            budget=1.0,
        )
        self.held += taken
        self.last_epoch = max([self.last_epoch, *(one.epoch for one in taken)])

    def settle(self) -> None:
        held, self.held = self.held, []
        self.random.shuffle(held)
        made = [self.settlement(one) for one in held]
        accepted = settle(self.session, made, worker=str(self.holder))
        for one, then in zip(held, made, strict=True):
            if one.work_id in accepted and type(then.then).__name__ == "Keep":
                one.step = AFTER[one.step]
                self.held.append(one)

    def settlement(self, one: Claimed) -> Settlement:
        choices: list[Callable[[Claimed], Settlement]] = [
            fail,
            give_back,
            lambda one: wait(one, 0.0),
            lambda one: wait(one, 60.0),
            lambda one: wait(one, float("inf"), "parked"),
        ]
        if one.step in AFTER:
            choices += [
                lambda one: keep(one, AFTER[one.step], mark=self.random.random() < 0.5),
                lambda one: pass_on(one, AFTER[one.step]),
            ] * 3
        else:
            choices += [succeed] * 4
        return self.random.choice(choices)(one)

    def cancel(self) -> None:
        if self.runs:
            run = self.random.choice(self.runs)
            if cancel(self.session, run):
                self.acknowledged.add(run)

    def retry(self) -> None:
        for run in self.random.sample(self.runs, min(3, len(self.runs))):
            try:
                retry(self.session, run, self.plan)
            except (Conflict, KeyTaken):
                continue

    def plan(self, _: str, done: object) -> Next:
        return Next(next(step for step in "abc" if step not in done), "q")  # type: ignore[operator]

    def dispatch(self) -> None:
        release_due(self.session)

    def mark(self) -> None:
        for one in self.held:
            mark(self.session, work_id=one.work_id, epoch=one.epoch, started_ago=0.01)

    def rescue(self) -> None:
        # Somebody's lease is over, perhaps one's own: then one is the zombie.
        self.session.execute(
            "UPDATE taskplatform.holders SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE id = (SELECT id FROM taskplatform.holders WHERE random() < 0.3 LIMIT 1)"
        )
        for loss in lost_holders(self.session):
            RESCUER.rescue(self.session, loss)
        leases.renew(self.session, [self.holder])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
def test_six_sessions_do_everything_at_once(stage: Stage, seed: int) -> None:
    """G3, G5, G7, G10, F5, F42: the invariants hold, and the house is swept in the end."""
    cancelled: set[UUID] = set()
    players = [Player(stage, 100 * seed + number, cancelled) for number in range(6)]
    start = threading.Barrier(6)

    def play(player: Player) -> None:
        start.wait()
        player.play()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(play, players))

    assert not stage.wrong()
    runs = {run for player in players for run in player.runs}
    assert {run for run in runs if stage.status(run) == "cancelled"} == cancelled
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    stage.connection.execute("SELECT pg_stat_force_next_flush()")
    assert stage.value(deadlocks) == 0

    # G5: whatever is left goes on: held work by rescue, waiting work by time or by hand.
    for player in players:
        RESCUER.rescue(stage.connection, Loss(player.holder, "interrupted", None, certain=True))
    stage.connection.execute("UPDATE taskplatform.holders SET lease_until = '-infinity'")
    for loss in lost_holders(stage.connection):
        RESCUER.rescue(stage.connection, loss)
    for run in runs:
        if stage.status(run) == "waiting":
            retry(stage.connection, run, lambda *_: Next("a", "q"))
    while batch := stage.take():
        made = [
            pass_on(one, AFTER[one.step]) if one.step in AFTER else succeed(one) for one in batch
        ]
        assert len(settle(stage.connection, made, worker="sweeper")) == len(batch)
    assert not stage.wrong()
    assert {stage.status(run) for run in runs} <= {"succeeded", "failed", "cancelled"}
