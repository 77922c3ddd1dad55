"""The supervisor's connection: its duties pause while the database is away."""

import logging
import random
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import psycopg

from taskplatform.errors import Unavailable
from taskplatform.storage.connection import AWAY, Session, connect
from taskplatform.storage.leases import LEASE_SECONDS

logger = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")
_LONGEST_PAUSE = 5.0
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
        self._pause = 0.05
        # Everybody's lease ran out while the database was away: give the living time to renew.
        self.reap_from = 0.0
        self._before: tuple[float, float] | None = None

    def ask(self, question: Callable[[Session], T], otherwise: U) -> T | U:
        """Ask the database; `otherwise` while it cannot answer."""
        if monotonic() < self._retry_at:
            return otherwise
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._url, name=f"taskplatform supervisor {self._name}")
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
        self._pause = 0.05
        if self._before is not None:
            away_since, reap_from = self._before
            self._before = None
            if monotonic() - away_since < _BLIP:
                self.reap_from = reap_from
        return answer

    def _lost(self, error: Exception) -> None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        logger.warning("database: %s; trying again in %.2g s", lines[0], self._pause)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        now = monotonic()
        self._before = self._before or (now, self.reap_from)
        self._retry_at = now + self._pause * random.uniform(0.5, 1.5)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self.reap_from = now + LEASE_SECONDS
