"""Workers: which are alive, what they serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from taskplatform.storage.connection import Session
from taskplatform.storage.leases import LEASE_SECONDS

_REPORT = """
INSERT INTO taskplatform.workers AS w
    (id, name, host, pid, pool, concurrency, queues, pipelines, lease_until, clock_ahead,
     claims_per_second)
VALUES (%(id)s, %(name)s, %(host)s, %(pid)s, %(pool)s, %(concurrency)s, %(queues)s, %(pipelines)s,
        clock_timestamp() + make_interval(secs => %(lease)s),
        extract(epoch FROM %(here)s - clock_timestamp()), %(claims_per_second)s)
ON CONFLICT (id) DO UPDATE
SET lease_until = excluded.lease_until, queues = excluded.queues, pipelines = excluded.pipelines,
    clock_ahead = excluded.clock_ahead, claims_per_second = excluded.claims_per_second,
    stale_writes_refused = w.stale_writes_refused + %(refused)s
"""

_GONE = """
DELETE FROM taskplatform.workers WHERE id = %s
"""

_SWEEP = """
DELETE FROM taskplatform.workers WHERE lease_until < clock_timestamp() - interval '1 minute'
"""

_LIST = """
SELECT w.id, w.name, w.host, w.pid, w.pool, w.concurrency, w.queues, w.pipelines, w.started_at,
       extract(epoch FROM clock_timestamp() - w.lease_until)::double precision + %s AS silent,
       w.stale_writes_refused, w.clock_ahead, w.claims_per_second,
       (SELECT count(*) FROM taskplatform.work k JOIN taskplatform.holders h ON h.id = k.holder
        WHERE h.worker = w.id)
FROM taskplatform.workers w
WHERE w.lease_until > clock_timestamp()
ORDER BY w.name, w.started_at
"""

_UNSERVED = """
SELECT w.queue, count(*) FROM taskplatform.work w
WHERE NOT EXISTS (SELECT FROM taskplatform.workers k
                  WHERE k.lease_until > clock_timestamp() AND w.queue = ANY (k.queues)
                    AND w.pipeline = ANY (k.pipelines))
GROUP BY w.queue ORDER BY w.queue
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """A live worker; `silent_for` is seconds since its last report, `busy` the work it holds.

    `clock_ahead` is seconds that its clock is ahead of the database's; None if it does not tell.
    """

    id: UUID
    name: str
    host: str
    pid: int
    pool: str
    concurrency: int
    queues: list[str]
    pipelines: list[str]
    started_at: datetime
    silent_for: float
    stale_writes_refused: int
    clock_ahead: float | None
    claims_per_second: float
    busy: int


def report(
    connection: Session,
    *,
    id: UUID,
    name: str,
    host: str,
    pid: int,
    pool: str,
    concurrency: int,
    queues: Sequence[str],
    pipelines: Sequence[str],
    refused: int = 0,
    claims_per_second: float = 0.0,
) -> None:
    """Say that a worker is alive; `refused` stale writes are added to its count.

    `claims_per_second` is how much it claimed lately.
    """
    here = datetime.now(UTC)
    connection.execute(
        _REPORT,
        {
            "id": id,
            "name": name,
            "host": host,
            "pid": pid,
            "pool": pool,
            "concurrency": concurrency,
            "queues": list(queues),
            "pipelines": list(pipelines),
            "refused": refused,
            "lease": LEASE_SECONDS,
            "here": here,
            "claims_per_second": claims_per_second,
        },
    )


def gone(connection: Session, worker: UUID) -> None:
    """Forget a worker that ended."""
    connection.execute(_GONE, (worker,))


def sweep(connection: Session) -> None:
    """Forget workers that have been silent for long."""
    connection.execute(_SWEEP)


def live(connection: Session) -> list[Worker]:
    """The workers that reported within their lease."""
    return [Worker(*row) for row in connection.execute(_LIST, (LEASE_SECONDS,))]


def unserved(connection: Session) -> dict[str, int]:
    """Queues with work that no live worker can execute, and how much of it."""
    return dict(connection.execute(_UNSERVED).fetchall())
