"""Which runs stand for the rows of an enqueue: the new ones, or those that were there before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from taskplatform.core.sealing import same
from taskplatform.errors import RequestIdReused
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.script import Row, Statement


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The run that stands for a row: the new one, or the one that was there before.

    `owns_key`: it was found by the key, not by a request id.
    """

    id: UUID
    status: str
    created: bool
    owns_key: bool = False


# A request id decides before a key does, and the row's own run (stored by an earlier call whose
# answer was lost) before the key's present owner. Row by row, so that no plan can be a bad one.
_FIND = """
SELECT given.id, found.id, found.status, found.other, found.place = 3
FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[])
     AS given (id, pipeline, key, request_id, input)
CROSS JOIN LATERAL (
    SELECT 1 AS place, id, status,
           CASE WHEN input::text <> given.input THEN input::text END AS other
    FROM taskplatform.runs
    WHERE pipeline = given.pipeline AND request_id = given.request_id
    UNION ALL
    SELECT 2, id, status, NULL FROM taskplatform.runs WHERE id = given.id
    UNION ALL
    SELECT 3, id, status, NULL FROM taskplatform.runs
    WHERE id = (SELECT run_id FROM taskplatform.keys k
                WHERE k.pipeline = given.pipeline AND k.key = given.key
                  AND (%b OR k.expires_at IS NULL OR k.expires_at > clock_timestamp()))
    ORDER BY place LIMIT 1
) AS found
"""


def find(rows: Sequence[NewRun], *, expired: bool) -> Statement:
    """Find the runs that own the rows' request ids, ids or keys; `expired` ownership counts, too.

    It counts right after the keys were taken, when nobody else can take them any more.
    """
    return Statement(
        _FIND,
        (
            [row.id for row in rows],
            [row.pipeline for row in rows],
            # A burst's run is joined, or not the answer.
            [None if row.debounce else row.owned_key for row in rows],
            [row.request_id for row in rows],
            [row.input.decode() if row.request_id else None for row in rows],
            expired,
        ),
    )


def created(stored: Iterable[Row]) -> dict[UUID, Enqueued]:
    """Read the answers of the inserting statements."""
    return {run: Enqueued(run, "scheduled" if later else "queued", True) for run, later in stored}


def known(rows: Sequence[NewRun], seen: Iterable[Row]) -> dict[UUID, Enqueued]:
    """Read the answer of `find`. Raises RequestIdReused."""
    found = {}
    for id, run, status, other, by_key in seen:
        # The keys that secrets are sealed with may have changed since.
        if other is not None and not same(other.encode(), next(_inputs(rows, id))):
            request = next(row.request_id for row in rows if row.id == id)
            raise RequestIdReused(
                f"request id {request!r} was used for run {run} with another input: "
                "nothing was enqueued"
            )
        found[id] = Enqueued(run, status, run == id, by_key)
    return found


def _inputs(rows: Sequence[NewRun], id: UUID) -> Iterator[bytes]:
    return (row.input for row in rows if row.id == id)


def wanted_keys(rows: Sequence[NewRun]) -> dict[tuple[str, str], UUID]:
    """The keys that the rows are to own; of several rows with one key, the first takes it."""
    wanted: dict[tuple[str, str], UUID] = {}
    for row in rows:
        if row.owned_key is not None:
            wanted.setdefault((row.pipeline, row.owned_key), row.id)
    return wanted


def names(rows: Sequence[NewRun]) -> str:
    """The keys and request ids of the rows, as a message shows them."""
    found = sorted({row.owned_key or row.request_id or "" for row in rows} - {""})
    return ", ".join(map(repr, found[:3])) + (", ..." if found[3:] else "")
