"""Slots: what is taken of a concurrency limit, and by whom.

A slot belongs to the body of one epoch and its holder, or to a run until that ends. It is free in
the transaction that settles the attempt or ends the run, or when the holder's lease is gone: slots
count only while their holder is there. Who takes one and who frees one exclude each other by an
advisory lock on the gate, taken after all rows: whoever is second sees what the first has done, so
no slot stays free beside a line, and there are never more than the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Cursor

from taskplatform.storage import gates
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.gates import IN_FRONT, LOCK_IDLE, RESERVED, Room
from taskplatform.storage.script import Statement

# A closed breaker is no limit.
_NO_LIMIT = 1_000_000_000

_LOCK_GATES = """
SELECT pg_advisory_xact_lock(hashtextextended(gate, 1))
FROM unnest(%(gates)s::text[]) AS given(gate)
"""

# In order of name, whoever asks: two who take several wait in one direction only.
_LOCK_FREED = """
SELECT pg_advisory_xact_lock(hashtextextended(gate, 1)) FROM (
    SELECT gate FROM taskplatform.slots WHERE epoch = ANY (%(epochs)s::bigint[])
    UNION
    SELECT gate FROM taskplatform.slots WHERE run_id = ANY (%(ended)s::uuid[]) AND holder IS NULL
    UNION
    SELECT gate FROM unnest(%(gates)s::text[]) AS given(gate)
    ORDER BY gate
) AS touched
"""

LIVE = """CASE WHEN s.holder IS NULL
         THEN (SELECT r.finished_at IS NULL FROM taskplatform.runs r WHERE r.id = s.run_id)
         ELSE (SELECT true FROM taskplatform.holders h WHERE h.id = s.holder) END"""

# What was set by hand wins over what is declared; how much a breaker lets through, it says itself.
MOST = f"""CASE split_part(given.gate, ':', 1)
        WHEN 'breaker' THEN coalesce((
            SELECT CASE b.state WHEN 'half-open' THEN b.level
                                WHEN 'closed' THEN {_NO_LIMIT}
                                ELSE (b.until <= clock_timestamp())::integer END
            FROM taskplatform.breakers b
            WHERE b.name = split_part(given.gate, ':', 2) COLLATE "default"
        ), {_NO_LIMIT})
        ELSE coalesce((
            SELECT l.most FROM taskplatform.limits l
            WHERE l.kind = 'concurrency'
              AND l.name = split_part(given.gate, ':', 2) COLLATE "default"
        ), given.most) END"""

# A body whose run has a slot of the gate needs none of its own.
_OWN = "s.run_id = %(run_id)s::uuid AND (s.holder IS NULL OR s.epoch = %(epoch)s::bigint)"

_TAKE = f"""
WITH asker AS MATERIALIZED (
    SELECT w.holder FROM taskplatform.work w JOIN taskplatform.holders h ON h.id = w.holder
    WHERE w.id = %(work_id)s AND w.epoch = %(epoch)s::bigint
), asked AS MATERIALIZED (
    SELECT given.gate, given.most AS declared, {MOST} AS most
    FROM unnest(%(gates)s::text[], %(limits)s::integer[]) AS given(gate, most)
), seen AS MATERIALIZED (
    SELECT asked.gate, asked.declared, asked.most,
           (SELECT count(*) FROM taskplatform.slots s
            WHERE s.gate = asked.gate AND NOT ({_OWN}) AND {LIVE})
           + {RESERVED.format(gate="asked.gate", work_id="%(work_id)s")} AS taken,
           {IN_FRONT.format(gate="asked.gate", work_id="%(work_id)s")} AS behind,
           coalesce((SELECT true FROM taskplatform.slots s
                     WHERE s.gate = asked.gate AND {_OWN} LIMIT 1), false) AS own
    FROM asked
), told AS MATERIALIZED (
    SELECT *, own OR (taken < most AND NOT behind
                      AND (%(epoch)s::bigint IS NULL OR EXISTS (SELECT FROM asker))) AS fits
    FROM seen
), taken AS (
    INSERT INTO taskplatform.slots (gate, run_id, holder, epoch, most)
    SELECT gate, %(run_id)s::uuid, (SELECT holder FROM asker), %(epoch)s::bigint, declared
    FROM told
    WHERE NOT own AND (SELECT bool_and(fits) FROM told)
)
SELECT gate, most, taken, fits FROM told
"""

# Also what ended while it was freed: a statement does not see what it deletes.
_FREE = f"""
WITH gone AS MATERIALIZED (
    SELECT id FROM taskplatform.slots WHERE epoch = ANY (%(epochs)s::bigint[])
    UNION
    SELECT s.id FROM taskplatform.slots s JOIN taskplatform.runs r ON r.id = s.run_id
    WHERE s.run_id = ANY (%(ended)s::uuid[]) AND s.holder IS NULL AND r.finished_at IS NOT NULL
), freed AS (
    DELETE FROM taskplatform.slots s USING gone WHERE s.id = gone.id
    RETURNING s.id, s.gate, s.most
), given AS MATERIALIZED (
    SELECT gate, max(most) AS most FROM (
        SELECT gate, most FROM freed
        UNION ALL
        SELECT * FROM unnest(%(gates)s::text[], %(limits)s::integer[])
    ) AS touched GROUP BY gate
), line AS MATERIALIZED (
    SELECT given.* FROM given
    CROSS JOIN LATERAL (SELECT FROM taskplatform.work WHERE gate = given.gate LIMIT 1) AS head
)
SELECT gate, most, taken FROM (
    SELECT given.gate, {MOST} AS most,
           (SELECT count(*) FROM taskplatform.slots s
            WHERE s.gate = given.gate AND {LIVE} AND s.id NOT IN (SELECT id FROM freed))
           + {RESERVED.format(gate="given.gate", work_id="NULL")} AS taken
    FROM line AS given
) AS room WHERE taken < most ORDER BY gate
"""

# The body of a run that is cancelled may go on for a while, and its slot is not free meanwhile.
_OUTLIVE = """
UPDATE taskplatform.slots s SET holder = w.holder, epoch = w.epoch
FROM taskplatform.work w
WHERE s.run_id = ANY (%(runs)s::uuid[]) AND s.holder IS NULL
  AND w.run_id = s.run_id AND w.holder IS NOT NULL AND w.rest IS DISTINCT FROM 'branches'
"""

_OF_RUNS = """
SELECT run_id, gate FROM taskplatform.slots
WHERE run_id = ANY (%(runs)s::uuid[]) AND holder IS NULL
"""

_OF_HOLDER = """
SELECT epoch FROM taskplatform.slots WHERE holder = %s
"""

_HOLDS = """
SELECT FROM taskplatform.slots WHERE epoch = %s AND gate = %s
"""

_SWEEP = f"""
DELETE FROM taskplatform.slots s
WHERE s.gate = ANY (%(gates)s::text[]) AND NOT coalesce({LIVE}, false)
"""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks: the body of work that is held under an epoch, or without that a run."""

    work_id: int
    run_id: UUID
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Full:
    """A gate with no room for who asked: `taken` of `most`, or there is a line."""

    gate: str
    most: int
    taken: int


Limits = Mapping[str, int]


def take(connection: Session, asking: Asking, limits: Limits) -> Full | None:
    """Take a slot of each gate, or of none; the first that is full. In a transaction.

    `limits` are the limits by gate, as declared. Who was let go out of a line uses what was kept
    free for it.
    """
    with connection.pipeline():
        connection.execute(_LOCK_GATES, {"gates": sorted(limits)})
        answer = connection.execute(_TAKE, _asked(asking, limits))
        gates.used(connection, asking.work_id, limits)
        told = answer.fetchall()
    full = [Full(gate, most, taken) for gate, most, taken, fits in told if not fits]
    return full[0] if full else None


def take_for_runs(connection: Session, asked: Sequence[tuple[Asking, Limits]]) -> list[Full | None]:
    """Take the slots of several runs, one after the other, in one trip and transaction."""
    wanted = sorted({gate for _, limits in asked for gate in limits})
    with one_trip(connection):
        connection.execute(_LOCK_GATES, {"gates": wanted})
        answers = []
        for asking, limits in asked:
            answers.append(connection.execute(_TAKE, _asked(asking, limits)))
            gates.used(connection, asking.work_id, limits)
    found = []
    for answer in answers:
        full = [Full(gate, most, taken) for gate, most, taken, fits in answer if not fits]
        found.append(full[0] if full else None)
    return found


def _asked(asking: Asking, limits: Limits) -> dict[str, Any]:
    return {
        "gates": list(limits),
        "limits": list(limits.values()),
        "work_id": asking.work_id,
        "run_id": asking.run_id,
        "epoch": asking.epoch,
    }


def free(
    connection: Session, epochs: Sequence[int], ended: Sequence[UUID], limits: Limits
) -> Cursor[Any]:
    """Free the slots of bodies and of runs that have ended; answers where a line can move on.

    `limits` are gates to look at in any case. To be called when all rows are locked; for `let_go`.
    """
    values = {
        "epochs": list(epochs),
        "ended": list(ended),
        "gates": list(limits),
        "limits": list(limits.values()),
    }
    connection.execute(_LOCK_FREED, values)
    return connection.execute(_FREE, values)


def let_go(connection: Session, freed: Cursor[Any]) -> bool:
    """Let the heads of lines go where there is room, in the transaction that made it."""
    rooms = [Room(*row) for row in freed]
    return bool(rooms and gates.release(connection, rooms))


def give_up(connection: Session, epochs: Sequence[int]) -> dict[str, int]:
    """Free the slots of bodies that nobody settles; how many are ready by that, by queue."""
    with connection.pipeline(), connection.transaction():
        moved = let_go(connection, free(connection, epochs, (), {}))
    return release_due(connection) if moved else {}


def holds(connection: Session, gate: str, epoch: int) -> bool:
    """Whether the body of an epoch has a slot of a gate."""
    return connection.execute(_HOLDS, (epoch, gate)).fetchone() is not None


def bury(connection: Session, holder: int) -> dict[str, int]:
    """Free the slots of a holder that is dead; how many are ready by that, by queue."""
    epochs = [row[0] for row in connection.execute(_OF_HOLDER, (holder,))]
    return give_up(connection, epochs) if epochs else {}


def outliving(runs: Sequence[UUID]) -> list[Statement]:
    """Tell the slots that runs hold until they end, and leave them to the bodies that execute.

    For runs that are about to be cancelled.
    """
    values = {"runs": list(runs)}
    return [Statement(_OF_RUNS, values), Statement(_OUTLIVE, values)]


def rooms(connection: Session, limits: Limits) -> list[Room]:
    """The room at gates that nobody else is busy with, for a supervisor; in a transaction."""
    values: dict[str, Any] = {"gates": list(limits), "limits": list(limits.values())}
    own: dict[str, int] = dict(connection.execute(LOCK_IDLE, values).fetchall())
    if not own:
        return []
    connection.execute(_SWEEP, {"gates": list(own)})
    values = {"epochs": [], "ended": [], "gates": list(own), "limits": list(own.values())}
    return [Room(*row) for row in connection.execute(_FREE, values)]
