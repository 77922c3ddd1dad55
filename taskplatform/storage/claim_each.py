"""Claim for many holders at once: each is given one branch at most."""

from collections.abc import Mapping, Sequence

import orjson

from taskplatform.storage.claim import (
    MORE,
    NO_NEEDS,
    Claimed,
    Needs,
    claimed,
    marking,
    reading,
    taking,
)
from taskplatform.storage.connection import Session, one_trip

# Every row has a holder of its own, so what it costs, or whether it has to be alone, decides only
# whether it is marked as one that lasts.
_TAKE_EACH = taking(
    total="cost",
    holder="(%(holders)s::bigint[])[ranked.place]",
    started_at="ranked.total > %(budget)s",
    fits="ranked.place <= %(limit)s",
)
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
) -> tuple[list[Taken], bool]:
    """Take a ready branch for each holder, as far as there are any; also tell whether more are.

    `costs`, `budget`, `needs` and `after` are those of a claim for one holder; a branch is marked
    as running if it is expected to take longer than the budget.
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
        connection.execute(_TAKE_EACH, values)
        connection.execute(_MARK_EACH, values)
        answer = connection.execute(_READ_EACH_AND_MORE, values)
    rows = answer.fetchall()
    return [(row[-2], claimed(row[:-2])) for row in rows], bool(rows and rows[0][-1])


def held_by_each(
    connection: Session, holders: Sequence[int], *, after: int = -1, needs: Needs = NO_NEEDS
) -> list[Taken]:
    """What these holders hold now, of what was claimed after that epoch."""
    values = {"holders": _array(holders), "after": after, "needs": orjson.dumps(needs).decode()}
    return [(row[-1], claimed(row[:-1])) for row in connection.execute(_READ_EACH, values)]


def _array(ids: Sequence[int]) -> str:
    # As PostgreSQL writes it: psycopg takes longer for a hundred numbers than for the claim.
    return f"{{{','.join(map(str, ids))}}}"
