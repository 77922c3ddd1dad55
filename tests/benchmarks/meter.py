"""What it costs: CPU of each party, transactions and log of Postgres, commands of Valkey."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from os import times
from time import monotonic

import psycopg
from redis import Redis

from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.place import Place


@dataclass(frozen=True, slots=True)
class Reading:
    """Of counters that only rise. CPU in seconds.

    `commits` are transactions that wrote, each of which the server has to put on disk;
    `transactions` are all that ended in the database, as far as its sessions have reported: a busy
    one does so every second, one that has become idle after ten.
    """

    seconds: float
    client: float
    worker: float
    postgres: float
    valkey: float
    commits: int
    transactions: int
    wal_bytes: int
    commands: int

    def __sub__(self, other: "Reading") -> "Reading":
        return Reading(
            **{one.name: getattr(self, one.name) - getattr(other, one.name) for one in fields(self)}
        )

    @property
    def cpu(self) -> float:
        """Of all parties."""
        return self.client + self.worker + self.postgres + self.valkey


class Meter:
    """Reads the counters. The client is this process; the reading itself is on its account."""

    def __init__(self, place: Place, workers: Sequence[int]) -> None:
        self._place = place
        self._workers = workers
        self._connection = psycopg.connect(place.database_url, autocommit=True)
        self._valkey = Redis.from_url(place.broker_url)

    def read(self) -> Reading:
        """Now."""
        commits, wal = self._row(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
            " pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
        )
        own = times()
        return Reading(
            seconds=monotonic(),
            client=own.user + own.system,
            worker=cpu_seconds(self._workers),
            postgres=cpu_seconds([self._place.postgres]),
            valkey=cpu_seconds([self._place.valkey]),
            commits=int(commits),
            transactions=self._transactions(),
            wal_bytes=int(wal),
            commands=int(self._valkey.info("stats")["total_commands_processed"]),
        )

    def close(self) -> None:
        """Close its own connections."""
        self._connection.close()
        self._valkey.close()

    def _transactions(self) -> int:
        self._connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        row = self._row("SELECT xact_commit, xact_rollback FROM pg_stat_database"
                        " WHERE datname = current_database()")  # fmt: skip
        return sum(row)

    def _row(self, statement: str) -> tuple[int, int]:
        row = self._connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0], row[1]
