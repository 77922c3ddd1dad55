"""Every session with the database, and every connection to the broker, is bounded in time."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from flower.utils.broker import Broker

from taskplatform.celery.address import Address
from taskplatform.celery.app import app
from taskplatform.celery.bell import Bell
from taskplatform.client import session
from taskplatform.endpoints import endpoints
from taskplatform.settings import get_settings
from taskplatform.storage import databases, migrations, revision
from taskplatform.storage.body_connection import connect_body
from taskplatform.storage.connection import close_pools, connect
from taskplatform.supervisor.session import Database
from tests.integration.executor.house import House

Session = psycopg.Connection[Any]
Role = Callable[[str], Any]


@contextmanager
def child(url: str) -> Iterator[Session]:
    house = House(url)
    yield house.child().connection
    house.close()


@contextmanager
def body(url: str) -> Iterator[Session]:
    made = connect_body(url, "taskplatform w body")
    made.begin(5.0)
    yield made
    made.discard()


@contextmanager
def supervisor(url: str) -> Iterator[Session]:
    seen: list[Session] = []
    Database(url, "w").ask(seen.append, None)
    with closing(seen[0]):
        yield seen[0]


@contextmanager
def migration(url: str) -> Iterator[Session]:
    with migrations.engine(url).connect() as connection:
        driver: Any = connection.connection.driver_connection
        yield driver


@contextmanager
def pooled(_: str) -> Iterator[Session]:
    with session.connection() as one:
        yield one
    close_pools()


ROLES: dict[str, Role] = {
    "client pool": pooled,
    "client after a loss": lambda _: session._fresh(),
    "child": child,
    "body": body,
    "supervisor": supervisor,
    "migration": migration,
    "command": lambda url: closing(connect(url, pinned=False)),
    "test databases": lambda url: closing(databases._connect(url)),
}


@pytest.fixture
def here(database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process is pointed at the test's database."""
    monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", database_url)
    monkeypatch.setenv("TASKPLATFORM_BROKER_URL", broker_url)
    get_settings.cache_clear()
    endpoints.cache_clear()
    yield database_url
    get_settings.cache_clear()
    endpoints.cache_clear()


@pytest.mark.parametrize("role", ROLES)
def test_a_session_is_bounded(here: str, role: str) -> None:
    """G3, L11: a stopped process may not hold a lock for long, nor wait for one, nor hang."""
    with ROLES[role](here) as one:
        for name in (
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        ):
            row = one.execute(f"SELECT setting::integer FROM pg_settings WHERE name = '{name}'")
            milliseconds = row.fetchone()[0]
            assert 0 < milliseconds <= 600_000, name
            if role in ("client pool", "child", "supervisor", "command"):
                assert milliseconds <= 10_000, name
        (name,) = one.execute("SHOW application_name").fetchone()
        assert name.startswith("taskplatform ") or name == "taskplatform"
        network = one.info.get_parameters()
        for option in ("connect_timeout", "tcp_user_timeout", "keepalives_idle"):
            assert int(network[option]) > 0, option


def test_nobody_connects_past_these_doors() -> None:
    """A new connection somewhere is one that nobody has bounded: add its role above."""
    doors = {
        "storage/connection.py",
        "storage/body_connection.py",
        "storage/migrations.py",
    }
    source = revision.scripts().parent / "taskplatform"
    opens = re.compile(
        r"psycopg\.(Async)?(Connection\.)?connect\(|create_engine\(|Pool\(|n\.connect\(libpq"
    )
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if opens.search(path.read_text())
    }
    assert found == doors


def _bounded(options: dict[str, Any]) -> None:
    assert 0 < options["socket_timeout"] <= 5
    assert 0 < options["socket_connect_timeout"] <= 2


def test_connections_to_the_broker_are_bounded(here: str, broker_url: str) -> None:
    """L9: workers and publishers (kombu), rings and lingering (ours), Flower's looks."""
    with app.connection_for_read() as connection:
        options = connection.default_channel.pool.connection_kwargs
        _bounded(options)
        assert options["socket_keepalive"]
    bell = Bell(Address(broker_url))
    options = bell._redis.connection_pool.connection_kwargs
    _bounded(options)
    assert options["socket_keepalive"]
    bell.close()
    looks = Broker(broker_url, broker_options=app.conf.broker_transport_options)
    _bounded(looks.redis.connection_pool.connection_kwargs)
