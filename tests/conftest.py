"""Real servers for all tests: one PostgreSQL and one Valkey per test session.

Each test gets a migrated database of its own, cloned from a template, and an empty logical
database of Valkey. Under pytest-xdist all workers share the servers.
"""

import itertools
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskplatform.core import registry
from taskplatform.embedded import Endpoints, endpoints, erase
from taskplatform.storage import databases
from taskplatform.testing.servers import BROKER_DATABASES, empty_broker

HOME = pytest.StashKey[Path]()
TEMPLATE = "migrated"
# Where tests take long, the longest first.
LONG = ("models", "acceptance")

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the session's folder; workers of xdist are told by their controller."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is in the background of a script's shell, and whatever is started would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    told = getattr(config, "workerinput", {}).get("taskplatform_home")
    config.stash[HOME] = Path(told or tempfile.mkdtemp(prefix="taskplatform-tests-"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker of xdist begin with its share of the long modules, and end with short ones.

    Each is given as many tests that lie side by side, and takes from the end of another's share.
    """
    many = getattr(config, "workerinput", {}).get("workercount", 1)
    long: dict[Path, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        if item.path.parent.name in LONG:
            long.setdefault(item.path, []).append(item)
        else:
            short.append(item)
    modules = sorted(long, key=lambda path: LONG.index(path.parent.name))
    ordered: list[pytest.Item] = []
    for place in range(many):
        ordered += [item for path in modules[place::many] for item in long[path]]
        lacking = max(0, len(items) * (place + 1) // many - len(ordered))
        ordered += short[:lacking]
        del short[:lacking]
    items[:] = ordered + short


@pytest.fixture(autouse=True)
def _pipelines_of_modules() -> Iterator[None]:
    """Declare again what a test has cleared: modules are imported once, tests come in any order."""
    declared, handlers = (dict(vars(registry)[name]) for name in ("_declared", "_handlers"))
    yield
    for name, before in (("_declared", declared), ("_handlers", handlers)):
        vars(registry)[name].update(before | vars(registry)[name])


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
    databases.make_template(found.database_url, TEMPLATE)
    # No test ends the machine. Servers that tests crash are their own, and do wait.
    databases.wait_for_disk(found.database_url, False)
    return found


@pytest.fixture
def database_url(servers: Endpoints, worker_number: int) -> Iterator[str]:
    """A fresh, migrated database, dropped after the test."""
    name = f"test_{worker_number}_{next(_numbers)}"
    yield databases.create(servers.database_url, name, TEMPLATE)
    databases.drop(servers.database_url, name)


@pytest.fixture
def empty_database_url(servers: Endpoints, worker_number: int) -> Iterator[str]:
    """A fresh database without any schema, dropped after the test."""
    name = f"test_{worker_number}_{next(_numbers)}"
    yield databases.create(servers.database_url, name)
    databases.drop(servers.database_url, name)


@pytest.fixture
def broker_url(servers: Endpoints, worker_number: int) -> Iterator[str]:
    """An empty logical database of Valkey; FLUSHALL would hit other tests, FLUSHDB does not."""
    assert worker_number < BROKER_DATABASES - 1, "more workers than Valkey has databases"
    url = servers.broker_url.removesuffix("/0") + f"/{worker_number + 1}"
    with empty_broker(url) as empty:
        yield empty


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
