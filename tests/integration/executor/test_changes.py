"""What a stream is told of shapes: items, their attempts, and how far the map is."""

import pytest

from taskplatform.client.pipeline import Pipeline
from taskplatform.core.retry import Retry
from taskplatform.storage.changes import ChangeRow, changes
from tests.integration.executor.house import House, Number


def told(rows: list[ChangeRow], kind: str) -> list[tuple[object, ...]]:
    return sorted(
        (row.step, row.number, row.outcome, row.done, row.total) for row in rows if row.kind == kind
    )


def test_a_map_tells_how_many_of_its_items_have_ended(house: House) -> None:
    """Progress is items; a failed attempt of one is told by its own name."""
    p = Pipeline("p", input=Number, retry=Retry(delays=["1h"]))

    @p.step
    def made(input: Number) -> list[int]:
        return [1, 2, 3]

    @p.map(over="made")
    def twice(item: int) -> int:
        if item == 2:
            raise ValueError("no good")
        return 2 * item

    [run] = house.enqueue(p)
    house.work(house.child("made", "twice"))

    rows = changes(house.stage.connection, run)
    assert told(rows, "progress") == [("twice", None, None, 2, 3)]
    assert told(rows, "attempt") == [("twice[1]", 1, "failed", None, None)]
    assert [one[0] for one in told(rows, "step")] == ["made"]


@pytest.mark.parametrize("count", [0, 3])
def test_a_map_that_has_ended_is_a_step(house: House, count: int) -> None:
    """Its progress is told no more."""
    p = Pipeline("p", input=Number)

    @p.step
    def made(input: Number) -> list[int]:
        return list(range(count))

    @p.map(over="made")
    def twice(item: int) -> int:
        return 2 * item

    [run] = house.enqueue(p)
    house.work(house.child("made", "twice"))

    rows = changes(house.stage.connection, run)
    assert [row.status for row in rows if row.kind == "status"] == ["succeeded"]
    assert [one[0] for one in told(rows, "step")] == ["made", "twice"]
    assert told(rows, "progress") == []
