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
