"""Families and branches in batches of any order, in several sessions: nobody waits in a circle."""

import random
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from taskplatform.core import registry
from taskplatform.storage.cancel import cancel
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.orphans import cancel_children
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Settlement
from tests.integration.races.hand import QUEUE, Hand, send
from tests.integration.races.shape_facts import wrong
from tests.integration.races.shaped import Asked, declare
from tests.integration.races.stage import Stage

SESSIONS = 4
RUNS = 12
# Runs are cancelled while they are forked, wait, and end.
WAVES = 14


@pytest.mark.timeout(150)
@pytest.mark.parametrize("seed", [1, 2])
def test_parents_children_and_branches_settle_in_any_order(
    stage: Stage, hands: list[Hand], seed: int
) -> None:
    """[X]: while others cancel, send events and dispatch."""
    chance = random.Random(seed)
    for pipeline in declare():
        pipeline.finalize()
    for name in ("parent", "nested", "flat"):
        input = Asked(items=[1, 2, 3]).model_dump_json().encode()
        first = registry.get(name).steps[0].name
        stage.runs(RUNS, pipeline=name, first_step=first, queue=QUEUE, input=input)
    sessions = [stage.session() for _ in range(SESSIONS + 3)]
    with ThreadPoolExecutor(len(sessions)) as pool:

        def by(offered: list[Settlement]) -> set[int]:
            chance.shuffle(offered)
            shares = [offered[number::SESSIONS] for number in range(SESSIONS)]
            open_runs = [
                row[0]
                for row in stage.rows("SELECT id FROM taskplatform.runs WHERE finished_at IS NULL")
            ]
            some = chance.sample(open_runs, min(2, len(open_runs)))
            answers = [
                pool.submit(settling, session, share)
                for session, share in zip(sessions, shares, strict=False)
                if share
            ]
            others: list[Future[Any]] = [
                pool.submit(lambda: [cancel(sessions[-1], run) for run in some]),
                pool.submit(send, sessions[-2], "approved"),
                pool.submit(release_due, sessions[-3]),
            ]
            for other in others:
                other.result(30)
            return {id for answer in answers for id in answer.result(30)}

        for _ in range(WAVES):
            hands[0].take(100, True)
            while hands[0].claimed:
                hands[0].execute(chance.choices(["ok", "permanent"], [30, 1], k=40))
                hands[0].commit(by=by)
            cancel_children(stage.connection, all_runs(stage))
            assert not wrong(stage)
    stage.connection.execute("SELECT pg_stat_force_next_flush()")
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert stage.value(deadlocks) == 0


def all_runs(stage: Stage) -> list[UUID]:
    return [row[0] for row in stage.rows("SELECT id FROM taskplatform.runs")]


def settling(session: Session, share: list[Settlement]) -> set[int]:
    return settle(session, share, worker="w")
