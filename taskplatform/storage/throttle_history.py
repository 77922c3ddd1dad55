"""What limits granted in each minute: of slices that count no more, and of those that still do."""

from dataclasses import dataclass
from datetime import datetime

from taskplatform.storage.connection import Session

# Minutes are kept for so long; buckets that nobody has asked for so long are forgotten.
KEPT_DAYS = 7
_LOCK = 7_206_116_425_110_004

# One at a time is enough; the others have nothing left to do.
_ALONE = "SELECT pg_try_advisory_xact_lock(%s)"

# Of a limit that nobody asks any more nobody moves on what counts.
_MOVE_ON = """
WITH idle AS MATERIALIZED (
    SELECT id, clock_timestamp() - make_interval(secs => span) AS until
    FROM taskplatform.throttle_buckets
    WHERE used > 0 AND swept < clock_timestamp() - make_interval(secs => 2 * span)
    FOR UPDATE SKIP LOCKED
)
UPDATE taskplatform.throttle_buckets b
SET used = b.used - coalesce((
        SELECT sum(s.weight) FROM taskplatform.throttle_slices s
        WHERE s.bucket = b.id AND s.at > b.swept AND s.at <= idle.until), 0)::bigint,
    swept = idle.until
FROM idle WHERE b.id = idle.id
"""

# For one window more: it may be made longer.
_ROLL_UP = """
WITH old AS (
    DELETE FROM taskplatform.throttle_slices s USING taskplatform.throttle_buckets b
    WHERE b.id = s.bucket AND s.at <= b.swept
      AND s.at < clock_timestamp() - make_interval(secs => 2 * b.span)
    RETURNING b.name, b.scope, date_trunc('minute', s.at) AS minute, s.weight
)
INSERT INTO taskplatform.throttle_history AS h (name, scope, minute, weight)
SELECT name, scope, minute, sum(weight) FROM old WHERE weight > 0 GROUP BY name, scope, minute
ON CONFLICT (name, scope, minute) DO UPDATE SET weight = h.weight + excluded.weight
"""

_FORGET = """
WITH gone AS (
    DELETE FROM taskplatform.throttle_history
    WHERE minute < clock_timestamp() - make_interval(days => %(days)s)
)
DELETE FROM taskplatform.throttle_buckets WHERE id IN (
    SELECT b.id FROM taskplatform.throttle_buckets b
    WHERE b.used = 0 AND b.next_at IS NULL AND b.closed_until < clock_timestamp()
      AND b.swept < clock_timestamp() - make_interval(days => %(days)s, secs => 2 * b.span)
      AND NOT EXISTS (SELECT FROM taskplatform.throttle_slices s WHERE s.bucket = b.id)
    FOR UPDATE SKIP LOCKED
)
"""

_MINUTES = """
SELECT minute, sum(weight)::bigint FROM (
    SELECT minute, weight FROM taskplatform.throttle_history
    WHERE name = %(name)s AND scope = coalesce(%(scope)s, scope) AND minute >= %(since)s
    UNION ALL
    SELECT date_trunc('minute', s.at), s.weight FROM taskplatform.throttle_buckets b
    JOIN taskplatform.throttle_slices s ON s.bucket = b.id
    WHERE b.name = %(name)s AND b.scope = coalesce(%(scope)s, b.scope) AND s.at >= %(since)s
) AS granted
GROUP BY minute ORDER BY minute
"""


@dataclass(frozen=True, slots=True)
class Minute:
    """What was granted in one minute, by weight."""

    minute: datetime
    granted: int


def roll_up(connection: Session) -> None:
    """Add up by minutes what counts no more, and forget what is too old."""
    with connection.transaction():
        row = connection.execute(_ALONE, (_LOCK,)).fetchone()
        if row is not None and row[0]:
            connection.execute(_MOVE_ON)
            connection.execute(_ROLL_UP)
            connection.execute(_FORGET, {"days": KEPT_DAYS})


def minutes(
    connection: Session, name: str, since: datetime, scope: str | None = None
) -> list[Minute]:
    """What a limit granted, by minute, of one scope or of all (None); minutes without are left out.

    They go back for a week.
    """
    values = {"name": name, "scope": scope, "since": since}
    return [Minute(*row) for row in connection.execute(_MINUTES, values, prepare=False)]
