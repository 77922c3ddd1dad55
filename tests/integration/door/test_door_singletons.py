"""Singleton strategies: fifty clients want two hundred keys, and the database judges."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import get_args

import psycopg
import pytest

from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.core.dedup import Singleton
from taskplatform.core.ids import uuid7
from taskplatform.errors import DeclarationError, KeyBusy, KeyTaken
from taskplatform.storage.claim import claim
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.settle import settle
from taskplatform.storage.settlement import End, Settlement
from tests.integration.door.conftest import Order, Worker

CLIENTS, KEYS = 50, 200
# What a client is told, and a worker tries again after, where so many want so few rows.
BUSY = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
)

# Who is active, by a primary key of its own: a second active run of a key is an error of whoever
# makes it, whatever the platform believes.
JUDGE = """
CREATE TABLE public.active (pipeline text, key text, run uuid, PRIMARY KEY (pipeline, key));
CREATE TABLE public.ended (run uuid);
CREATE FUNCTION public.begins() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.active VALUES (NEW.pipeline, NEW.key, NEW.id); RETURN NULL; END $$;
CREATE FUNCTION public.ends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM public.active WHERE run = NEW.id; INSERT INTO public.ended VALUES (NEW.id);
    RETURN NULL; END $$;
CREATE TRIGGER begins AFTER INSERT ON taskplatform.runs FOR EACH ROW EXECUTE FUNCTION begins();
CREATE TRIGGER ends AFTER UPDATE ON taskplatform.runs FOR EACH ROW
    WHEN (NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL) EXECUTE FUNCTION ends();
"""


def row(key: str, singleton: Singleton = "return") -> NewRun:
    return NewRun(
        id=uuid7(),
        pipeline="orders",
        first_step="check",
        queue="q",
        input=b"{}",
        key=key,
        singleton=singleton,
    )


@pytest.fixture
def judged(connection: Session) -> Session:
    """The judge sits; a session that is its own."""
    connection.execute(JUDGE)
    return connection


def crowd(url: str, act: Callable[[Session, random.Random], None]) -> None:
    """Fifty clients at once, each on a connection of its own; raises what any of them raised."""
    barrier = threading.Barrier(CLIENTS)

    def client(number: int) -> None:
        with closing(connect(url, pinned=True)) as session:
            barrier.wait(30)
            act(session, random.Random(number))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


def test_fifty_clients_get_the_one_run_of_each_of_two_hundred_keys(
    database_url: str, judged: Session
) -> None:
    """Q14, G7: never two active runs of a key; the 49 others get its id."""
    answers: list[tuple[str, Enqueued]] = []

    def ask(session: Session, chance: random.Random) -> None:
        keys = [f"k{number}" for number in range(KEYS)]
        chance.shuffle(keys)
        while keys:
            some = [row(keys.pop()) for _ in range(min(len(keys), chance.choice([1, 1, 1, 7])))]
            found = zip(some, enqueue(session, some), strict=True)
            answers.extend((one.key or "", it) for one, it in found)

    crowd(database_url, ask)
    assert len(answers) == CLIENTS * KEYS
    made = {key: it.id for key, it in answers if it.created}
    assert len(made) == sum(it.created for _, it in answers) == KEYS
    assert all(it.id == made[key] for key, it in answers)
    stored = judged.execute("SELECT key, run FROM public.active").fetchall()
    assert dict(stored) == made


def test_takers_of_a_place_and_workers_leave_one_active_run(
    database_url: str, judged: Session
) -> None:
    """G7, C4: while runs begin and end, some clients take their places, and some only look."""
    stop = threading.Event()
    refused: Counter[str] = Counter()

    def ask(session: Session, chance: random.Random) -> None:
        for _ in range(12):
            strategy = chance.choice(get_args(Singleton))
            keys = chance.sample(range(20), chance.choice([1, 1, 3]))
            try:
                if chance.random() < 0.2:
                    with session.transaction():
                        enqueue(session, [row(f"k{key}", strategy) for key in keys])
                else:
                    enqueue(session, [row(f"k{key}", strategy) for key in keys])
            except (KeyTaken, KeyBusy, *BUSY) as error:
                refused[type(error).__name__] += 1

    def work() -> None:
        with closing(connect(database_url)) as session:
            worker, epoch = Worker(session), 0
            while not stop.is_set():
                held, _ = claim(
                    session,
                    holder=worker.holder,
                    after=epoch,
                    queues=["q"],
                    pipelines=["orders"],
                    limit=3,
                    costs={"orders.check": 0.001},
                    budget=0.01,
                )
                epoch = max([epoch, *(one.epoch for one in held)])
                ends = [
                    Settlement(one.work_id, one.epoch, one.run_id, End("failed", owns_key=True))
                    for one in held
                ]
                for _ in range(20 if ends else 0):
                    try:
                        settle(session, ends, worker="w")
                    except BUSY:
                        continue
                    break

    with ThreadPoolExecutor(2) as workers:
        working = [workers.submit(work) for _ in range(2)]
        try:
            crowd(database_url, ask)
        finally:
            stop.set()
        for one in working:
            one.result()
    ((wrong,),) = judged.execute(
        """
        SELECT count(*) FROM public.active a
        FULL JOIN (SELECT * FROM taskplatform.runs WHERE finished_at IS NULL) r ON r.id = a.run
        LEFT JOIN taskplatform.keys k ON k.run_id = r.id AND k.key = r.key
        WHERE a.run IS NULL OR r.id IS NULL OR k.run_id IS NULL OR k.expires_at IS NOT NULL
        """
    ).fetchall()
    assert wrong == 0
    statuses: dict[str, int] = dict(
        judged.execute("SELECT status, count(*) FROM taskplatform.runs GROUP BY 1").fetchall()
    )
    assert statuses["cancelled"] > 5
    assert refused["KeyTaken"] > 5


@pytest.fixture
def places(orders: Pipeline[Order]) -> dict[Singleton, Pipeline[Order]]:
    """A pipeline of each strategy."""
    made: dict[Singleton, Pipeline[Order]] = {}
    for strategy in ("return", "raise", "replace", "cancel-oldest"):
        made[strategy] = Pipeline(strategy, input=Order, key="number", singleton=strategy)

        @made[strategy].step
        def check(input: Order) -> int:
            return input.amount

    return made


@pytest.mark.parametrize("inside", [False, True])
def test_a_strategy_says_what_becomes_of_a_key_that_is_taken(
    places: dict[Singleton, Pipeline[Order]], worker: Worker, database_url: str, inside: bool
) -> None:
    """Q14, C4: before the active run has begun, once it has, by force; also in bulk, and inside."""
    with closing(connect(database_url)) as mine, mine.transaction():
        connection = mine if inside else None
        give = Order(number="a")
        for strategy in ("return", "raise"):
            first = places[strategy].enqueue(give)
            assert places[strategy].enqueue(give, force=True, connection=connection).id != first.id
            if strategy == "return":
                assert places[strategy].enqueue(give, connection=connection).id == first.id
            else:
                with pytest.raises(KeyTaken, match=str(first.id)):
                    places[strategy].enqueue(give, connection=connection)
                two = [Order(number="b"), give]
                with pytest.raises(KeyTaken, match="nothing was enqueued"):
                    enqueue_many(places[strategy], two, connection=connection)
                assert places[strategy].enqueue(two[0], connection=connection).status == "queued"
        first = places["replace"].enqueue(give)
        second = places["replace"].enqueue(give, connection=connection)
        assert second.id != first.id
        if not inside:
            assert first.refresh().status == "cancelled"
            worker.claim(second.id)
            assert places["replace"].enqueue(give).id == second.id
            assert second.refresh().status == "running"
        first = places["cancel-oldest"].enqueue(give)
        held = worker.claim(first.id)
        (second,) = enqueue_many(places["cancel-oldest"], [give], connection=connection)
        assert second.id != first.id
    assert first.refresh().status == "cancelled"
    assert not worker.commit(held, "check", b"1", End("succeeded", owns_key=True))
    assert second.refresh().status == "queued"


def test_what_does_not_go_together_is_told_at_once(orders: Pipeline[Order]) -> None:
    """The earliest door is the declaration."""
    with pytest.raises(DeclarationError, match="give one of return, raise, replace"):
        Pipeline("odd", input=Order, singleton="skip")  # type: ignore[arg-type]
