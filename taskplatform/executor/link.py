"""Link: a child's connection to the database, and what the child knows of the database's state."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from taskplatform.errors import Unavailable
from taskplatform.executor.pace import Pace
from taskplatform.executor.paused import Paused
from taskplatform.middleware import Breakers
from taskplatform.storage import leases
from taskplatform.storage.connection import Session, connect


class Link:
    """Opened when it is first needed and after it broke; `lock` is held while it is used."""

    def __init__(self, url: str, name: str) -> None:
        self.lock = threading.RLock()
        self.pace = Pace()
        self.paused = Paused()
        self.breakers = Breakers()
        self._url = url
        self._name = name
        self._connection: Session | None = None
        self._away: bool | None = None

    @property
    def connection(self) -> Session:
        """The open connection. Raises Unavailable."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """The connection, which nobody else uses meanwhile. Raises Unavailable."""
        with self.lock:
            yield self.connection

    def _connect(self) -> Session:
        new = self._away is None
        try:
            made = connect(self._url, name=self._name)
        except Unavailable:
            self._away = True
            raise
        # A lost connection that can be made again at once is no outage.
        if self._away or (new and _leases_ran_out(made)):
            self.pace.start()
        self._away = False
        return made

    def is_paused(self, pipeline: str) -> bool:
        """Whether nothing of the pipeline is to start; what was last known if nobody can tell."""
        if self.paused.is_old:
            with suppress(psycopg.Error, Unavailable), self.lock:
                self.paused.read(self.connection)
        return pipeline in self.paused

    def drop_if_broken(self, error: BaseException) -> bool:
        """Close what broke; whether there is no connection now."""
        connection = self._connection
        if connection is None:
            return False
        # An InternalError is a session that is in a state of its own.
        if connection.closed or isinstance(error, psycopg.InternalError):
            self.close()
        return self._connection is None

    def close(self) -> None:
        """Close it; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _leases_ran_out(connection: Session) -> bool:
    try:
        return leases.any_expired(connection)
    except psycopg.Error:
        # Whoever asked for the connection meets the same, and knows what to do about it.
        return False
