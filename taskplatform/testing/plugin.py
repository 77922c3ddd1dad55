"""Fixtures for pytest: a real platform for each test.

Every pytest of an environment with taskplatform loads this, so nothing is imported before a
fixture is asked for.
"""

import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from taskplatform.endpoints import Endpoints
    from taskplatform.testing.worker import TestWorker

_HOME = pytest.StashKey[Path]()
_TOLD = "taskplatform_servers_home"
_numbers = count(1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist where the session's servers are, or would be."""
    node.workerinput[_TOLD] = str(_home(node.config))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the session's servers and delete their data."""
    home = config.stash.get(_HOME, None)
    if home is None or hasattr(config, "workerinput"):
        return
    if any(home.iterdir()):
        import_module("taskplatform.embedded").erase(home)
    else:
        home.rmdir()


@pytest.fixture(scope="session")
def taskplatform_servers(pytestconfig: pytest.Config) -> "Endpoints":
    """Database and broker: as configured, or embedded ones for as long as the session."""
    found: Endpoints = _servers().servers(_home(pytestconfig), _worker_number(pytestconfig))
    return found


@pytest.fixture(scope="session")
def taskplatform_template(taskplatform_servers: "Endpoints") -> Iterator[str]:
    """The name of a migrated database that those of the tests are copied from."""
    name = f"taskplatform_test_{uuid4().hex}"
    with _servers().template(taskplatform_servers.database_url, name) as made:
        yield made


@pytest.fixture
def taskplatform_database(
    taskplatform_servers: "Endpoints", taskplatform_template: str
) -> Iterator[str]:
    """A fresh, migrated database, in force as if it were configured; its URL."""
    name = f"{taskplatform_template}_{next(_numbers)}"
    with _servers().database(taskplatform_servers, name, taskplatform_template) as url:
        yield url


@pytest.fixture
def taskplatform_worker(taskplatform_database: str) -> Iterator["TestWorker"]:
    """A worker in the test's own process, which executes when told: `drain()`."""
    with import_module("taskplatform.testing.worker").worker(taskplatform_database) as made:
        yield made


def _servers() -> Any:
    return import_module("taskplatform.testing.servers")


def _home(config: pytest.Config) -> Path:
    if _HOME not in config.stash:
        told = getattr(config, "workerinput", {}).get(_TOLD)
        config.stash[_HOME] = Path(told or tempfile.mkdtemp(prefix="taskplatform-"))
    return config.stash[_HOME]


def _worker_number(config: pytest.Config) -> int:
    worker: str = getattr(config, "workerinput", {}).get("workerid", "gw0")
    return int(worker.removeprefix("gw"))
