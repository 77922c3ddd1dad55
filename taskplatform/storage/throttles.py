"""Throttle slots: a strict window, decided by the database clock.

A throttle of N per window is N rows. A row is granted again only when its last grant is older
than the window plus the time a grant stays valid, so no window of that length ever holds more
than N starts, whoever asks and however the processes die.
"""

from dataclasses import dataclass

from taskplatform.storage.connection import Session

# A grant that was not used within this share of the window is void.
VALID_SHARE = 0.01

_SLOTS = """
INSERT INTO taskplatform.throttle_slots (name, scope, slot)
SELECT %(name)s, %(scope)s, slot FROM generate_series(1, %(limit)s) AS slot
ON CONFLICT DO NOTHING
"""

# Chosen once, in a CTE: as a subquery of IN, a plan that walks the table outside of it chose a slot
# for each row, and one grant used up the whole window.
_GRANT = """
WITH free AS MATERIALIZED (
    SELECT name, scope, slot FROM taskplatform.throttle_slots
    WHERE name = %(name)s AND scope = %(scope)s AND slot <= %(limit)s
      AND granted_at <= clock_timestamp() - make_interval(secs => %(window)s)
    ORDER BY granted_at, slot LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE taskplatform.throttle_slots AS s SET granted_at = clock_timestamp()
FROM free WHERE s.name = free.name AND s.scope = free.scope AND s.slot = free.slot
RETURNING s.slot
"""

# A slot that was never granted is in somebody's hands now; before PostgreSQL 17 one cannot
# subtract from its -infinity.
_NEXT = """
SELECT count(*),
       CASE WHEN min(granted_at) > '-infinity' THEN
           extract(epoch FROM min(granted_at) - clock_timestamp())::double precision + %(window)s
       END
FROM taskplatform.throttle_slots
WHERE name = %(name)s AND scope = %(scope)s AND slot <= %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """`slot` when granted; otherwise seconds until the next slot is free."""

    slot: int | None
    seconds: float


def grant(connection: Session, *, name: str, scope: str, limit: int, window: float) -> Grant:
    """Ask for one grant; `window` in seconds. Never more than `limit` in any window."""
    values = {
        "name": name,
        "scope": scope,
        "limit": limit,
        "window": window * (1 + VALID_SHARE),
    }
    granted = connection.execute(_GRANT, values).fetchone()
    if granted is not None:
        return Grant(granted[0], 0.0)
    slots, seconds = connection.execute(_NEXT, values).fetchone() or (0, None)
    if slots < limit:
        connection.execute(_SLOTS, values)
        granted = connection.execute(_GRANT, values).fetchone()
        if granted is not None:
            return Grant(granted[0], 0.0)
    return Grant(None, max(seconds or 0.0, 0.01))
