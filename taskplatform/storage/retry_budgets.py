"""Retry budgets: while most attempts of a pipeline fail, its retries get a part of its slots only.

What attempts came to is counted for pipelines of which some fail, by half minutes. While a budget
is in force, retries that come due stand in line at its gate; what was let go of them is in flight
until its body has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from taskplatform.storage.connection import Session
from taskplatform.storage.gates import LOCK_IDLE, Room, gate_of
from taskplatform.storage.join_sql import DERIVE
from taskplatform.storage.set_aside import set_aside as put_in_line

KIND = "retry-budget"
WINDOW, SLICE = 300, 30
# More than this share of at least so many attempts has to fail.
FAILING, LEAST = 0.5, 20

# What a batch of rows adds to one slice has to be one row; in one order, whoever tells.
_COUNT = """
INSERT INTO taskplatform.attempt_counts AS c (pipeline, began, passed, failed)
SELECT pipeline, date_bin(make_interval(secs => %(slice)s),
                          clock_timestamp() - make_interval(secs => ago), 'epoch') AS began,
       sum(passed), sum(failed)
FROM unnest(%(pipelines)s::text[], %(ago)s::double precision[], %(passed)s::integer[],
            %(failed)s::integer[]) AS told(pipeline, ago, passed, failed)
GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (pipeline, began) DO UPDATE
SET passed = c.passed + excluded.passed, failed = c.failed + excluded.failed
"""

_FORGET = """
DELETE FROM taskplatform.attempt_counts
WHERE began <= clock_timestamp() - make_interval(secs => %(window)s)
"""

_LATELY = """
SELECT pipeline, sum(passed + failed) AS ended, sum(failed) AS failed
FROM taskplatform.attempt_counts
WHERE began > clock_timestamp() - make_interval(secs => %(window)s) AND %(share)s < 1
GROUP BY pipeline
HAVING sum(passed + failed) >= %(least)s AND sum(failed) > %(failing)s * sum(passed + failed)
"""

_END = f"""
DELETE FROM taskplatform.retry_budgets
WHERE pipeline NOT IN (SELECT pipeline FROM ({_LATELY}) AS lately)
RETURNING pipeline
"""

_BEGIN = f"""
INSERT INTO taskplatform.retry_budgets AS b (pipeline, share, ended, failed)
SELECT pipeline, %(share)s, ended, failed FROM ({_LATELY}) AS lately ORDER BY pipeline
ON CONFLICT (pipeline) DO UPDATE
SET share = excluded.share, ended = excluded.ended, failed = excluded.failed
RETURNING pipeline, ended, failed, since >= statement_timestamp()
"""

_IS_RETRY = "(w.failures > 0 OR w.put_off > 0)"

# Read by the holders, who are few, whatever the backlog.
_SLOTS = f"""
SELECT count(*) AS taken, count(*) FILTER (WHERE {_IS_RETRY}) AS retries
FROM taskplatform.holders h CROSS JOIN LATERAL (
    SELECT failures, put_off FROM taskplatform.work
    WHERE holder = h.id AND pipeline = {{pipeline}} OFFSET 0
) AS w
"""

# Let go, and not yet in anybody's hands.
_ON_THEIR_WAY = """
SELECT count(*) FROM taskplatform.reservations v CROSS JOIN LATERAL (
    SELECT holder, due_at, gate FROM taskplatform.work WHERE id = v.work_id LIMIT 1
) AS w
WHERE v.gate = {gate} AND w.holder IS NULL AND w.gate IS NULL
  AND coalesce(w.due_at <= clock_timestamp(), true)
"""

# At least one, so that it is seen when they end well again. Without a budget all may go.
_ROOMS = f"""
SELECT given.gate,
       CASE WHEN b.share IS NULL THEN 1000000000
            ELSE greatest(1, floor(b.share * slots.taken))::integer END,
       CASE WHEN b.share IS NULL THEN 0
            ELSE slots.retries + ({_ON_THEIR_WAY.format(gate="given.gate")}) END
FROM unnest(%(gates)s::text[]) AS given(gate)
LEFT JOIN taskplatform.retry_budgets b
    ON b.pipeline = split_part(given.gate, ':', 2) COLLATE "default"
CROSS JOIN LATERAL ({_SLOTS.format(pipeline="b.pipeline")}) AS slots
"""

_IN_LINE = """
UPDATE taskplatform.work w
SET due_at = coalesce((SELECT deadline FROM taskplatform.runs WHERE id = w.run_id), 'infinity'),
    gate = %(kind)s || ':' || w.pipeline || ':', waiting_for = %(why)s
WHERE w.id = ANY (%(ids)s::bigint[]) AND w.holder IS NULL AND w.due_at <= clock_timestamp()
  AND w.reason = 'retry' AND w.waiting_for IS NULL
RETURNING w.run_id
"""

_IN_FORCE = """
(SELECT true FROM taskplatform.retry_budgets b WHERE b.pipeline = %(pipeline)s)
"""

_TOLD = f"""
SELECT b.ended, b.failed, greatest(1, floor(b.share * slots.taken))::integer, slots.retries
FROM taskplatform.retry_budgets b
CROSS JOIN LATERAL ({_SLOTS.format(pipeline="b.pipeline")}) AS slots
WHERE b.pipeline = %(pipeline)s
"""

_WHY = "the retry budget of its pipeline"


@dataclass(frozen=True, slots=True)
class Count:
    """What attempts of a pipeline came to, so many seconds ago."""

    pipeline: str
    ago: float
    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A budget that is in force; `new`: since now."""

    pipeline: str
    ended: int
    failed: int
    new: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A budget as it is shown: `failed` of `ended` attempts failed, `used` of `most` retries go."""

    ended: int
    failed: int
    most: int
    used: int


def count(connection: Session, counts: Sequence[Count]) -> None:
    """Add what attempts came to."""
    values = {
        "slice": SLICE,
        "pipelines": [one.pipeline for one in counts],
        "ago": [one.ago for one in counts],
        "passed": [one.passed for one in counts],
        "failed": [one.failed for one in counts],
    }
    connection.execute(_COUNT, values)


def judge(connection: Session, share: float) -> tuple[list[Begun], list[str]]:
    """See whose attempts fail: the budgets in force, and the pipelines whose budget is over."""
    values = {"window": WINDOW, "least": LEAST, "failing": FAILING, "share": share}
    with connection.transaction():
        connection.execute(_FORGET, values)
        over = [row[0] for row in connection.execute(_END, values)]
        begun = [Begun(*row) for row in connection.execute(_BEGIN, values)]
    return begun, over


def hold_back(connection: Session, ids: Sequence[int]) -> None:
    """Put due retries in line; in the transaction that has locked their runs and them."""
    values = {"ids": list(ids), "kind": KIND, "why": _WHY}
    runs = sorted({row[0] for row in connection.execute(_IN_LINE, values)})
    connection.execute(DERIVE, {"runs": runs, "given_back": True})


def set_aside(connection: Session, pipeline: str, queues: Sequence[str]) -> int:
    """Put a batch of the retries of a pipeline that are ready in line; how many were seen."""
    values = {
        "queues": list(queues),
        "pipeline": pipeline,
        "reason": "retry",
        "why": _WHY,
        "gate": gate_of(KIND, pipeline),
    }
    which = f"w.pipeline = %(pipeline)s AND {_IS_RETRY}"
    on_its_way = "(SELECT true FROM taskplatform.reservations v WHERE v.work_id = w.id) IS NULL"
    return put_in_line(connection, f"{which} AND {on_its_way}", _IN_FORCE, values)


def rooms(connection: Session, lines: Sequence[str]) -> list[Room]:
    """How many retries may go at gates that nobody else is busy with; in a transaction."""
    values = {"gates": list(lines), "limits": [0] * len(lines)}
    own = [row[0] for row in connection.execute(LOCK_IDLE, values)]
    return [Room(*row) for row in connection.execute(_ROOMS, {"gates": own})] if own else []


def told(connection: Session, pipeline: str) -> Told | None:
    """The budget of a pipeline, if it is in force."""
    row = connection.execute(_TOLD, {"pipeline": pipeline}).fetchone()
    return None if row is None else Told(*row)
