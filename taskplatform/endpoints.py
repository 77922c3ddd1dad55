"""Where the two servers are: as configured, or embedded ones."""

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from taskplatform.settings import get_settings


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The URLs in force; they may hold passwords."""

    database_url: str
    broker_url: str


@cache
def endpoints() -> Endpoints:
    """The URLs in force; starts embedded servers, or attaches to them, where none is configured.

    An embedded database is brought to the newest schema.
    Raises Unavailable when that is not possible.
    """
    settings = get_settings()
    database, broker = settings.database_url, settings.broker_url
    if database and broker:
        return Endpoints(database.get_secret_value(), broker.get_secret_value())
    # By name: the embedded servers stand above everything that needs an URL.
    found = import_module("taskplatform.embedded").endpoints(
        settings.home, database=database is None, broker=broker is None
    )
    if database is None:
        import_module("taskplatform.embedded.schema").ensure(found.database_url)
    return Endpoints(
        database.get_secret_value() if database else found.database_url,
        broker.get_secret_value() if broker else found.broker_url,
    )


def database_url() -> str:
    """The PostgreSQL URL in force."""
    # An app of the user's own has a broker: none is to be started for it here.
    configured = get_settings().database_url
    return configured.get_secret_value() if configured else endpoints().database_url


def broker_url() -> str:
    """The Redis URL in force."""
    return endpoints().broker_url
