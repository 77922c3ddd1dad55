"""Gates: the lines in which work waits for a limit, and how it is let go, a few at a time.

What is let go of a line becomes due; dispatch makes it ready like everything else that is due. So
much of the limit is kept free for it meanwhile: a reservation, which it uses when it asks again.
One that nobody used in time is void, and the next of the line is let go instead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask

# So long a reservation holds: released work is claimed within milliseconds where a worker is free.
HOLD = 2.0
# Of one line, in one go.
BATCH = 200

# What is kept free at a gate for others; by `gate`, for the asking `work_id` (None: for all).
RESERVED = """coalesce((
    SELECT sum(v.weight) FROM taskplatform.reservations v
    WHERE v.gate = {gate} AND v.until > clock_timestamp()
      AND coalesce(v.work_id, 0) <> coalesce({work_id}, -1)), 0)"""

# Whether somebody of at least the rank of the asking work stands in line; it was let go itself
# if there is a reservation for it. Only the head is looked at: nobody has a higher rank.
IN_FRONT = """coalesce((
    SELECT (head.rank, head.id) < (own.rank, own.id)
    FROM taskplatform.work own
    CROSS JOIN LATERAL (
        SELECT rank, id FROM taskplatform.work
        WHERE gate = {gate} ORDER BY rank, id LIMIT 1
    ) AS head
    WHERE own.id = {work_id}
      AND (SELECT true FROM taskplatform.reservations v
           WHERE v.work_id = own.id AND v.gate = {gate} AND v.until > clock_timestamp()) IS NULL
    ), false)"""

_MAY_ENTER = f"""
SELECT NOT {IN_FRONT.format(gate="%(gate)s", work_id="%(work_id)s")},
       {RESERVED.format(gate="%(gate)s", work_id="%(work_id)s")}
"""

# Gates that nobody else is busy with, for who looks at them all.
LOCK_IDLE = """
SELECT gate, most FROM unnest(%(gates)s::text[], %(limits)s::integer[]) AS given(gate, most)
WHERE pg_try_advisory_xact_lock(hashtextextended(gate, 1))
"""

_USED = """
DELETE FROM taskplatform.reservations WHERE work_id = %s AND gate = ANY (%s::text[])
"""

# What living workers serve and nobody has paused.
SERVED = """alive AS MATERIALIZED (
    SELECT queues, pipelines FROM taskplatform.workers WHERE lease_until > clock_timestamp()
), served AS MATERIALIZED (
    SELECT ARRAY(SELECT DISTINCT unnest(queues) FROM alive) AS queues,
           ARRAY(SELECT DISTINCT unnest(pipelines) FROM alive
                 EXCEPT SELECT pipeline FROM taskplatform.pauses) AS pipelines
)"""
IS_SERVED = "queue = ANY (served.queues) AND pipeline = ANY (served.pipelines)"

# As in a claim, who has used least of the queue's workers goes first, and so much less for each
# point of priority; of one lane the second after the first of another that has used as much. A
# lane that was not charged yet begins beside the least.
_A_TURN, _A_POINT = 0.05, 60.0
_MOST_LANES = 200

# While something of a queue was let go and not claimed within the reservation's time, its workers
# are busy, and more would only lie there. What no living worker serves is left in the line, in
# nobody's way, and so is what is paused. Each lane is found in one step; mostly there is one.
_RELEASE = f"""
WITH room AS MATERIALIZED (
    SELECT * FROM unnest(%(gates)s::text[], %(limits)s::integer[], %(taken)s::bigint[])
        AS given(gate, most, taken)
), {SERVED}, first AS MATERIALIZED (
    SELECT room.gate, room.most, room.taken, found.lane, w.*
    FROM room CROSS JOIN served CROSS JOIN LATERAL (
        WITH RECURSIVE found AS (
            (SELECT lane FROM taskplatform.work WHERE gate = room.gate ORDER BY lane LIMIT 1)
            UNION ALL
            SELECT next.lane FROM found CROSS JOIN LATERAL (
                SELECT lane FROM taskplatform.work
                WHERE gate = room.gate AND lane > found.lane ORDER BY lane LIMIT 1) AS next
        )
        SELECT lane FROM found LIMIT {_MOST_LANES}
    ) AS found
    CROSS JOIN LATERAL (
        SELECT id, rank, queue, priority, coalesce(gate_weight, 1) AS weight,
               coalesce(gate_share, 1) AS share
        FROM taskplatform.work
        WHERE gate = room.gate AND lane = found.lane AND {IS_SERVED}
          AND queue <> ALL (ARRAY(
              SELECT late.queue FROM taskplatform.reservations v
              CROSS JOIN LATERAL (
                  SELECT queue, holder, due_at FROM taskplatform.work
                  WHERE id = v.work_id LIMIT 1) AS late
              WHERE v.gate = room.gate AND v.until <= clock_timestamp()
                AND late.holder IS NULL AND late.due_at IS NULL))
        ORDER BY rank, id LIMIT least(greatest(room.most - room.taken, 0), %(batch)s)
        FOR UPDATE SKIP LOCKED
    ) AS w
), line AS (
    SELECT f.*,
           coalesce((SELECT vtime FROM taskplatform.lanes l
                     WHERE l.queue = f.queue AND l.lane = f.lane),
                    (SELECT min(vtime) FROM taskplatform.lanes l WHERE l.queue = f.queue), 0)
           + {_A_TURN} * (row_number() OVER in_lane - 1)
             / coalesce((SELECT weight FROM taskplatform.weights WHERE fair_key = f.lane), 1)
           - {_A_POINT} * first_value(f.priority) OVER in_lane AS turn
    FROM first f WINDOW in_lane AS (PARTITION BY f.gate, f.lane ORDER BY f.rank, f.id)
), walked AS (
    SELECT gate, id, weight,
           bool_and(taken + total <= least(most, greatest(1, floor(most * share)))) OVER walk
               AS fits
    FROM (SELECT *, sum(weight) OVER (PARTITION BY gate ORDER BY turn, rank, id
                                      ROWS UNBOUNDED PRECEDING) AS total FROM line) AS summed
    WINDOW walk AS (PARTITION BY gate ORDER BY total ROWS UNBOUNDED PRECEDING)
), released AS (
    UPDATE taskplatform.work w
    SET due_at = clock_timestamp(), gate = NULL, gate_weight = NULL, gate_share = NULL
    FROM walked WHERE w.id = walked.id AND walked.fits
    RETURNING w.id, walked.gate, walked.weight
), kept AS (
    INSERT INTO taskplatform.reservations AS old (gate, work_id, weight, until)
    SELECT gate, id, weight, clock_timestamp() + make_interval(secs => %(hold)s) FROM released
    ON CONFLICT (work_id) WHERE work_id IS NOT NULL DO UPDATE
    SET gate = excluded.gate, weight = excluded.weight, until = excluded.until
)
SELECT gate, count(*) FROM released GROUP BY gate
"""

# The next gate is found by the index, whatever the length of the lines between.
_LINES = """
WITH RECURSIVE found AS (
    (SELECT gate FROM taskplatform.work
     WHERE gate > %(prefix)s AND gate < %(end)s ORDER BY gate LIMIT 1)
    UNION ALL
    SELECT (SELECT w.gate FROM taskplatform.work w
            WHERE w.gate > found.gate AND w.gate < %(end)s ORDER BY w.gate LIMIT 1)
    FROM found WHERE found.gate IS NOT NULL
)
SELECT gate FROM found WHERE gate IS NOT NULL LIMIT %(limit)s
"""

_ANY = """
SELECT FROM taskplatform.work WHERE gate IS NOT NULL LIMIT 1
"""

# One that lies there unclaimed says that the workers of its queue are busy.
_SWEEP = """
DELETE FROM taskplatform.reservations v WHERE v.id IN (
    SELECT old.id FROM taskplatform.reservations old
    LEFT JOIN taskplatform.work w ON w.id = old.work_id
    WHERE old.until < clock_timestamp() - make_interval(secs => %(hold)s)
      AND (w.id IS NULL OR w.holder IS NOT NULL OR w.due_at IS NOT NULL)
    FOR UPDATE OF old SKIP LOCKED
)
"""

_STANDING = """
SELECT w.id, w.step, w.gate, w.waiting_for,
       (SELECT count(*) FROM (
            SELECT FROM taskplatform.work f
            WHERE f.gate = w.gate AND (f.rank, f.id) < (w.rank, w.id)
            LIMIT %(most)s) AS before),
       (SELECT coalesce(sum(weight), 0) FROM (
            SELECT coalesce(gate_weight, 1) AS weight FROM taskplatform.work f
            WHERE f.gate = w.gate AND (f.rank, f.id) < (w.rank, w.id)
            LIMIT %(most)s) AS before),
       coalesce(w.gate_weight, 1)
FROM taskplatform.work w WHERE w.run_id = %(run_id)s AND w.gate IS NOT NULL ORDER BY w.id
"""

_WAITING = """
SELECT given.gate, (SELECT count(*) FROM (
    SELECT FROM taskplatform.work w WHERE w.gate = given.gate LIMIT %(most)s) AS line)
FROM unnest(%(gates)s::text[]) AS given(gate)
"""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a gate's limit is taken, by use and by reservations."""

    gate: str
    most: int
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a branch of a run stands in line: so many, of so much weight, are before it."""

    work_id: int
    step: str
    gate: str
    waiting_for: str | None
    before: int
    weight_before: int
    weight: int


def gate_of(kind: str, name: str, key: str = "") -> str:
    """The name of a gate, as it stands in the database."""
    return f"{kind}:{name}:{key}"


def may_enter(connection: Session, gate: str, work_id: int) -> tuple[bool, int]:
    """Whether nobody of at least its rank stands in line, and how much is kept free for others.

    Who was let go out of the line may enter.
    """
    row = connection.execute(_MAY_ENTER, {"gate": gate, "work_id": work_id}).fetchone()
    assert row is not None
    return row[0], row[1]


def used(connection: Session, work_id: int, asked: Iterable[str]) -> None:
    """End the reservation of work that has asked at these gates, whatever it was told.

    At another gate, which it has not asked yet, its place is kept.
    """
    connection.execute(_USED, (work_id, list(asked)))


def release(connection: Session, rooms: Sequence[Room]) -> dict[str, int]:
    """Let the heads of lines go, as many as there is room for; return how many, by gate.

    They are due now: `dispatch.release_due` makes them ready. Who calls this sees to it that
    nobody else counts the same room at the same time.
    """
    values = {
        "gates": [one.gate for one in rooms],
        "limits": [one.most for one in rooms],
        "taken": [one.taken for one in rooms],
        "hold": HOLD,
        "batch": BATCH,
    }
    return dict(connection.execute(_RELEASE, values).fetchall())


def any_in_line(connection: Session) -> bool:
    """Whether anything stands in line anywhere."""
    return bool(ask(connection, _ANY, {}))


def lines(connection: Session, kind: str, after: str = "", limit: int = 1000) -> list[str]:
    """The gates of a kind at which somebody stands in line, by name, from the one after `after`."""
    prefix = f"{kind}:"
    values = {"prefix": max(prefix, after), "end": f"{kind};", "limit": limit}
    return [row[0] for row in connection.execute(_LINES, values)]


def waiting(connection: Session, gates: Sequence[str], most: int = 100_000) -> dict[str, int]:
    """How many stand in line at each of these gates, counted up to `most`."""
    return dict(connection.execute(_WAITING, {"gates": list(gates), "most": most}).fetchall())


def standing(connection: Session, run_id: UUID, most: int = 100_000) -> list[Standing]:
    """Where the branches of a run stand in line, counted up to `most`."""
    rows = connection.execute(_STANDING, {"run_id": run_id, "most": most})
    return [Standing(*row) for row in rows]


def sweep(connection: Session) -> None:
    """Forget the reservations that are void."""
    connection.execute(_SWEEP, {"hold": HOLD})
