"""The servers that both contenders share: embedded ones of their own, erased at the end."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from redis import Redis

from taskplatform.embedded import endpoints, erase, status
from taskplatform.storage.migrations import upgrade
from tests.benchmarks import chain_app, marks

FIVE, ONE = 5, 1


@dataclass(frozen=True)
class Servers:
    """Where they are, their processes, and the environment in which contenders find them."""

    database_url: str
    platform_broker: str
    chain_broker: str
    pids: tuple[int, ...]
    marks: marks.Marks

    def environment(self) -> dict[str, str]:
        """For workers and for the client, which lives in this process."""
        return {
            "TASKPLATFORM_DATABASE_URL": self.database_url,
            "TASKPLATFORM_BROKER_URL": self.platform_broker,
            "TASKPLATFORM_PIPELINES": "tests.benchmarks.noop",
            chain_app.URL: self.chain_broker,
            marks.VARIABLE: str(self.marks.path),
        }

    def versions(self) -> dict[str, str]:
        """Of both servers, for the report."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        with Redis.from_url(self.platform_broker) as client:
            info = client.info("server")
        assert row is not None
        return {
            "postgres": str(row[0]),
            "valkey": str(info.get("valkey_version", info["redis_version"])),
        }


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both servers, migrate, and put the environment into this process."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-benchmarks-"))
    counted = marks.Marks()
    try:
        found = endpoints(home)
        upgrade(found.database_url)
        state = status(home)
        assert state is not None
        broker = found.broker_url.removesuffix("/0")
        made = Servers(
            database_url=found.database_url,
            platform_broker=f"{broker}/0",
            chain_broker=f"{broker}/1",
            pids=tuple(state.pids.values()),
            marks=counted,
        )
        _forget_settings_of_the_caller()
        os.environ.update(made.environment())
        chain_app.app.conf.broker_url = made.chain_broker
        yield made
    finally:
        counted.close()
        erase(home)


def _forget_settings_of_the_caller() -> None:
    for name in [name for name in os.environ if name.startswith(("TASKPLATFORM_", "CELERY_"))]:
        del os.environ[name]
