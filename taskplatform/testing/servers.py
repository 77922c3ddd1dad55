"""Servers and databases behind the fixtures."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from redis import Redis

from taskplatform import embedded, endpoints, settings
from taskplatform.client import ringer
from taskplatform.endpoints import Endpoints
from taskplatform.storage import databases
from taskplatform.storage.connection import close_pools

# Of an embedded broker; the first one is nobody's.
BROKER_DATABASES = 64
_BELL = "taskplatform.celery.bell"
# The first ring loads Celery.
_PATIENCE = 20.0


def servers(home: Path, worker: int) -> Endpoints:
    """The configured servers; embedded ones in `home` for those that are not.

    `worker` is the number of the process under xdist: each has a logical database of the
    embedded broker of its own.
    """
    configured = settings.load()
    database, broker = configured.database_url, configured.broker_url
    own = embedded.Endpoints("", "")
    if database is None or broker is None:
        own = embedded.endpoints(home, database=database is None, broker=broker is None)
    number = 1 + worker % (BROKER_DATABASES - 1)
    return Endpoints(
        database.get_secret_value() if database else own.database_url,
        (broker.get_secret_value() if broker else f"{own.broker_url.removesuffix('/0')}/{number}"),
    )


@contextmanager
def template(url: str, name: str) -> Iterator[str]:
    """A migrated database to copy, dropped in the end."""
    databases.make_template(url, name)
    try:
        yield name
    finally:
        databases.drop(url, name)


@contextmanager
def database(where: Endpoints, name: str, template: str) -> Iterator[str]:
    """A fresh database, in force for this process and those that it starts; dropped in the end."""
    url = databases.create(where.database_url, name, template)
    try:
        if settings.load().broker_url is None:
            # Ours alone; in a configured one there may be what others need.
            with empty_broker(where.broker_url):
                pass
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TASKPLATFORM_DATABASE_URL", url)
            environment.setenv("TASKPLATFORM_BROKER_URL", where.broker_url)
            forget()
            yield url
            _last_ring()
        close_pools()
        forget()
    finally:
        databases.drop(where.database_url, name)


@contextmanager
def empty_broker(url: str) -> Iterator[str]:
    """A logical database without a key, before and after; FLUSHALL would hit other tests."""
    with Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


def forget() -> None:
    """Let the settings be read anew when they are next needed."""
    _last_ring()
    settings.get_settings.cache_clear()
    endpoints.endpoints.cache_clear()
    if _BELL in sys.modules:
        # By its name: the ringer's thread may still be importing it, and this waits for that.
        import_module(_BELL).forget()


def _last_ring() -> None:
    # A ring that is late would read the settings of another test, and start servers of its own.
    ringer.RINGER.flush(_PATIENCE)
