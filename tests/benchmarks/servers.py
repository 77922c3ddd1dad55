"""The servers that all contenders share: embedded ones of their own, erased at the end."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from redis import Redis

from taskplatform.embedded import endpoints, erase, status
from taskplatform.embedded.home import BROKER, DATABASE
from taskplatform.storage import databases
from tests.benchmarks.contenders import OURS
from tests.benchmarks.history import FILLS
from tests.benchmarks.marks import Marks
from tests.benchmarks.place import Place

# With the defaults, checkpoints in the middle of a measurement would log whole pages again. What
# makes a commit durable stays as it is.
_SETTINGS = {"max_wal_size": "8GB", "checkpoint_timeout": "15min"}
_MIGRATED = "migrated"


@dataclass
class Servers:
    """Where they are, and the places of sessions."""

    database_url: str
    broker_url: str
    postgres: int
    valkey: int
    folder: Path
    _installed: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def versions(self) -> dict[str, str]:
        """Of both servers, for the report."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        with Redis.from_url(self.broker_url) as client:
            info = client.info("server")
        assert row is not None
        return {
            "postgres": str(row[0]),
            "valkey": str(info.get("valkey_version", info["redis_version"])),
        }

    @contextmanager
    def place(self, template: str | None) -> Iterator[Place]:
        """A place of its own: a copy of the template, or an empty database; dropped afterwards."""
        name = f"session_{next(self._numbers)}"
        with self._place(databases.create(self.database_url, name, template)) as made:
            yield made
        databases.drop(self.database_url, name)

    @contextmanager
    def prepared(self, name: str) -> Iterator[Place]:
        """A place in a prepared database (see `history`), which goes on being used."""
        self._fill(name)
        with self._place(databases.in_database(self.database_url, name)) as made:
            yield made

    @contextmanager
    def template(self, name: str) -> Iterator[Place | None]:
        """A place whose database becomes the template of that name; None if there is one."""
        if name in self._installed:
            yield None
            return
        if name == _MIGRATED:
            databases.make_template(self.database_url, name)
            yield None
        else:
            with self._place(databases.create(self.database_url, name)) as made:
                yield made
        self._installed.add(name)

    def _fill(self, name: str) -> None:
        if name in self._installed:
            return
        source, fills = FILLS[name]
        if source is not None:
            self._fill(source)
        with self.template(_MIGRATED):
            pass
        url = databases.create(self.database_url, name, source or _MIGRATED)
        for fill in fills:
            fill(url)
        self._installed.add(name)

    @contextmanager
    def _place(self, database_url: str) -> Iterator[Place]:
        with Redis.from_url(self.broker_url) as client:
            client.flushall()
        marks, ready = Marks.create(), Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield Place(
                database_url=database_url,
                broker_url=self.broker_url,
                marks=marks.path,
                ready=ready,
                postgres=self.postgres,
                valkey=self.valkey,
            )
        finally:
            marks.remove()


def template_of(contender: str) -> str:
    """The name of the database from which the contender's are copied."""
    return _MIGRATED if contender in (OURS, "app-task") else f"of_{contender}"


@contextmanager
def servers() -> Iterator[Servers]:
    """Start both servers."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-benchmarks-"))
    folder = Path(tempfile.mkdtemp(prefix="taskplatform-benchmarks-"))
    _forget_settings_of_the_caller()
    try:
        found = endpoints(home)
        state = status(home)
        assert state is not None
        with psycopg.connect(found.database_url, autocommit=True) as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield Servers(
            database_url=found.database_url,
            broker_url=found.broker_url,
            postgres=state.pids[DATABASE],
            valkey=state.pids[BROKER],
            folder=folder,
        )
    finally:
        erase(home)
        shutil.rmtree(folder, ignore_errors=True)


def _forget_settings_of_the_caller() -> None:
    for name in [name for name in os.environ if name.startswith(("TASKPLATFORM_", "CELERY_"))]:
        del os.environ[name]
