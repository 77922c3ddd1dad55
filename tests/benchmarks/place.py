"""Where a session takes place: its database, its broker, its marks, the servers' processes."""

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.marks import VARIABLE

DATABASE = "BENCHMARK_DATABASE_URL"
BROKER = "BENCHMARK_BROKER_URL"
READY = "BENCHMARK_READY"


@dataclass(frozen=True)
class Place:
    """One session's; nobody else uses the database and the broker meanwhile.

    `ready` is an empty folder, in which workers that say so write that they are ready.
    """

    database_url: str
    broker_url: str
    marks: Path
    ready: Path
    postgres: int
    valkey: int

    def environment(self) -> dict[str, str]:
        """For the client, which is the session's own process, and for workers."""
        return {
            DATABASE: self.database_url,
            BROKER: self.broker_url,
            VARIABLE: str(self.marks),
            READY: str(self.ready),
        }
