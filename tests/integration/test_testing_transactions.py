"""Transactional steps in process, on a test's own connection."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel

from taskplatform import Context, Pipeline, Retry, testing
from taskplatform.core import registry


class Order(BaseModel):
    """The input."""

    number: int = 7


@pytest.fixture
def pipeline() -> Iterator[Pipeline[Order]]:
    """Writes its input down."""
    registry.clear()
    made = Pipeline("p", input=Order, retry=Retry(delays=["1m"]))

    @made.step(transactional=True)
    def write(input: Order, ctx: Context) -> int:
        ctx.connection.execute("INSERT INTO written VALUES (%s, %s)", (input.number, ctx.attempt))
        return ctx.attempt

    yield made
    registry.clear()


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in a transaction that is rolled back when the test ends."""
    with psycopg.connect(empty_database_url) as made:
        made.execute("CREATE TABLE written (number integer, attempt integer)")
        yield made
        made.rollback()


@pytest.mark.parametrize(
    ("failures", "attempts"),
    [
        ([], [1]),
        ([ValueError("x")], [2]),
        ([testing.Crash(after_body=True)], [2]),
        ([testing.Cancelled], []),
    ],
    ids=["succeeded", "failed", "crashed after the body", "cancelled"],
)
def test_what_is_not_stored_is_taken_back(
    pipeline: Pipeline[Order],
    connection: psycopg.Connection[Any],
    failures: list[Any],
    attempts: list[int],
) -> None:
    testing.run(pipeline, Order(), connection=connection, failures={"write": failures})

    found = connection.execute("SELECT attempt FROM written").fetchall()
    assert [row[0] for row in found] == attempts


def test_the_test_may_take_back_everything(
    pipeline: Pipeline[Order], connection: psycopg.Connection[Any]
) -> None:
    connection.commit()
    assert testing.run(pipeline, Order(), connection=connection).status == "succeeded"
    connection.execute("SELECT 1")
    assert testing.run(pipeline, Order(), connection=connection).status == "succeeded"
    connection.rollback()
    found = connection.execute("SELECT count(*) FROM written").fetchone()
    assert found == (1,), "the first had no transaction around it"
