"""The lines of throttles: whose head may go by now, and when the next one may."""

from collections.abc import Sequence

from taskplatform.storage import gates
from taskplatform.storage.connection import Session
from taskplatform.storage.throttles import ALLOWED, HELD, KIND, VALID_SHARE, free_at

BATCH = 100
# Who was refused joins the line a moment later; after this long it was cancelled or killed.
_JOINS_WITHIN = 0.5

# Not SKIP LOCKED: who asks holds a hot bucket most of the time, and only for a moment. A row that
# somebody else saw to meanwhile is looked at anew, and left out.
_LOCK_DUE = """
SELECT id FROM taskplatform.throttle_buckets
WHERE next_at <= clock_timestamp() AND id = ANY (ARRAY(
    SELECT id FROM taskplatform.throttle_buckets WHERE next_at <= clock_timestamp()
    ORDER BY next_at LIMIT %(batch)s))
ORDER BY id FOR UPDATE
"""

_GATE = f"'{KIND}:' || b.name || ':' || b.scope"
RESERVED = gates.RESERVED.format(gate="c.gate", work_id="NULL::bigint")

COUNTED = f"""
WITH now AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), asked AS MATERIALIZED (
    SELECT b.id, {_GATE} AS gate, now.at, coalesce(l.most, b.most) AS most,
           coalesce(l.per, b.per) * %(lasts)s AS span
    FROM {{source}}
    CROSS JOIN now
    LEFT JOIN taskplatform.limits l ON l.kind = '{KIND}' AND l.name = b.name
), counted AS MATERIALIZED (
    SELECT a.*, b.closed_until, b.next_at, {HELD.format(span="a.span", now="a.at")} AS held
    FROM asked a JOIN taskplatform.throttle_buckets b ON b.id = a.id
)"""
BUCKETS = """(
    SELECT * FROM taskplatform.throttle_buckets
    WHERE name = coalesce(%(name)s, name) AND scope = coalesce(%(scope)s, scope)
    ORDER BY name, scope LIMIT %(most)s
) AS b"""
_OF_IDS = COUNTED.format(
    source="unnest(%(ids)s::bigint[]) AS given(id) "
    "JOIN taskplatform.throttle_buckets b ON b.id = given.id"
)
_OF_GATES = COUNTED.format(
    source="unnest(%(names)s::text[], %(scopes)s::text[]) AS given(name, scope) "
    "JOIN taskplatform.throttle_buckets b ON b.name = given.name AND b.scope = given.scope"
)

_ROOMS = f"""{_OF_IDS}
SELECT c.gate, c.most, c.held + {RESERVED} FROM counted c WHERE c.closed_until <= c.at
"""

_HEADS = f"""heads AS MATERIALIZED (
    SELECT c.*, head.weight, {ALLOWED.format(most="c.most", share="head.share")} AS allowed,
           c.held + {RESERVED}::bigint + head.weight
               - {ALLOWED.format(most="c.most", share="head.share")} AS needed
    FROM counted c CROSS JOIN served LEFT JOIN LATERAL (
        SELECT coalesce(gate_weight, 1) AS weight, coalesce(gate_share, 1) AS share
        FROM taskplatform.work WHERE gate = c.gate AND {gates.IS_SERVED}
        ORDER BY rank, id LIMIT 1
    ) AS head ON true
)"""

# Room that has come since the rooms were counted is for another look, at once. Who could have gone
# and did not has workers that are busy: nothing can be told by the clock.
_PLAN = f"""{_OF_IDS}, {gates.SERVED}, {_HEADS}
UPDATE taskplatform.throttle_buckets b
SET next_at = CASE
        WHEN h.weight IS NULL AND h.gate <> ALL (%(released)s::text[])
            AND h.next_at > h.at - make_interval(secs => %(late)s) THEN h.next_at
        WHEN h.weight IS NULL THEN NULL
        WHEN h.needed > 0 OR h.closed_until > h.at THEN greatest(h.closed_until, {
    free_at("h", "h.needed")
})
        WHEN h.gate <> ALL (%(stuck)s::text[]) THEN h.at
    END
FROM heads h WHERE b.id = h.id
"""

# Nothing is locked and little is written: the timer of a line is set that has none, or behind
# which room has come from a reservation that nobody used.
_POKE = f"""{_OF_GATES}, {gates.SERVED}, {_HEADS}
UPDATE taskplatform.throttle_buckets b SET next_at = h.at
FROM heads h
WHERE b.id = h.id AND h.weight IS NOT NULL
  AND (h.next_at IS NULL OR (h.next_at > h.at AND h.needed <= 0 AND h.closed_until <= h.at))
"""


def let_go(connection: Session) -> int:
    """Let go of the lines who may go by now, and note when the next ones may; how many went.

    In one transaction, in which the buckets are locked; at most `BATCH` of them.
    """
    with connection.transaction():
        locked = connection.execute(_LOCK_DUE, {"batch": BATCH})
        values = {"ids": [row[0] for row in locked], "lasts": 1 + VALID_SHARE}
        if not values["ids"]:
            return 0
        rooms = [gates.Room(*row) for row in connection.execute(_ROOMS, values)]
        released = gates.release(connection, rooms) if rooms else {}
        stuck = [room.gate for room in rooms if room.taken < room.most]
        more = {
            "released": list(released),
            "stuck": [gate for gate in stuck if gate not in released],
            "late": _JOINS_WITHIN,
        }
        connection.execute(_PLAN, values | more)
    return sum(released.values())


def wake(connection: Session, waiting: Sequence[str]) -> Sequence[gates.Room]:
    """See to it that somebody looks at these lines who should; `let_go` does the rest."""
    parts = [gate.split(":", 2)[1:] for gate in waiting]
    values = {
        "names": [name for name, _ in parts],
        "scopes": [scope for _, scope in parts],
        "lasts": 1 + VALID_SHARE,
    }
    connection.execute(_POKE, values)
    return ()
