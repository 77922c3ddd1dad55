"""Waits: rows that an event makes ready, whether it comes before, with or after them.

Whoever registers a wait and whoever sends an event exclude each other by an advisory lock on the
event's name and the value that is matched: one of them sees what the other has stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from taskplatform.storage.connection import Session
from taskplatform.storage.settle_sql import HELD
from taskplatform.storage.settlement import NewWait

# In the order given, which is sorted: two who take several wait in one direction only.
LOCK_EVENTS = """
SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS given(name)
"""

# What was matched and not used, because its run failed meanwhile, is still there when the run is
# retried; what was passed over makes place for the next.
REGISTER = f"""
INSERT INTO taskplatform.waits AS old
    (run_id, step_name, work_id, event, field, value, expires_at, passed)
SELECT w.run_id, d.step, w.id, d.event, d.field, d.value,
       coalesce(clock_timestamp() + make_interval(secs => d.timeout), 'infinity'),
       array_remove(ARRAY[d.passed], NULL)
FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text, event text,
     field text, value text, timeout double precision, passed uuid)
{HELD}
ON CONFLICT (run_id, step_name) DO UPDATE
SET work_id = excluded.work_id, event = excluded.event, field = excluded.field,
    value = excluded.value,
    event_id = CASE WHEN (old.event, old.field, old.value)
                         = (excluded.event, excluded.field, excluded.value)
                         AND old.event_id <> ALL (excluded.passed) THEN old.event_id END,
    expires_at = CASE WHEN excluded.passed = '{{}}' THEN excluded.expires_at
                      ELSE old.expires_at END,
    passed = old.passed || excluded.passed
"""

# An event that was sent since the run was made counts; each is used by a run once.
FIND_EARLY = f"""
UPDATE taskplatform.waits own SET event_id = found.id
FROM (
    SELECT w.run_id, d.step, e.id
    FROM json_to_recordset(%(rows)s::json) AS d(work_id bigint, epoch bigint, step text,
         event text, field text, value text)
    {HELD}
    JOIN taskplatform.runs r ON r.id = w.run_id
    CROSS JOIN LATERAL (
        SELECT id FROM taskplatform.events
        WHERE name = d.event AND created_at >= r.created_at
          AND (d.field = '' OR data ->> d.field = d.value)
          AND NOT EXISTS (SELECT FROM taskplatform.waits used
                          WHERE used.run_id = w.run_id
                            AND (used.event_id = events.id OR events.id = ANY (used.passed)))
        ORDER BY created_at, id LIMIT 1
    ) AS e
) AS found
WHERE own.run_id = found.run_id AND own.step_name = found.step AND own.event_id IS NULL
"""

# An array and a LIMIT keep the planner from walking all work, or all waits, instead of those of
# these runs.
WAKE_MATCHED = """
UPDATE taskplatform.work w SET due_at = NULL, reason = NULL, waiting_for = NULL
WHERE w.id = ANY (ARRAY(
        SELECT matched.work_id FROM unnest(%(runs)s::uuid[]) AS given(id)
        CROSS JOIN LATERAL (
            SELECT m.work_id FROM taskplatform.waits m
            WHERE m.run_id = given.id AND m.event_id IS NOT NULL
              AND m.step_name = (SELECT step FROM taskplatform.work WHERE id = m.work_id)
            LIMIT 1000
        ) AS matched))
  AND w.rest = 'event' AND coalesce(w.holder, 0) = 0
"""

_ARRIVED = """
SELECT events.id, events.data, waits.expires_at <= clock_timestamp(),
       extract(epoch FROM waits.expires_at - clock_timestamp())::double precision,
       extract(epoch FROM clock_timestamp() - waits.created_at)::double precision
FROM taskplatform.waits LEFT JOIN taskplatform.events ON events.id = waits.event_id
WHERE waits.run_id = %s AND waits.step_name = %s
"""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came of a wait: the event, or whether its time is over; ages in seconds."""

    event: UUID | None
    data: bytes | None
    expired: bool
    seconds_left: float
    waited: float


def arrived(connection: Session, run_id: UUID, step: str) -> Arrived | None:
    """Look at a wait; None: it was never registered."""
    row = connection.execute(_ARRIVED, (run_id, step)).fetchone()
    return None if row is None else Arrived(*row)


def lock_name(event: str, value: str) -> str:
    """What sender and receiver of an event lock."""
    return f"{event}\x1f{value}"


def lock(connection: Session, waits: Sequence[NewWait]) -> None:
    """Exclude the senders of these events until the end of the transaction."""
    names = sorted({lock_name(one.event, one.value) for one in waits})
    connection.execute(LOCK_EVENTS, (names,))
