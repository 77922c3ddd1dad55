"""Leases: who may hold work, and until when."""

from collections.abc import Sequence
from uuid import UUID

from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask, ask_all

LEASE_SECONDS = 15.0

_REGISTER = """
INSERT INTO taskplatform.holders (worker, pid, lease_until)
SELECT %s, %s, clock_timestamp() + make_interval(secs => %s) FROM generate_series(1, %s)
RETURNING id
"""

# In order of id, so that two renewals never wait for each other.
_RENEW = """
UPDATE taskplatform.holders SET lease_until = clock_timestamp()
                                    + make_interval(secs => %(seconds)s)
WHERE id IN (SELECT id FROM taskplatform.holders WHERE id = ANY (%(holders)s::bigint[])
             ORDER BY id FOR NO KEY UPDATE)
RETURNING id
"""

_EXPIRED = """
SELECT id FROM taskplatform.holders WHERE lease_until < clock_timestamp()
"""

_ANY_EXPIRED = """
SELECT EXISTS (SELECT FROM taskplatform.holders WHERE lease_until < clock_timestamp())
"""

# A holder that lost its row while it was asleep may have claimed once more when it woke.
_ORPHANED = """
SELECT DISTINCT holder FROM taskplatform.work w
WHERE holder IS NOT NULL
  AND NOT EXISTS (SELECT FROM taskplatform.holders h WHERE h.id = w.holder)
"""

# A slot without its holder is free already.
_FORGET = """
WITH slots AS (DELETE FROM taskplatform.slots WHERE holder = ANY (%(holders)s::bigint[]))
DELETE FROM taskplatform.holders WHERE id = ANY (%(holders)s::bigint[])
"""

_CRASHES = """
SELECT count(*) FROM taskplatform.step_attempts
WHERE run_id = %s AND step_name = %s AND outcome = 'crashed' AND alone
  AND finished_at > clock_timestamp() - interval '24 hours'
  AND coalesce(error ->> 'type' = 'TakenOver', false) = %s
"""


def register(connection: Session, *, worker: UUID, pid: int) -> int:
    """Make a holder with a fresh lease; return its id."""
    return register_many(connection, 1, worker=worker, pid=pid)[0]


def register_many(connection: Session, many: int, *, worker: UUID, pid: int) -> list[int]:
    """Make holders with a fresh lease; return their ids."""
    return [row[0] for row in connection.execute(_REGISTER, (worker, pid, LEASE_SECONDS, many))]


def renew(connection: Session, holders: Sequence[int]) -> set[int]:
    """Renew the leases; return the ids that still exist."""
    if not holders:
        return set()
    values = {"seconds": LEASE_SECONDS, "holders": list(holders)}
    return {row[0] for row in ask(connection, _RENEW, values)}


def lost(connection: Session) -> list[int]:
    """Holders whose lease has run out, or that hold work without a lease."""
    found = ask_all(connection, [_EXPIRED, _ORPHANED], {})
    return sorted({row[0] for rows in found for row in rows})


def forget(connection: Session, *holders: int) -> None:
    """Remove holders; what they still hold is found as orphaned."""
    connection.execute(_FORGET, {"holders": list(holders)})


def any_expired(connection: Session) -> bool:
    """Whether leases ran out whose work nobody has given back yet."""
    row = connection.execute(_ANY_EXPIRED).fetchone()
    assert row is not None
    return bool(row[0])


def crashes(connection: Session, run_id: UUID, step: str, *, taken_over: bool = False) -> int:
    """How often a step of a run crashed alone, or was taken over alone, within 24 hours."""
    row = connection.execute(_CRASHES, (run_id, step, taken_over)).fetchone()
    assert row is not None
    return int(row[0])
