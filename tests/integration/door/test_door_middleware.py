"""Middlewares of the application around an enqueue, by whichever door it comes."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from taskplatform.client.pipeline import Pipeline, aenqueue_many, enqueue_many
from taskplatform.client.reading import list_runs
from taskplatform.client.run import Run
from taskplatform.errors import DeclarationError, InvalidInput, MiddlewareError
from taskplatform.middleware import Enqueuing, own
from taskplatform.middleware.own import around_enqueue
from taskplatform.storage.connection import connect
from tests.integration.door.conftest import Order


@pytest.fixture(autouse=True)
def _none_stays() -> Iterator[None]:
    yield
    own.forget()


@pytest.mark.parametrize("inside", [False, True])
def test_they_stand_around_every_door_in_their_order(
    orders: Pipeline[Order], database_url: str, inside: bool
) -> None:
    """C4: outermost first; what they change is stored; they see what became of it."""
    seen: list[str] = []

    @around_enqueue
    def outer(call: Enqueuing) -> Iterator[None]:
        seen.append(f"outer {call.pipeline} {len(call.runs)} {call.inputs[0].number}")
        for run in call.runs:
            run.owner = "u-1"
        yield
        seen.append(f"outer {[one.created for one in call.stored]}")

    @around_enqueue
    def inner(call: Enqueuing) -> Iterator[None]:
        assert {run.owner for run in call.runs} == {"u-1"}
        for run in call.runs:
            run.priority += 7
        with closing(connect(database_url)):
            yield
        seen.append("inner")

    give = Order(number="a")

    async def enqueue() -> list[Run[Any]]:
        if inside:
            async with await psycopg.AsyncConnection.connect(database_url) as mine:
                first = await orders.aenqueue(give, connection=mine)
                two = [give, Order(number="b")]
                return [first, *await aenqueue_many(orders, two, connection=mine)]
        first = await orders.aenqueue(give)
        return [first, *enqueue_many(orders, [give, Order(number="b")])]

    runs = asyncio.run(enqueue())
    assert seen == [
        "outer orders 1 a",
        "inner",
        "outer [True]",
        "outer orders 2 a",
        "inner",
        "outer [False, True]",
    ]
    assert {(one.owner, one.priority) for one in list_runs()} == {("u-1", 7)}
    assert runs[0].id == runs[1].id != runs[2].id


def test_one_that_raises_is_named_and_says_what_was_stored(
    orders: Pipeline[Order], database_url: str
) -> None:
    """C4: it is the error of that enqueue; a transaction of the caller's goes on."""
    when = ["before"]

    @around_enqueue
    def faulty(call: Enqueuing) -> Iterator[None]:
        if when == ["refuse"]:
            raise InvalidInput("not on a sunday")
        if when == ["before"]:
            raise KeyError("boom")
        if when == ["adds"]:
            call.runs = [*call.runs, *call.runs]
        if when == ["breaks"]:
            call.runs[0].priority = "high"  # type: ignore[assignment]
        yield
        if when == ["after"]:
            raise KeyError("late")
        if when == ["twice"]:
            yield

    name = r"test_one_that_raises.*faulty' around an enqueue of 'orders'"
    with psycopg.connect(database_url) as mine:
        for what, match in (
            ("before", f"{name} raised KeyError: 'boom'; nothing was enqueued"),
            ("adds", f"{name} raised ValueError: it changed how many runs"),
            ("breaks", f"{name} raised ValueError: priority='high'"),
        ):
            when[:] = [what]
            for connection in (None, mine):
                with pytest.raises(MiddlewareError, match=match) as raised:
                    orders.enqueue(Order(number="a"), connection=connection)
                assert raised.value.__cause__ is not None
        when[:] = ["refuse"]
        with pytest.raises(InvalidInput, match="not on a sunday"):
            orders.enqueue(Order(number="a"), connection=mine)
        assert mine.execute("SELECT 1").fetchone() == (1,)
    assert list_runs() == []
    for what in ("after", "twice"):
        when[:] = [what]
        with pytest.raises(MiddlewareError, match="it was enqueued all the same") as late:
            orders.enqueue(Order(number=what))
        assert str(list_runs()[0].id) in str(late.value)


def test_what_cannot_stand_around_anything_is_refused(orders: Pipeline[Order]) -> None:
    """At the earliest door: the decorator."""

    def plain(call: Enqueuing) -> None: ...

    with pytest.raises(DeclarationError, match="plain': give a generator function"):
        around_enqueue(plain)  # type: ignore[type-var]
