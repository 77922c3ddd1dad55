"""Events: stored, and matched with the waits that are open, in one transaction."""

from collections.abc import Sequence
from uuid import UUID

from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.join_sql import DERIVE
from taskplatform.storage.new_run import NewRun, insert
from taskplatform.storage.waits import WAKE_MATCHED, lock_name

# Shared: senders do not wait for each other, only for who registers a wait.
_LOCK = """
SELECT pg_advisory_xact_lock_shared(hashtextextended(name, 0))
FROM unnest(%s::text[]) AS given(name)
"""

_STORE = """
INSERT INTO taskplatform.events (id, name, data) VALUES (%s, %s, %s::json)
ON CONFLICT (id) DO NOTHING RETURNING id
"""

_OPEN = """
SELECT run_id, step_name FROM taskplatform.waits
WHERE event = %(name)s AND event_id IS NULL AND expires_at > clock_timestamp()
  AND value = ANY (%(values)s::text[])
  AND (field = '' OR %(data)s::json ->> field = value)
"""

_LOCK_RUNS = """
SELECT id FROM taskplatform.runs WHERE id = ANY (%(runs)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""

# Asked in a way that fits no index but the primary key: the planner would walk all open waits.
_MATCH = """
UPDATE taskplatform.waits w SET event_id = %(id)s
FROM unnest(%(runs)s::uuid[], %(steps)s::text[]) AS found(run_id, step)
WHERE w.run_id = found.run_id AND w.step_name = found.step
  AND coalesce(w.event_id, %(id)s) = %(id)s AND w.event || '' = %(name)s
  AND w.expires_at > clock_timestamp()
"""

_WOKEN = """
SELECT woken.queue, count(*) FROM unnest(%(runs)s::uuid[]) AS given(id)
CROSS JOIN LATERAL (
    SELECT queue FROM taskplatform.work
    WHERE run_id = given.id AND coalesce(holder, 0) = 0 AND due_at IS NULL AND rest = 'event'
    LIMIT 1000
) AS woken
GROUP BY woken.queue
"""


def send(
    connection: Session,
    *,
    id: UUID,
    name: str,
    data: bytes,
    values: Sequence[str],
    handlers: Sequence[NewRun] = (),
) -> dict[str, int]:
    """Store an event, once, and make ready what waits for it; return how many rows by queue.

    `values` are the texts of its top-level fields, `handlers` the runs that it starts.
    """
    wanted = sorted({"", *values})
    with connection.transaction():
        with one_trip(connection):
            connection.execute(_LOCK, ([lock_name(name, value) for value in wanted],))
            stored = connection.execute(_STORE, (id, name, data.decode()))
        if stored.fetchone() is None:
            return {}
        given = {"id": id, "name": name, "values": wanted, "data": data.decode()}
        given["given_back"] = False
        found = connection.execute(_OPEN, given).fetchall()
        ring: dict[str, int] = {}
        if found:
            given |= {"runs": [row[0] for row in found], "steps": [row[1] for row in found]}
            with one_trip(connection):
                connection.execute(_LOCK_RUNS, given)
                connection.execute(_MATCH, given)
                connection.execute(WAKE_MATCHED, given)
                connection.execute(DERIVE, given)
                woken = connection.execute(_WOKEN, given)
            ring = dict(woken.fetchall())
        if handlers:
            insert(connection, list(handlers))
            for one in handlers:
                ring[one.queue] = ring.get(one.queue, 0) + 1
        return ring
