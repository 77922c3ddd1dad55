"""Limits that were set by hand: remembered, and stronger than what is declared."""

from dataclasses import dataclass
from datetime import datetime

from taskplatform.storage.connection import Session, one_trip

_PUT = """
INSERT INTO taskplatform.limits AS old (kind, name, most, per)
VALUES (%(kind)s, %(name)s, %(most)s, %(per)s)
ON CONFLICT (kind, name) DO UPDATE
SET most = coalesce(excluded.most, old.most), per = coalesce(excluded.per, old.per),
    changed_at = clock_timestamp()
"""

_RESET = """
DELETE FROM taskplatform.limits WHERE kind = %(kind)s AND name = %(name)s
"""

# Whoever stands in line may go by now.
_WAKE = """
UPDATE taskplatform.throttle_buckets SET next_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT id FROM taskplatform.throttle_buckets
    WHERE name = %(name)s AND %(kind)s = 'throttle' AND next_at IS NOT NULL
    ORDER BY id FOR UPDATE))
"""

_LIST = """
SELECT name, most, per, changed_at FROM taskplatform.limits WHERE kind = %s ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """What was set by hand of a limit; None: as it is declared. `per` in seconds."""

    name: str
    most: int | None
    per: float | None
    changed_at: datetime


def put(connection: Session, kind: str, name: str, most: int | None, per: float | None) -> None:
    """Set a limit, or its window in seconds, or both; what is None stays as it was."""
    values = {"kind": kind, "name": name, "most": most, "per": per}
    with one_trip(connection):
        connection.execute(_PUT, values)
        connection.execute(_WAKE, values)


def reset(connection: Session, kind: str, name: str) -> bool:
    """Let the declaration hold again; False if nothing was set."""
    values = {"kind": kind, "name": name}
    with connection.transaction():
        gone = connection.execute(_RESET, values).rowcount
        connection.execute(_WAKE, values)
    return bool(gone)


def listed(connection: Session, kind: str) -> list[Limit]:
    """The limits of a kind that were set by hand, by name."""
    return [Limit(*row) for row in connection.execute(_LIST, (kind,))]
