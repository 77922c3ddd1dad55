"""Claim for many holders at once: each is given one branch at most."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from taskplatform.core.fairness import Turn
from taskplatform.storage.claim import (
    MORE,
    NO_NEEDS,
    Claimed,
    Needs,
    charge,
    claimed,
    marking,
    reading,
)
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.taking import TAKE_EACH, TAKE_EACH_IN_TURN, Due, line_up

_HELD = "w.holder = ANY (%(holders)s::bigint[]) AND w.epoch > %(after)s"
_MARK_EACH = marking(_HELD)
_READ_EACH = reading(_HELD, ", w.holder")
_READ_EACH_AND_MORE = reading(_HELD, ", w.holder" + MORE)

Taken = tuple[int, Claimed]


def claim_each(
    connection: Session,
    *,
    holders: Sequence[int],
    after: int,
    queues: Sequence[str],
    pipelines: Sequence[str],
    costs: Mapping[str, float],
    budget: float,
    needs: Needs = NO_NEEDS,
    turns: Sequence[Turn] | None = None,
    dues: Iterable[Due] = (),
) -> tuple[list[Taken], bool]:
    """Take a ready branch for each holder, as far as there are any; also tell whether more are.

    `costs`, `budget`, `needs`, `after`, `turns` and `dues` are those of a claim for one holder; a
    branch is marked as running if it is expected to take longer than the budget.
    """
    values = {
        "holders": _array(holders),
        "after": after,
        "queues": list(queues),
        "pipelines": list(pipelines),
        "limit": len(holders),
        "costs": orjson.dumps(costs).decode(),
        "budget": budget,
        "needs": orjson.dumps(needs).decode(),
    }
    with one_trip(connection):
        if turns is None:
            connection.execute(TAKE_EACH, values)
        else:
            connection.execute(TAKE_EACH_IN_TURN, values | line_up(turns, dues))
        connection.execute(_MARK_EACH, values)
        answer = connection.execute(_READ_EACH_AND_MORE, values)
    rows = answer.fetchall()
    taken = [(row[-2], claimed(row[:-2])) for row in rows]
    if turns is not None:
        charge((one for _, one in taken), costs)
    return taken, bool(rows and rows[0][-1])


def held_by_each(
    connection: Session, holders: Sequence[int], *, after: int = -1, needs: Needs = NO_NEEDS
) -> list[Taken]:
    """What these holders hold now, of what was claimed after that epoch."""
    values = {"holders": _array(holders), "after": after, "needs": orjson.dumps(needs).decode()}
    return [(row[-1], claimed(row[:-1])) for row in connection.execute(_READ_EACH, values)]


def _array(ids: Sequence[int]) -> str:
    # As PostgreSQL writes it: psycopg takes longer for a hundred numbers than for the claim.
    return f"{{{','.join(map(str, ids))}}}"
