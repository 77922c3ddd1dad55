"""The supervisor's connection: its duties pause while the database is away."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import psycopg

from taskplatform.errors import Unavailable
from taskplatform.storage import health
from taskplatform.storage.backoff import Backoff
from taskplatform.storage.connection import AWAY, Session, connect, first_line
from taskplatform.storage.leases import LEASE_SECONDS

logger = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")
_FIRST_PAUSE = 0.05
# Nobody's lease runs out by so short an absence: it lasts three times as long.
_BLIP = LEASE_SECONDS / 3
_AWAY = (*AWAY, Unavailable)
_NOT_MIGRATED = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)


class Database:
    """One connection that comes back by itself, with exponential backoff."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: Session | None = None
        self._retry_at = 0.0
        self._backoff = Backoff(_FIRST_PAUSE)
        # Everybody's lease ran out while the database was away: give the living time to renew.
        self.reap_from = 0.0
        self._seen = False
        self._before: tuple[float, float] | None = None

    def ask(self, question: Callable[[Session], T], otherwise: U) -> T | U:
        """Ask the database; `otherwise` while it cannot answer."""
        if monotonic() < self._retry_at:
            return otherwise
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._url, name=f"taskplatform supervisor {self._name}")
                self._see(self._connection)
            answer = question(self._connection)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
            return otherwise
        except _NOT_MIGRATED:
            self._lost(
                Unavailable("it has no tables of the platform: run `taskplatform db upgrade`")
            )
            return otherwise
        except _AWAY as error:
            self._lost(error)
            return otherwise
        self._backoff.reset()
        if self._before is not None:
            away_since, reap_from = self._before
            self._before = None
            if monotonic() - away_since < _BLIP:
                self.reap_from = reap_from
        return answer

    def _see(self, connection: Session) -> None:
        if self._seen:
            return
        # How long the server was away before this process came, nobody here saw.
        waited = monotonic() + LEASE_SECONDS - health.up_for(connection)
        self.reap_from = max(self.reap_from, waited)
        if self._before is not None:
            self._before = self._before[0], max(self._before[1], waited)
        self._seen = True

    def _lost(self, error: Exception) -> None:
        pause = self._backoff.next()
        logger.warning("database: %s; trying again in %.2g s", first_line(error), pause)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        now = monotonic()
        self._before = self._before or (now, self.reap_from)
        self._retry_at = now + pause
        self.reap_from = now + LEASE_SECONDS
