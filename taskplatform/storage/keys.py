"""Who owns a pipeline's key: one row per key, taken by one upsert, never by read-then-write."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from taskplatform.storage.begun import begun
from taskplatform.storage.connection import Session
from taskplatform.storage.script import Statement

_TAKE = """
INSERT INTO taskplatform.keys AS held (pipeline, key, run_id)
SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])
ON CONFLICT (pipeline, key) DO UPDATE SET run_id = EXCLUDED.run_id, expires_at = NULL
WHERE held.expires_at <= clock_timestamp()
"""

# The run of a burst owns the key until it begins.
_OVERTAKE = f"""
INSERT INTO taskplatform.keys AS held (pipeline, key, run_id)
SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])
ON CONFLICT (pipeline, key) DO UPDATE
SET run_id = EXCLUDED.run_id, expires_at = NULL, joined = NULL
WHERE held.expires_at <= clock_timestamp() OR {begun("held.run_id")}
"""

_DROP_UNUSED = """
DELETE FROM taskplatform.keys
WHERE run_id = ANY(%b::uuid[]) AND expires_at IS NULL AND NOT EXISTS (
    SELECT FROM taskplatform.runs WHERE id = keys.run_id AND finished_at IS NULL
)
"""


def take(wanted: Mapping[tuple[str, str], UUID], *, overtake: bool = False) -> Statement:
    """Take each (pipeline, key) for its run, unless another run holds it.

    Waits for an open transaction that holds one of them, and locks them all until the end of
    this one, also those of others. Who won shows in the statement after: the row carries the
    run's id. They are taken in order, so that two batches wait in one direction only. `overtake`
    takes them from runs that have begun, too.
    """
    ordered = sorted(wanted.items())
    return Statement(
        _OVERTAKE if overtake else _TAKE,
        (
            [pipeline for (pipeline, _), _ in ordered],
            [key for (_, key), _ in ordered],
            [run for _, run in ordered],
        ),
    )


def drop_unused(runs: Iterable[UUID]) -> Statement:
    """Give back the keys that were just taken for runs which were not stored after all."""
    return Statement(_DROP_UNUSED, (list(runs),))


def take_back(connection: Session, pipeline: str, key: str, run_id: UUID) -> UUID | None:
    """Take the key for a run that goes on; None, or the id of the run that owns it."""
    taken = connection.execute(
        """
        INSERT INTO taskplatform.keys AS held (pipeline, key, run_id) VALUES (%s, %s, %s)
        ON CONFLICT (pipeline, key) DO UPDATE SET run_id = EXCLUDED.run_id, expires_at = NULL
        WHERE held.run_id = EXCLUDED.run_id OR held.expires_at <= clock_timestamp()
        RETURNING run_id
        """,
        (pipeline, key, run_id),
    ).fetchone()
    if taken:
        return None
    owner = connection.execute(
        "SELECT run_id FROM taskplatform.keys WHERE pipeline = %s AND key = %s", (pipeline, key)
    ).fetchone()
    assert owner is not None  # locked by the statement before
    return UUID(str(owner[0]))
