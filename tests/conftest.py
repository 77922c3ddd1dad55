"""Real servers for all tests: one PostgreSQL and one Valkey per test session.

Each test gets a migrated database of its own, cloned from a template, and an empty logical
database of Valkey. Under pytest-xdist all workers share the servers.
"""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from taskplatform.embedded import Endpoints, endpoints, erase
from taskplatform.storage.migrations import upgrade

HOME = pytest.StashKey[Path]()
TEMPLATE = "migrated"
BROKER_DATABASES = 64

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the session's folder; workers of xdist are told by their controller."""
    told = getattr(config, "workerinput", {}).get("taskplatform_home")
    config.stash[HOME] = Path(told or tempfile.mkdtemp(prefix="taskplatform-tests-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of xdist where the session's servers are."""
    home = node.config.stash[HOME]  # type: ignore[attr-defined]
    node.workerinput["taskplatform_home"] = str(home)  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers and delete their data when the session ends."""
    if HOME in config.stash and not hasattr(config, "workerinput"):
        erase(config.stash[HOME])


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Endpoints:
    """The session's servers; not to be stopped, killed or flushed (see own_home for that)."""
    found = endpoints(pytestconfig.stash[HOME])
    _make_template(found.database_url)
    return found


@pytest.fixture
def database_url(servers: Endpoints, worker_number: int) -> Iterator[str]:
    """A fresh, migrated database, dropped after the test."""
    name = f"test_{worker_number}_{next(_numbers)}"
    _administer(servers.database_url, "CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
    yield _in_database(servers.database_url, name)
    _administer(servers.database_url, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def empty_database_url(servers: Endpoints, worker_number: int) -> Iterator[str]:
    """A fresh database without any schema, dropped after the test."""
    name = f"test_{worker_number}_{next(_numbers)}"
    _administer(servers.database_url, "CREATE DATABASE {}", name)
    yield _in_database(servers.database_url, name)
    _administer(servers.database_url, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def broker_url(servers: Endpoints, worker_number: int) -> Iterator[str]:
    """An empty logical database of Valkey; FLUSHALL would hit other tests, FLUSHDB does not."""
    assert worker_number < BROKER_DATABASES - 1, "more workers than Valkey has databases"
    url = servers.broker_url.removesuffix("/0") + f"/{worker_number + 1}"
    with Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A folder for embedded servers that the test may do anything to, erased afterwards."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-own-"))
    yield home
    erase(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def worker_number(pytestconfig: pytest.Config) -> int:
    """Which worker of xdist this is, from 0."""
    worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
    return int(worker.removeprefix("gw"))


def _make_template(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # One worker migrates, the others wait for it.
        connection.execute("SELECT pg_advisory_lock(1)")
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE])
        if found.fetchone() is None:
            connection.execute("DROP DATABASE IF EXISTS migrating")
            connection.execute("CREATE DATABASE migrating")
            upgrade(_in_database(url, "migrating"))
            connection.execute(f"ALTER DATABASE migrating RENAME TO {TEMPLATE}")


def _administer(url: str, statement: str, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _in_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"
