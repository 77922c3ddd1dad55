"""Runs that have not ended, to be compared with code that is not deployed yet.

They are walked by the order of their ids, a page at a time. What may be large is streamed, so
that no more than one value is in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from taskplatform.storage.connection import Session

PAGE = 500


@dataclass(frozen=True, slots=True)
class ItemsRow:
    """How many of a map's items are stored, of which version, and how many have ended."""

    step: str
    version: int
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """Where a run stands. `rest` is what its main row rests on, `versions` has its outputs."""

    id: UUID
    pipeline: str
    status: str
    reason: str | None
    waiting_for: str | None
    step: str | None
    rest: str | None
    failing: bool
    versions: dict[str, int]
    items: list[ItemsRow]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs: of a pipeline (None: of all), in these states (none: in any)."""

    pipeline: str | None = None
    statuses: Sequence[str] = ()


_COLUMNS = """
SELECT r.id, r.pipeline, r.status, r.reason, r.waiting_for, {step}, {rest},
       coalesce({failing}, false),
       (SELECT coalesce(jsonb_object_agg(step_name, version), '{{}}')
        FROM taskplatform.step_results WHERE run_id = r.id),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(step_name, version, done, many)), '[]')
        FROM (SELECT step_name, version, count(finished_at) AS done, count(*) AS many
              FROM taskplatform.items WHERE run_id = r.id GROUP BY step_name, version) AS each)
"""

_OPEN = f"""
{_COLUMNS.format(step="w.step", rest="w.rest", failing="w.failing")}
FROM taskplatform.work w JOIN taskplatform.runs r ON r.id = w.run_id
WHERE w.branch = '' AND w.run_id > %(after)s
  AND (%(pipeline)s::text IS NULL OR w.pipeline = %(pipeline)s)
  AND (%(all)s OR r.status = ANY (%(statuses)s::text[]))
ORDER BY w.run_id LIMIT %(limit)s
"""

_FAILED = f"""
{_COLUMNS.format(step="NULL", rest="NULL", failing="false")}
FROM taskplatform.runs r
WHERE r.status = 'failed' AND r.id > %(after)s
  AND (%(pipeline)s::text IS NULL OR r.pipeline = %(pipeline)s)
ORDER BY r.id LIMIT %(limit)s
"""

_INPUTS = "SELECT id, input FROM taskplatform.runs WHERE id = ANY (%s::uuid[])"

_OUTPUTS = """
SELECT run_id, step_name, output FROM taskplatform.step_results
WHERE run_id = ANY (%s::uuid[]) AND step_name = ANY (%s::text[])
"""

_OPEN_ITEMS = """
SELECT position, item FROM taskplatform.items
WHERE run_id = %s AND step_name = %s AND version = %s AND position > %s AND finished_at IS NULL
ORDER BY position LIMIT %s
"""


def page(
    connection: Session, wanted: Wanted, *, failed: bool, after: UUID | None, limit: int = PAGE
) -> list[InFlight]:
    """The next runs that have not ended, or that have failed; `after` is the last one before."""
    values = {
        "after": after or UUID(int=0),
        "pipeline": wanted.pipeline,
        "statuses": list(wanted.statuses),
        "all": not wanted.statuses,
        "limit": limit,
    }
    # Not prepared: the best plan depends on the values.
    rows = connection.execute(_FAILED if failed else _OPEN, values, prepare=False).fetchall()
    return [_in_flight(*row) for row in rows]


def inputs(connection: Session, runs: Sequence[UUID]) -> Iterator[tuple[UUID, bytes]]:
    """The inputs of runs, one at a time."""
    return _stream(connection, _INPUTS, [list(runs)])


def outputs(
    connection: Session, runs: Sequence[UUID], steps: Sequence[str]
) -> Iterator[tuple[UUID, str, bytes]]:
    """The outputs of these steps of these runs, one at a time."""
    return _stream(connection, _OUTPUTS, [list(runs), list(steps)])


def open_items(connection: Session, run: UUID, step: str, version: int) -> Iterator[bytes]:
    """The items of a map that have not ended, one at a time."""
    after, many = -1, PAGE
    while many == PAGE:
        many = 0
        values = [run, step, version, after, PAGE]
        for position, item in _stream(connection, _OPEN_ITEMS, values):
            yield item
            after, many = position, many + 1


def _in_flight(*row: Any) -> InFlight:
    values = [*row[:-1], [ItemsRow(*each) for each in row[-1]]]
    return InFlight(*values)


def _stream(connection: Session, query: str, values: list[Any]) -> Iterator[Any]:
    return connection.cursor().stream(query, values)
