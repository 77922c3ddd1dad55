"""Debounce and batches at the front door, and where they meet claims and open transactions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session as AlchemySession

from taskplatform.client.pipeline import Pipeline, aenqueue_many, enqueue_many
from taskplatform.client.run import Run
from taskplatform.core.batching import Batch
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.debounce import Debounce
from taskplatform.core.ids import uuid7
from taskplatform.errors import DeclarationError, InvalidInput
from taskplatform.storage import clock
from taskplatform.storage.claim import claim, claim_run
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.settlement import End, Keep
from tests.integration.door.conftest import Order, Worker


@pytest.fixture
def bursts(orders: Pipeline[Order]) -> Pipeline[Order]:
    """A debounced pipeline."""
    pipeline = Pipeline(
        "bursts",
        input=Order,
        key="number",
        run_timeout="1h",
        debounce=Debounce("10s", max_wait="25s"),
    )

    @pipeline.step
    def check(input: Order) -> str:
        return input.number

    @pipeline.step
    def price(input: Order, check: str) -> int:
        return input.amount

    return pipeline


@pytest.fixture
def letters(orders: Pipeline[Order]) -> Pipeline[Order, int]:
    """A pipeline whose first step is executed for three runs of a user."""
    pipeline = Pipeline(
        "letters", input=Order, output=int, batch=Batch(size=3, timeout="10m", key="user")
    )

    @pipeline.step
    def check(input: list[Order]) -> list[int]:
        return [one.amount for one in input]

    return pipeline


def order(amount: int, number: str = "a") -> Order:
    return Order(number=number, amount=amount)


def why(run: Run[Any]) -> str:
    (wait,) = run.view().waits
    return wait.why


def amount(run: Run[Any]) -> int:
    return int(run.view().input["amount"])


def test_every_door_leads_into_the_burst(
    bursts: Pipeline[Order], connection: Session, database_url: str, worker: Worker
) -> None:
    """C4: one run of all calls, on the last input; its own time limit moves with it."""
    run = bursts.enqueue(order(1))
    limits = "SELECT extract(epoch FROM deadline - due_at) FROM taskplatform.runs"
    assert run.status == "scheduled"
    assert why(run).startswith("it waits for the end of a burst: each enqueue of key 'a' joins")
    assert [one.id for one in enqueue_many(bursts, [order(2), order(3)])] == [run.id] * 2
    assert amount(run) == 3
    clock.advance(connection, 9)

    async def from_async_code() -> list[Run[Any]]:
        found = [await bursts.aenqueue(order(4))]
        async with await psycopg.AsyncConnection.connect(database_url) as mine:
            return found + await aenqueue_many(bursts, [order(5), order(6)], connection=mine)

    assert [one.id for one in asyncio.run(from_async_code())] == [run.id] * 3
    assert amount(run) == 6
    with psycopg.connect(database_url) as mine:
        assert bursts.enqueue(order(7), connection=mine).id == run.id
        mine.rollback()
    assert amount(run) == 6
    ((apart,),) = connection.execute(limits).fetchall()
    assert apart == 3600
    forced = bursts.enqueue(order(0), force=True)
    assert forced.id != run.id
    assert forced.status == "queued"
    assert bursts.enqueue(order(0), key=None).status == "queued"
    clock.advance(connection, 9)
    release_due(connection)
    assert run.refresh().status == "scheduled"
    clock.advance(connection, 2)
    release_due(connection)
    one = worker.claim(run.id)
    assert b'"amount":6' in one.input
    assert worker.commit(one, "check", b'"a"', Keep("price", mark=True))
    following = bursts.enqueue(order(8))
    assert following.id != run.id
    assert worker.fail(one, "price", End("failed", error=b'{"type":"E","message":"m"}'))
    # The older one goes on with its own input, beside the burst.
    assert run.retry().status == "queued"
    assert bursts.enqueue(order(9)).id == following.id
    assert following.cancel()
    assert bursts.enqueue(order(10)).id not in (run.id, following.id, forced.id)


def test_an_enqueue_meets_a_claim_before_it_or_after_it(
    bursts: Pipeline[Order],
    sessions: Callable[[], Session],
    blocked: Callable[[Session, Session], None],
    worker: Worker,
    database_url: str,
) -> None:
    """C4, G4: a run that is being claimed has begun, and one that is joined waits to be claimed."""
    mine, other = sessions(), sessions()
    run = bursts.enqueue(order(1))
    clock.advance(mine, 11)
    release_due(mine)
    late = NewRun(
        id=uuid7(),
        pipeline="bursts",
        first_step="check",
        queue="taskplatform",
        input=b'{"number":"a","amount":2}',
        key="a",
        debounce=bursts.debounce,
        delay=10,
    )
    with ThreadPoolExecutor(1) as pool:
        with mine.transaction():
            (held,) = claim_run(mine, holder=worker.holder, after=0, run_id=run.id)
            worker.epoch = held.epoch
            asked = pool.submit(enqueue, other, [late])
            blocked(mine, other)
        (made,) = asked.result(10)
    assert made.created
    assert amount(run) == 1
    # A transaction that joins a run keeps it from being claimed, and has not to be waited for.
    clock.advance(mine, 11)
    release_due(mine)
    with closing(connect(database_url)) as caller, caller.transaction():
        assert bursts.enqueue(order(3), connection=caller).id == made.id
        assert claim(
            mine,
            holder=Worker(mine).holder,
            after=0,
            queues=["taskplatform"],
            pipelines=["bursts"],
            limit=9,
            costs={},
            budget=1.0,
        ) == ([], False)
    one = worker.claim(made.id)
    assert b'"amount":3' in one.input


def test_a_run_that_has_begun_ends_beside_a_transaction_that_follows_it(
    bursts: Pipeline[Order], database_url: str, worker: Worker
) -> None:
    """G5: an open transaction of a caller's that has taken the key over is nothing to wait for."""
    run = bursts.enqueue(order(1))
    clock.advance(worker.connection, 11)
    release_due(worker.connection)
    one = worker.claim(run.id)
    worker.connection.execute("SET lock_timeout = '1s'")
    with psycopg.connect(database_url) as mine:
        following = bursts.enqueue(order(2), connection=mine)
        assert worker.commit(one, "check", b'"a"', End("succeeded", output_step="check"))
    assert run.refresh().status == "succeeded"
    assert following.refresh().status == "scheduled"


def test_a_burst_of_many_clients_is_one_run(bursts: Pipeline[Order], connection: Session) -> None:
    """C4: nobody's input is lost on the way: the one that is stored was the last to be written."""
    with ThreadPoolExecutor(10) as pool:
        runs = list(pool.map(lambda n: bursts.enqueue(order(n)), range(60)))
    assert len({run.id for run in runs}) == 1
    ((version,),) = connection.execute("SELECT version FROM taskplatform.runs").fetchall()
    assert version == 60


def test_what_a_burst_or_a_batch_does_not_go_with_is_told(
    bursts: Pipeline[Order], letters: Pipeline[Order, int]
) -> None:
    """At the earliest door: at the declaration, or at the call, with nothing stored."""
    for options in ({"delay": 5}, {"hold": True}):
        for pipeline in (bursts, letters):
            with pytest.raises(InvalidInput, match="says when a run is due"):
                pipeline.enqueue(order(1), **options)
    with pytest.raises(InvalidInput, match="calls share a run"):
        bursts.enqueue(order(1), request_id="r")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"debounce": Debounce(1), "batch": Batch(2, 1)}, "both say when"),
        ({"debounce": Debounce(1), "idempotency": 1}, "leave it out with debounce"),
        ({"debounce": Debounce(1), "singleton": "replace"}, "leave singleton= out"),
        ({"debounce": Debounce(1, key="user"), "key": "number"}, "are one key"),
        ({"debounce": "10s"}, "give Debounce"),
        ({"batch": Batch(2, 1), "concurrency": Concurrency(2)}, "to the step instead"),
        ({"batch": 5}, "give Batch"),
    ]
    for number, (given, why) in enumerate(wrong):
        with pytest.raises(DeclarationError, match=why):
            Pipeline(f"wrong-{number}", input=Order, **given)
    for make, why in (
        (lambda: Debounce("1m", max_wait="10s"), "not shorter than the period"),
        (lambda: Debounce(0), "above zero"),
        (lambda: Batch(0, 1), "from 1 to 1000"),
        (lambda: Batch(2, "soon"), "no duration"),
    ):
        with pytest.raises(DeclarationError, match=why):
            make()


def test_a_full_batch_is_ready_by_whichever_door_its_last_run_came(
    letters: Pipeline[Order, int], connection: Session, database_url: str
) -> None:
    """C4: of a user each; forced ones go by themselves; in a session its commit counts."""

    def mail(user: str | None, number: int = 1) -> Order:
        return Order(number=str(number), amount=number, user=user)

    def ready() -> int:
        ((many,),) = connection.execute(
            "SELECT count(*) FROM taskplatform.work WHERE due_at IS NULL"
        ).fetchall()
        return int(many)

    runs = [letters.enqueue(mail("u")), letters.enqueue(mail("v"))]
    assert {run.status for run in runs} == {"scheduled"}
    assert why(runs[0]) == "it waits for its batch, in which there are 1 of 3"
    enqueue_many(letters, [mail("u"), mail(None)])
    assert ready() == 0
    letters.enqueue(mail("u"))
    assert ready() == 1
    assert letters.enqueue(mail("u"), force=True).status == "queued"
    assert ready() == 2
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with AlchemySession(engine) as session, session.begin():
        enqueue_many(letters, [mail("v"), mail("v")], connection=session)
        assert ready() == 2
    assert ready() == 3
    engine.dispose()
    with psycopg.connect(database_url) as mine:
        enqueue_many(letters, [mail("w")] * 3, connection=mine)
    assert ready() == 3
    # Nobody tells of such a commit: the next enqueue does, or the time of the first.
    letters.enqueue(mail("w"))
    assert ready() == 4
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: letters.enqueue(mail("many", n)), range(30)))
    assert ready() == 14
