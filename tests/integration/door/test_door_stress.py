"""I8, I11: everybody does everything at once, and the tables agree in the end."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.reading import list_runs
from taskplatform.errors import Conflict
from taskplatform.storage import claim, leases
from taskplatform.storage.connection import Session
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import Attempt, End, Result, Settlement

SECONDS = 2.0
KEYS = [str(number) for number in range(8)]


def work(connection: Session, holder: int, stop: threading.Event, seed: int) -> None:
    """A worker that ends what it claims, well or badly, or leaves it waiting."""
    chance, epoch = random.Random(seed), 0
    while not stop.is_set():
        held, _ = claim.claim(
            connection,
            holder=holder,
            after=epoch,
            queues=["taskplatform"],
            pipelines=["orders"],
            limit=5,
            costs={"orders.check": 0.001},
            budget=0.005,
        )
        settlements = []
        for one in held:
            epoch = max(epoch, one.epoch)
            good = chance.random() < 0.5
            end = End(
                "succeeded" if good else "failed",
                output_step="check" if good else None,
                error=None if good else b'{"type":"E","message":"m","step":"check"}',
                owns_key=True,
                key_seconds=chance.choice([None, 0.01]),
            )
            settlements.append(
                Settlement(
                    one.work_id,
                    one.epoch,
                    one.run_id,
                    end,
                    result=Result("check", 1, 1, b'"x"', 0.0, 0.0) if good else None,
                    attempt=None if good else Attempt("check", "failed", None, 0.0),
                )
            )
        while settlements:
            # As workers do: a batch ends several keys, a call takes several.
            with suppress(psycopg.errors.DeadlockDetected):
                settle(connection, settlements, worker="w")
                break


def use(orders: Pipeline[Any], stop: threading.Event, seed: int, errors: Counter[str]) -> None:
    """A client that enqueues by key, and cancels, retries and replays what it finds."""
    chance = random.Random(seed)
    while not stop.is_set():
        try:
            inputs = [{"number": key} for key in chance.sample(KEYS, 3)]
            run = chance.choice(enqueue_many(orders, inputs))
            chance.choice([run.cancel, run.retry, run.replay, run.view, run.refresh])()
        except Conflict as error:
            errors[type(error).__name__] += 1


def test_the_tables_agree_after_a_brawl(
    orders: Pipeline[Any], sessions: Callable[[], Session], worker: Any
) -> None:
    """I8: one active run a key at most; I11: open runs have work, ended ones none."""
    stop = threading.Event()
    conflicts: Counter[str] = Counter()
    failures: list[BaseException] = []

    def guarded(target: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        def run() -> None:
            try:
                target(*arguments)
            except BaseException as error:
                failures.append(error)
                stop.set()

        return run

    jobs = [guarded(use, orders, stop, seed, conflicts) for seed in range(6)]
    for seed in range(2):
        session = sessions()
        row = session.execute("SELECT worker FROM taskplatform.holders").fetchone()
        assert row is not None
        holder = leases.register(session, worker=row[0], pid=1)
        jobs.append(guarded(work, session, holder, stop, seed))
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    stop.wait(SECONDS)
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
    check = sessions()
    assert len(list_runs(limit=500)) > 20
    active = "finished_at IS NULL"
    for question in (
        f"SELECT key FROM taskplatform.runs WHERE {active} AND NOT forced AND replay_of IS NULL"
        " AND key IS NOT NULL GROUP BY key HAVING count(*) > 1",
        f"SELECT id FROM taskplatform.runs r WHERE {active}"
        " AND NOT EXISTS (SELECT FROM taskplatform.work WHERE run_id = r.id)",
        "SELECT id FROM taskplatform.runs r WHERE finished_at IS NOT NULL"
        " AND EXISTS (SELECT FROM taskplatform.work WHERE run_id = r.id)",
        "SELECT key FROM taskplatform.keys k WHERE expires_at IS NULL AND NOT EXISTS"
        f" (SELECT FROM taskplatform.runs WHERE id = k.run_id AND {active})",
        f"SELECT id FROM taskplatform.runs r WHERE {active} AND NOT forced AND replay_of IS NULL"
        " AND key IS NOT NULL AND NOT EXISTS (SELECT FROM taskplatform.keys"
        " WHERE run_id = r.id AND expires_at IS NULL)",
    ):
        assert check.execute(question).fetchall() == [], question
