"""Breakers: what the bodies that use an API came to, and whether more of them may start.

All of it by the database clock. Closed: bodies start, and are counted by tenths of the window.
Open: none starts until the cool-down is over. Half-open: so many at a time as its level says, each
with a slot of the breaker's gate, which frees itself when its holder dies; only these count then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor

from taskplatform.core.breaker import Breaker
from taskplatform.storage import slots
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.gates import gate_of
from taskplatform.storage.slots import Asking, Full

_SLICES = 10
_LONGEST_WHY = 300

_KNOW = """
INSERT INTO taskplatform.breakers (name) VALUES (%(name)s) ON CONFLICT DO NOTHING
"""

_COUNT = """
WITH old AS (
    DELETE FROM taskplatform.breaker_counts
    WHERE name = %(name)s AND began < clock_timestamp() - make_interval(secs => 2 * %(window)s)
)
INSERT INTO taskplatform.breaker_counts AS c (name, began, passed, failed)
VALUES (%(name)s, date_bin(make_interval(secs => %(slice)s), clock_timestamp(), 'epoch'),
        %(passed)s, %(failed)s)
ON CONFLICT (name, began) DO UPDATE
SET passed = c.passed + excluded.passed, failed = c.failed + excluded.failed
"""

_TRIP = """
UPDATE taskplatform.breakers b
SET state = 'open', since = clock_timestamp(),
    until = clock_timestamp() + make_interval(secs => %(cool_down)s),
    why = left(seen.failed || ' of ' || seen.ended || ' failed within '
               || %(shown)s::text || coalesce(', such as ' || %(why)s::text, ''), 500)
FROM (
    SELECT sum(failed) AS failed, sum(passed + failed) AS ended
    FROM taskplatform.breaker_counts
    WHERE name = %(name)s AND began > clock_timestamp() - make_interval(secs => %(window)s)
) AS seen
WHERE b.name = %(name)s AND b.state = 'closed'
  AND seen.ended >= %(minimum)s AND seen.failed >= %(failures)s * seen.ended
RETURNING b.why
"""

# What ended of those that were let through: one that fails among few is too many; as many that
# ended well as are let through at a time, and twice as many are.
_TRIED = """
UPDATE taskplatform.breakers b
SET state = next.state, passed = next.passed, failed = next.failed, level = next.level,
    since = CASE WHEN next.state = b.state THEN b.since ELSE clock_timestamp() END,
    until = CASE WHEN next.state = 'open'
                 THEN clock_timestamp() + make_interval(secs => %(cool_down)s) END,
    why = CASE WHEN next.state <> 'closed' THEN coalesce(%(why)s::text, b.why) END
FROM (
    SELECT CASE WHEN bad THEN 'open' WHEN up AND 2 * level > %(ramp)s THEN 'closed'
                ELSE 'half-open' END AS state,
           CASE WHEN bad OR NOT up THEN level ELSE 2 * level END AS level,
           CASE WHEN bad OR up THEN 0 ELSE passed END AS passed,
           CASE WHEN bad OR up THEN 0 ELSE failed END AS failed
    FROM (
        SELECT *, failed > 0 AND failed >= %(failures)s * greatest(level, passed + failed) AS bad,
               passed >= level AS up
        FROM (
            SELECT level, passed + %(passed)s AS passed, failed + %(failed)s AS failed
            FROM taskplatform.breakers
            WHERE name = %(name)s AND state = 'half-open' FOR UPDATE
        ) AS counted
    ) AS judged
) AS next
WHERE b.name = %(name)s AND b.state = 'half-open'
RETURNING b.state
"""

_FORGET_COUNTS = """
DELETE FROM taskplatform.breaker_counts c USING taskplatform.breakers b
WHERE c.name = %(name)s AND b.name = c.name AND b.state = 'closed'
"""

_HALF_OPEN = """
UPDATE taskplatform.breakers
SET state = 'half-open', since = clock_timestamp(), until = NULL, level = 1, passed = 0, failed = 0
WHERE name = %(name)s AND state = 'open' AND until <= clock_timestamp()
"""

_STATE = """
SELECT state, CASE WHEN until < 'infinity'
                   THEN extract(epoch FROM until - clock_timestamp())::double precision END
FROM taskplatform.breakers WHERE name = %(name)s
"""

_OPEN = """
INSERT INTO taskplatform.breakers AS b (name, state, until, why)
VALUES (%(name)s, 'open',
        CASE WHEN %(seconds)s::double precision IS NULL THEN 'infinity'
             ELSE clock_timestamp() + make_interval(secs => %(seconds)s) END, %(why)s)
ON CONFLICT (name) DO UPDATE
SET state = 'open', until = excluded.until, since = clock_timestamp(), why = excluded.why
"""

_CLOSE = """
UPDATE taskplatform.breakers
SET state = 'closed', until = NULL, why = NULL, since = clock_timestamp()
WHERE name = %(name)s AND state <> 'closed'
RETURNING name
"""

_LIST = """
SELECT b.name, b.state, b.since, nullif(b.until, 'infinity'), b.level, b.why,
       coalesce(seen.passed, 0), coalesce(seen.failed, 0),
       (SELECT count(*) FROM taskplatform.slots s
        JOIN taskplatform.holders h ON h.id = s.holder WHERE s.gate = 'breaker:' || b.name || ':'),
       (SELECT count(*) FROM taskplatform.work w WHERE w.gate = 'breaker:' || b.name || ':')
FROM taskplatform.breakers b
LEFT JOIN LATERAL (
    SELECT sum(passed) AS passed, sum(failed) AS failed FROM taskplatform.breaker_counts
    WHERE name = b.name
) AS seen ON true
ORDER BY b.name
"""

_NOT_CLOSED = """
SELECT name, state, CASE WHEN until < 'infinity'
                         THEN extract(epoch FROM until - clock_timestamp())::double precision END
FROM taskplatform.breakers WHERE state <> 'closed'
"""


@dataclass(frozen=True, slots=True)
class State:
    """`state` is closed, open or half-open; an open one lets somebody through in `seconds`.

    None is not before somebody closes it by hand. `changed` says why it opened just now.
    """

    state: str
    seconds: float | None = None
    changed: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A breaker as it is shown: what ended lately, who tries, and how much waits."""

    name: str
    state: str = "closed"
    since: datetime | None = None
    until: datetime | None = None
    level: int = 1
    why: str | None = None
    passed: int = 0
    failed: int = 0
    trying: int = 0
    waiting: int = 0


def report(
    connection: Session,
    breaker: Breaker,
    *,
    passed: int = 0,
    failed: int = 0,
    why: str | None = None,
    tried: bool = False,
) -> State:
    """Count what bodies came to, and tell how it stands now; one transaction.

    `tried`: they were let through while it was half-open. `why` is what the last failure says.
    """
    values = _values(breaker) | {"passed": passed, "failed": failed, "why": _short(why)}
    tripped: Cursor[Any] | None = None
    with one_trip(connection):
        connection.execute(_KNOW, values)
        if tried:
            tripped = connection.execute(_TRIED, values)
            connection.execute(_FORGET_COUNTS, values)
        elif passed or failed:
            connection.execute(_COUNT, values)
            tripped = connection.execute(_TRIP, values)
        answer = connection.execute(_STATE, values)
    changed = tripped.fetchone() if tripped is not None else None
    row = answer.fetchone()
    assert row is not None
    return State(row[0], row[1], None if changed is None else changed[0])


def enter(connection: Session, breaker: Breaker, asking: Asking) -> tuple[State, Full | None]:
    """Ask for a slot at a breaker that was not closed; half-opens it if it is time.

    In a transaction.
    """
    values = _values(breaker)
    connection.execute(_HALF_OPEN, values)
    full = slots.take(connection, asking, {gate_of("breaker", breaker.name): 0})
    row = connection.execute(_STATE, values).fetchone()
    return (State("closed") if row is None else State(*row)), full


def open_by_hand(connection: Session, name: str, seconds: float | None, why: str) -> None:
    """Open a breaker for so many seconds; None: until it is closed by hand."""
    connection.execute(_OPEN, {"name": name, "seconds": seconds, "why": why})


def close_by_hand(connection: Session, name: str) -> bool:
    """Close a breaker and forget what was counted; False if it was closed."""
    with connection.transaction():
        closed = connection.execute(_CLOSE, {"name": name}).fetchone() is not None
        connection.execute(_FORGET_COUNTS, {"name": name})
    return closed


def told(connection: Session) -> list[Told]:
    """The breakers that were used or opened, by name."""
    return [Told(*row) for row in connection.execute(_LIST)]


def not_closed(connection: Session) -> dict[str, State]:
    """The breakers that are open or half-open."""
    return {name: State(state, seconds) for name, state, seconds in connection.execute(_NOT_CLOSED)}


def _values(breaker: Breaker) -> dict[str, Any]:
    return {
        "name": breaker.name,
        "window": breaker.window,
        "slice": breaker.window / _SLICES,
        "shown": f"{breaker.window:g} s",
        "minimum": breaker.minimum,
        "failures": breaker.failures,
        "cool_down": breaker.cool_down,
        "ramp": breaker.ramp,
    }


def _short(why: str | None) -> str | None:
    return None if why is None else why[:_LONGEST_WHY]
