"""Who owns a pipeline's key: one row per key, taken by one upsert, never by read-then-write."""

from collections.abc import Sequence
from uuid import UUID

from taskplatform.storage.connection import Session


def take(
    connection: Session, pipelines: Sequence[str], keys: Sequence[str], runs: Sequence[UUID]
) -> None:
    """Take each key for its run, unless another run holds it; no key may appear twice.

    Waits for an open transaction that holds one of them, and locks them all until the end of
    this one. Who won shows in the statement after: the row carries the run's id. Rows must come
    sorted, so that two batches wait for each other in one direction only.
    """
    connection.execute(
        """
        INSERT INTO taskplatform.keys AS held (pipeline, key, run_id)
        SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])
        ON CONFLICT (pipeline, key) DO UPDATE SET run_id = EXCLUDED.run_id, expires_at = NULL
        WHERE held.expires_at <= clock_timestamp()
        """,
        (list(pipelines), list(keys), list(runs)),
    )


def drop_unused(connection: Session, runs: Sequence[UUID]) -> None:
    """Give back the keys that were just taken for runs which were not stored after all."""
    connection.execute(
        """
        DELETE FROM taskplatform.keys
        WHERE run_id = ANY(%b::uuid[]) AND expires_at IS NULL AND NOT EXISTS (
            SELECT FROM taskplatform.runs WHERE id = keys.run_id AND finished_at IS NULL
        )
        """,
        (list(runs),),
    )


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
