"""Limits as they stand: what is used of them, what waits, until when nothing is granted."""

from dataclasses import dataclass
from datetime import datetime

from taskplatform.storage.connection import Session
from taskplatform.storage.throttle_lines import BUCKETS, COUNTED, RESERVED
from taskplatform.storage.throttles import VALID_SHARE

# Counted up to here; a longer line is long enough.
_MOST_WAITING = 100_000

_LIST = f"""{COUNTED.format(source=BUCKETS)}
SELECT b.name, b.scope, b.most, b.per, c.most, c.span / %(lasts)s, c.held, {RESERVED}::bigint,
       (SELECT count(*) FROM (SELECT FROM taskplatform.work w WHERE w.gate = c.gate
                              LIMIT {_MOST_WAITING}) AS line),
       CASE WHEN c.closed_until > c.at THEN c.closed_until END,
       CASE WHEN c.closed_until > c.at THEN b.closed_why END,
       CASE WHEN c.next_at > c.at AND isfinite(c.next_at) THEN c.next_at END
FROM counted c JOIN taskplatform.throttle_buckets b ON b.id = c.id
ORDER BY b.name, b.scope
"""


@dataclass(frozen=True, slots=True)
class Throttled:
    """A limit of one scope; `limit` and `per` (seconds) as declared, `effective_*` as in force.

    `used` is the weight that counts now, `reserved` what is kept for who was let go or waits
    outside of work, `waiting` the runs in line, `next_at` when the first of them may go.
    """

    name: str
    scope: str
    limit: int
    per: float
    effective_limit: int
    effective_per: float
    used: int
    reserved: int
    waiting: int
    paused_until: datetime | None
    paused_why: str | None
    next_at: datetime | None


def listed(
    connection: Session, name: str | None = None, scope: str | None = None, most: int = 1000
) -> list[Throttled]:
    """The limits that were asked for, by name and scope, at most so many."""
    values = {"name": name, "scope": scope, "most": most, "lasts": 1 + VALID_SHARE}
    return [Throttled(*row) for row in connection.execute(_LIST, values, prepare=False)]
