"""Runs of every shape under load, while children and workers are killed and servers cut off."""

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from taskplatform import Run, enqueue_many, get_run, send_event
from tests.acceptance.conftest import Ledger
from tests.acceptance.nemesis import Nemesis
from tests.acceptance.processes import wait_for, worker
from tests.acceptance.shaped import Batch
from tests.acceptance.stormy import storm
from tests.integration.races.shape_facts import wrong
from tests.integration.races.stage import Stage

BATCHES, BATCH, ITEMS = 18, 3, 8
OPEN = "SELECT count(*) FROM taskplatform.runs WHERE finished_at IS NULL"
PARKED = "SELECT id FROM taskplatform.runs WHERE reason = 'parked'"
MATCHED = """
SELECT count(*), count(DISTINCT event_id), count(event_id) FROM taskplatform.waits
"""
ONCE = {"begin", "joined", "end", *(f"pick:{item}" for item in range(ITEMS))}
UNDONE = ["undo-joined", "undo-pick", "undo-begin"]


@pytest.mark.timeout(240)
def test_no_branch_is_lost(env: dict[str, str], ledger: Ledger, log: Path, tmp_path: Path) -> None:
    """[X], G3-G5: items, joins, children, events and compensations once, but for those in hand."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    env = {**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.stormy"}
    logs = [log, tmp_path / "two.log", tmp_path / "three.log"]
    for path in logs:
        path.touch()
    runs: list[Run[bool]] = []
    load = threading.Thread(target=_load, args=(runs, ledger, seed))
    with (
        worker(env, logs[0], "-c", "3", name="one") as one,
        worker(env, logs[1], "-c", "3", name="two") as two,
        psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database,
    ):
        load.start()
        nemesis = Nemesis([one, two], env, seed)
        nemesis.rage(seconds=7)
        one.kill_all()
        nemesis.times.append(time.monotonic_ns())
        with worker(env, logs[2], "-c", "3", name="three") as three:
            other = Nemesis([two, three], env, seed + 1)
            other.rage(seconds=7)
            load.join()
            print(dict(nemesis.done + other.done))

            def ended() -> bool:
                # Who was in hand at three kills waits for a person.
                for (run,) in database.execute(PARKED).fetchall():
                    get_run(run).retry()
                return database.execute(OPEN).fetchone() == (0,)

            wait_for(ended, 120, "all runs ended")
    stage = Stage(env["TASKPLATFORM_DATABASE_URL"])
    try:
        assert not wrong(stage)
        assert stage.rows(MATCHED) == [(len(runs),) * 3]
        assert stage.value("SELECT count(*) FROM taskplatform.runs") == 2 * len(runs)
        assert stage.value("SELECT count(*) FROM taskplatform.work") == 0
    finally:
        stage.close()
    assert len(runs) == BATCHES * BATCH
    _judge(runs, ledger, sorted(nemesis.times + other.times))


def _judge(runs: Sequence[Run[bool]], ledger: Ledger, faults: Sequence[int]) -> None:
    by_order: dict[str, dict[str, list[int]]] = {}
    for id, what, _, at in ledger.lines():
        by_order.setdefault(id, {}).setdefault(what, []).append(int(at))
    for number, run in enumerate(runs):
        run.refresh()
        done = by_order[str(number)]
        fails = number % 3 == 0
        assert run.status == ("failed" if fails else "succeeded")
        assert set(done) == ONCE | (set(UNDONE) if fails else set())
        assert fails or run.output is True
        if fails:
            assert sorted(UNDONE, key=lambda what: done[what][0]) == UNDONE
        assert set(by_order[f"{number}-kid"]) == {"help-out", "tidy-up"}
    twice = [
        (id, what, times)
        for id, done in by_order.items()
        for what, times in done.items()
        if len(times) > 1
    ]
    print(f"{len(twice)} bodies were in hand at a fault")
    for id, what, times in twice:
        in_hand = [any(-0.5e9 < fault - at < 3e9 for fault in faults) for at in times[:-1]]
        assert all(in_hand), (id, what)


def _load(runs: list[Run[bool]], ledger: Ledger, seed: int) -> None:
    chance = random.Random(seed)
    unapproved: list[str] = []
    for batch in range(BATCHES):
        orders = [
            Batch(
                ledger=ledger.path,
                id=str(number),
                seconds=chance.choice([0, 0, 0.02, 0.1]),
                items=list(range(ITEMS)),
                do="fail" if number % 3 == 0 else "",
            )
            for number in range(batch * BATCH, (batch + 1) * BATCH)
        ]
        runs.extend(enqueue_many(storm, orders))
        unapproved += [order.id for order in orders]
        for id in chance.sample(unapproved, len(unapproved) // 2):
            send_event("storm.approved", {"id": id})
            unapproved.remove(id)
        time.sleep(0.5)
    for id in unapproved:
        send_event("storm.approved", {"id": id})
