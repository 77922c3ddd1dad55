"""Pipelines whose steps are few at a time, or use an API that may be dead.

Imported by real workers (TASKPLATFORM_PIPELINES) and by the tests that enqueue.
"""

import time
from pathlib import Path

from taskplatform import Breaker, Concurrency, Pipeline, Retry
from tests.acceptance.ledger import Done, Order, step, write

AT_ONCE = 3

few = Pipeline("few", input=Order, retry=Retry(0))


@few.step(concurrency=Concurrency("few", AT_ONCE, key="do"))
def use(input: Order) -> Done:
    """Take a while, and write down when."""
    write(input, f"start:{input.do}")
    time.sleep(input.seconds)
    return step(input.model_copy(update={"do": ""}), "used")


one = Pipeline("one", input=Order, concurrency=Concurrency("one", 1))


@one.step
def held(input: Order) -> None:
    """Go on when the test says so."""
    while not Path(f"{input.ledger}.open").exists():
        time.sleep(0.02)


dead = Pipeline("dead", input=Order, retry=Retry(0))


@dead.step(
    breaker=Breaker("api", minimum=4, window="20s", cool_down="5s", ramp=4),
    retry=Retry(delays=["3s"]),
)
def ask(input: Order) -> Done:
    """Call an API that hangs for a while and then refuses, until it is mended."""
    if not Path(f"{input.ledger}.mended").exists():
        write(input, "refused")
        time.sleep(0.2)
        raise ConnectionError("the API does not answer")
    return step(input, "ask")


other = Pipeline("other", input=Order)


@other.step
def work(input: Order) -> None:
    """Use no API."""
    time.sleep(input.seconds)


tried = Pipeline("tried", input=Order, retry=Retry(delays=["1s"] * 300))


@tried.step
def attempt(input: Order) -> Done:
    """Fail after a while if the order says so, until it is mended."""
    write(input, "start")
    time.sleep(input.seconds)
    write(input, "end")
    if input.do == "fail" and not Path(f"{input.ledger}.mended").exists():
        raise ConnectionError("the API does not answer")
    return Done(pid=0)
