"""What the two versions of the pipelines have in common."""

from pydantic import Field

from tests.acceptance.ledger import Done, Order, step


class Parts(Order):
    """An order of parts."""

    parts: list[str] = Field(default=["x", "y", "z"])


def broken(input: Parts, name: str) -> Done:
    """A body that is not good enough yet."""
    step(input, name)
    raise RuntimeError("not good enough yet")
