"""The pipeline as it was when the run began: its second step fails."""

from taskplatform import Pipeline, Retry
from tests.acceptance.ledger import Done, Order, step

changing = Pipeline("changing", input=Order, retry=Retry(delays=["1h"]))


@changing.step
def first(input: Order) -> Done:
    """Stays as it is."""
    return step(input, "first")


@changing.step
def second(input: Order, first: Done) -> Done:
    """Will be renamed."""
    step(input, "second")
    raise RuntimeError("not good enough yet")
