"""Many callers with open transactions, the same few keys, and a worker that ends runs meanwhile."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.errors import KeyBusy
from taskplatform.storage.connection import Session, connect
from tests.integration.door.conftest import Worker

Orders = Pipeline[Any]
CALLERS = 8
ROUNDS = 25
KEYS = "abcd"


class Application:
    """A caller that enqueues in transactions of its own, and remembers what it was told."""

    def __init__(self, url: str, orders: Orders, seed: int) -> None:
        self.url = url
        self.orders = orders
        self.chance = random.Random(seed)
        self.promised: set[UUID] = set()
        self.busy = 0

    def run(self) -> None:
        """Enqueue, meet conflicts, commit or roll back."""
        with psycopg.connect(self.url) as connection:
            for number in range(ROUNDS):
                connection.execute("INSERT INTO kept VALUES (%s)", (number,))
                told = {one for _ in range(2) if (one := self.ask(connection))}
                connection.execute("INSERT INTO kept VALUES (%s)", (number,))
                if self.chance.random() < 0.3:
                    connection.rollback()
                else:
                    connection.commit()
                    self.promised |= told

    def ask(self, connection: psycopg.Connection[Any]) -> UUID | None:
        """One enqueue; None if the key was busy."""
        input = {"number": self.chance.choice(KEYS)}
        try:
            return self.orders.enqueue(input, connection=connection).id
        except KeyBusy:
            self.busy += 1
            return None


@pytest.mark.parametrize("seed", [1, 2])
def test_a_key_has_one_active_run_and_promises_are_kept(
    database_url: str, orders: Orders, connection: Session, seed: int
) -> None:
    """G7 with callers' transactions: whatever commits, rolls back or is busy."""
    connection.execute("CREATE TABLE kept (number integer)")
    callers = [Application(database_url, orders, seed * 100 + n) for n in range(CALLERS)]
    done = threading.Event()
    twice: list[Any] = []

    def end_runs() -> None:
        with connect(database_url) as session:
            worker = Worker(session)
            session.execute("SET lock_timeout = '500ms'")
            while not done.is_set():
                for (run,) in session.execute(
                    "SELECT id FROM taskplatform.runs WHERE finished_at IS NULL"
                ).fetchall():
                    # No caller's open transaction keeps the end of a run waiting.
                    worker.succeed(run)
                twice.extend(
                    session.execute(
                        "SELECT key FROM taskplatform.runs WHERE finished_at IS NULL"
                        " GROUP BY key HAVING count(*) > 1"
                    ).fetchall()
                )

    with ThreadPoolExecutor(CALLERS + 1) as threads:
        ending = threads.submit(end_runs)
        asking = [threads.submit(caller.run) for caller in callers]
        for one in asking:
            one.result()
        done.set()
        ending.result()

    stored = {id for (id,) in connection.execute("SELECT id FROM taskplatform.runs")}
    assert not twice
    assert set().union(*(caller.promised for caller in callers)) <= stored
    rows = Counter(number for (number,) in connection.execute("SELECT number FROM kept"))
    assert all(count % 2 == 0 for count in rows.values())
