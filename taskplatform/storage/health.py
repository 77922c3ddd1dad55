"""What the database says of itself, for a check of the installation."""

from dataclasses import dataclass
from datetime import datetime

from taskplatform.storage.connection import Session

_FACTS = """
SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
       current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
       current_setting('synchronous_commit'),
       current_setting('default_transaction_read_only') = 'on' OR pg_is_in_recovery(),
       clock_timestamp()
"""

_BACKEND = "SELECT pg_backend_pid()"

_HURRY = "SELECT set_config('statement_timeout', %s, false)"

_OLDEST_QUEUED = """
SELECT created_at FROM taskplatform.runs
WHERE status = 'queued' AND status <> 'succeeded' ORDER BY id LIMIT 1
"""

# Half a minute: after an outage nobody is given up for as long as a lease.
_STUCK = """
SELECT (SELECT count(*) FROM (
            SELECT FROM taskplatform.work w
            WHERE w.holder IS NOT NULL
              AND NOT EXISTS (SELECT FROM taskplatform.holders h
                              WHERE h.id = w.holder
                                AND h.lease_until > clock_timestamp() - interval '30 s')
            LIMIT 100) AS held),
       (SELECT count(*) FROM (
            SELECT FROM taskplatform.runs r
            WHERE r.status IN ('scheduled', 'queued', 'running', 'waiting')
              AND r.status <> 'succeeded'
              AND NOT EXISTS (SELECT FROM taskplatform.work w WHERE w.run_id = r.id)
            LIMIT 100) AS open)
"""

_LONG_TRANSACTIONS = """
SELECT pid, usename, application_name, state,
       extract(epoch FROM clock_timestamp() - xact_start)::double precision
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - make_interval(secs => %s)
ORDER BY xact_start LIMIT 10
"""

_SPILL = """
SELECT max(line) FROM (SELECT md5(n::text) AS line FROM generate_series(1, 8000) AS n
                       ORDER BY line OFFSET 0) AS sorted
"""

_UP_FOR = """
SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::double precision
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """A server's version, its clock and how much a commit of it means."""

    version_number: int
    version: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    read_only: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction of a session, with its age in seconds."""

    pid: int
    user: str | None
    application: str
    state: str | None
    age: float


def facts(connection: Session) -> Facts:
    """Ask the server."""
    row = connection.execute(_FACTS).fetchone()
    assert row is not None
    return Facts(*row)


def up_for(connection: Session) -> float:
    """Seconds since the server was started."""
    row = connection.execute(_UP_FOR).fetchone()
    assert row is not None
    return float(row[0])


def hurry(connection: Session, seconds: float) -> None:
    """Let no statement of this session take longer."""
    connection.execute(_HURRY, (f"{seconds * 1000:.0f}",))


def oldest_queued(connection: Session) -> datetime | None:
    """When the oldest run that is queued was enqueued."""
    row = connection.execute(_OLDEST_QUEUED).fetchone()
    return None if row is None else row[0]


def stuck(connection: Session) -> tuple[int, int]:
    """Work that is held without a lease for long, and open runs without work; 100 at most."""
    row = connection.execute(_STUCK).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def long_transactions(connection: Session, seconds: float) -> list[Transaction]:
    """Transactions of others in this database that are open for longer, the oldest first."""
    rows = connection.execute(_LONG_TRANSACTIONS, (seconds,))
    return [Transaction(*row) for row in rows]


def spill(connection: Session) -> None:
    """Write a little to the server's disk, and leave nothing there.

    Raises psycopg.errors.DiskFull, or ConfigurationLimitExceeded for a limit on such files.
    """
    with connection.transaction():
        connection.execute("SET LOCAL work_mem = '64kB'")
        connection.execute(_SPILL)


def backends(one: Session, other: Session, rounds: int = 8) -> tuple[set[int], set[int]]:
    """The server processes that two open connections meet, each in transactions of its own.

    Without a pooler each meets one, and never the other's. One that pools by transaction hands
    the process that the first gave back to the second. The pauses between turns differ, so that
    a pooler that goes round its processes in order is found out too.
    """
    met: tuple[set[int], set[int]] = (set(), set())
    for turn in range(rounds):
        for place in (0, 1, *([1] * (turn % 3))):
            row = (one, other)[place].execute(_BACKEND, prepare=False).fetchone()
            assert row is not None
            met[place].add(row[0])
    return met


def announced_backend(connection: Session) -> int:
    """The server process as it was named when the connection was made; a pooler makes one up."""
    return connection.info.backend_pid
