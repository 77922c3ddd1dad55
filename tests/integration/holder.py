"""A pool child without a pool: claims and executes in the test's own process."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from taskplatform.client.pipeline import Pipeline
from taskplatform.core import registry
from taskplatform.core.ids import uuid7
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.connection import Session
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun

QUEUE = "taskplatform"


class Number(BaseModel):
    """The input and every output."""

    number: int


def five_steps() -> Pipeline[Number]:
    """Declare a pipeline of five steps without work in them."""
    pipeline = Pipeline("five", input=Number)

    @pipeline.step
    def first(input: Number) -> Number:
        return input

    @pipeline.step
    def second(first: Number) -> Number:
        return first

    @pipeline.step
    def third(second: Number) -> Number:
        return second

    @pipeline.step
    def fourth(third: Number) -> Number:
        return third

    @pipeline.step
    def fifth(fourth: Number) -> Number:
        return fourth

    pipeline.finalize()
    return pipeline


def store(connection: Session, pipeline: Pipeline[Number], count: int) -> None:
    """Enqueue so many runs, as one call of the client would."""
    first = pipeline.steps[0].name
    rows = [
        NewRun(
            id=uuid7(),
            pipeline=pipeline.name,
            first_step=first,
            queue=QUEUE,
            input=b'{"number":%d}' % number,
        )
        for number in range(count)
    ]
    enqueue(connection, rows)


@contextmanager
def child(url: str) -> Iterator[Child]:
    """A child that is nobody's, with a lease for as long as a claim lasts."""
    made = Child(
        url=url,
        worker=uuid7(),
        worker_name="tester",
        table=SlotTable.create(),
        default_queue=QUEUE,
        put_off_limit=86400.0,
    )
    try:
        yield made
    finally:
        made.close()


def drain(child: Child) -> int:
    """Claim and execute until nothing is ready; return how many claims that took."""
    claims = 0
    while True:
        claimed, _ = child.claim([QUEUE])
        child.remember(claimed)
        if not claimed:
            return claims
        claims += 1
        Batch(child, lambda _: None).execute(claimed)


@contextmanager
def only_pipeline() -> Iterator[Pipeline[Number]]:
    """Declare the five steps, and nothing else, for the time of a test."""
    registry.clear()
    try:
        yield five_steps()
    finally:
        registry.clear()
