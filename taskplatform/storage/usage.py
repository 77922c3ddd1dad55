"""Who has what of concurrency limits and breakers, and how much waits for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskplatform.storage.connection import Session
from taskplatform.storage.gates import RESERVED, gate_of
from taskplatform.storage.slots import LIVE, MOST

# So many that wait are counted at one gate.
_COUNTED = 100_000
_HOLDERS = 20

# The next gate of work in line is found by the index, whatever the length of the lines.
_GATES = """
WITH RECURSIVE waited AS (
    (SELECT gate FROM taskplatform.work
     WHERE gate > 'concurrency:' AND gate < 'concurrency;' ORDER BY gate LIMIT 1)
    UNION ALL
    SELECT (SELECT w.gate FROM taskplatform.work w
            WHERE w.gate > waited.gate AND w.gate < 'concurrency;' ORDER BY w.gate LIMIT 1)
    FROM waited WHERE waited.gate IS NOT NULL
)
SELECT gate, max(most) FROM (
    SELECT gate, NULL::integer AS most FROM waited WHERE gate IS NOT NULL
    UNION ALL
    SELECT gate, most FROM taskplatform.slots WHERE gate > 'concurrency:' AND gate < 'concurrency;'
) AS used GROUP BY gate ORDER BY gate
"""

_USED = f"""
SELECT given.gate,
       coalesce({MOST}, (SELECT max(s.most) FROM taskplatform.slots s WHERE s.gate = given.gate)),
       (SELECT count(*) FROM taskplatform.slots s WHERE s.gate = given.gate AND {LIVE}),
       {RESERVED.format(gate="given.gate", work_id="NULL")},
       (SELECT count(*) FROM (SELECT FROM taskplatform.work w
                              WHERE w.gate = given.gate LIMIT {_COUNTED}) AS line),
       (SELECT changed_at FROM taskplatform.limits l
        WHERE l.kind = 'concurrency' AND l.name = split_part(given.gate, ':', 2))
FROM unnest(%(gates)s::text[], %(limits)s::integer[]) AS given(gate, most)
"""

_WHO = f"""
SELECT s.run_id, r.pipeline, w.step || coalesce('[' || w.item || ']', ''), k.name, s.since
FROM taskplatform.slots s
LEFT JOIN taskplatform.runs r ON r.id = s.run_id
LEFT JOIN taskplatform.work w ON w.run_id = s.run_id AND w.epoch = s.epoch
LEFT JOIN taskplatform.holders h ON h.id = s.holder
LEFT JOIN taskplatform.workers k ON k.id = h.worker
WHERE s.gate = %(gate)s AND {LIVE} ORDER BY s.id LIMIT {_HOLDERS}
"""

# Of runs that were made before those that execute now, which are in order of time by their ids:
# they have ended lately. The newest ones stand in line themselves.
_LASTED = """
SELECT extract(epoch FROM avg(s.finished_at - s.started_at))::double precision
FROM (SELECT id FROM taskplatform.runs WHERE pipeline = %(pipeline)s AND id < %(before)s
      ORDER BY id DESC LIMIT 50) AS earlier
JOIN taskplatform.step_results s ON s.run_id = earlier.id AND s.step_name = %(step)s
"""


@dataclass(frozen=True, slots=True)
class Used:
    """A limit at one key: so much of it is taken; None: nobody here knows how much there is.

    `reserved` of what is taken is kept for work that was let go out of the line.
    """

    name: str
    key: str
    most: int | None
    taken: int
    reserved: int
    waiting: int
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Taker:
    """Who has a slot, and since when; without `step` and `worker` it is a run's until it ends."""

    run_id: UUID
    pipeline: str | None
    step: str | None
    worker: str | None
    since: datetime


def concurrency(connection: Session, declared: Mapping[str, int]) -> list[Used]:
    """The limits that are declared here, taken or waited for, by name and key."""
    found: dict[str, int | None] = dict(connection.execute(_GATES).fetchall())
    names = {gate.split(":", 2)[1] for gate in found}
    found |= {gate_of("concurrency", name): None for name in declared if name not in names}
    gates = {gate: declared.get(gate.split(":", 2)[1], most) for gate, most in found.items()}
    return sorted(used(connection, gates), key=lambda one: (one.name, one.key))


def used(connection: Session, gates: Mapping[str, int | None]) -> list[Used]:
    """How much is taken at gates, of limits as declared."""
    values = {"gates": list(gates), "limits": list(gates.values())}
    rows = connection.execute(_USED, values)
    return [_used(*gate.split(":", 2)[1:], *row) for gate, *row in rows]


def _used(
    name: str,
    key: str,
    most: int | None,
    taken: int,
    reserved: int,
    waiting: int,
    changed_at: datetime | None,
) -> Used:
    return Used(name, key, most, taken + reserved, reserved, waiting, changed_at)


def takers(connection: Session, gate: str) -> Sequence[Taker]:
    """Who has the slots of a gate, the first ones."""
    return [Taker(*row) for row in connection.execute(_WHO, {"gate": gate})]


def lasted(connection: Session, pipeline: str, step: str, takers: Sequence[Taker]) -> float | None:
    """How many seconds a step lasted in the runs before those of the takers, on average."""
    values = {"pipeline": pipeline, "step": step, "before": min(one.run_id for one in takers)}
    row = connection.execute(_LASTED, values).fetchone()
    return row[0] if row else None
