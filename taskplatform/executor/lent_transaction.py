"""Transactions of transactional bodies in a process of many seats, on a few connections."""

import threading

from taskplatform.core.outcome import Outcome, Succeeded
from taskplatform.errors import Unavailable
from taskplatform.executor.own_transaction import OwnTransaction
from taskplatform.storage.settlement import Settlement

# Connections of a process for that; and how long a body waits for one before it is put off.
MOST = 8
PATIENCE = 2.0


class Lender:
    """Lends out connections for one transaction each."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._left = threading.BoundedSemaphore(MOST)
        self._free: list[OwnTransaction] = []

    def lend(self) -> OwnTransaction:
        """One that nobody has. Raises Unavailable if there is none for too long."""
        if not self._left.acquire(timeout=PATIENCE):
            raise Unavailable(f"all {MOST} connections for transactional bodies are in use")
        try:
            return self._free.pop()
        except IndexError:
            return OwnTransaction(self._url, self._name)

    def take_back(self, lent: OwnTransaction) -> None:
        """The next body may have it."""
        self._free.append(lent)
        self._left.release()

    def close(self) -> None:
        """Close those that nobody has."""
        for one in self._free:
            one.discard()


class LentTransaction(OwnTransaction):
    """A seat's transaction, on a connection that it has only while it needs one."""

    def __init__(self, lender: Lender) -> None:
        super().__init__("", "")
        self._lender = lender
        self._lent: OwnTransaction | None = None

    def connection(self) -> object:
        """What a body gets as ctx.connection."""
        return None if self._lent is None else self._lent.connection()

    def begin(self, seconds: float) -> None:
        """Borrow a connection and start a transaction on it.

        Raises psycopg.Error and Unavailable.
        """
        self.discard()
        lent = self._lender.lend()
        try:
            lent.begin(seconds)
        except BaseException:
            self._lender.take_back(lent)
            raise
        self._lent = lent

    def ended(self, outcome: Outcome) -> None:
        """Roll back unless the body ended well; then the transaction waits for its settlement."""
        if self._lent is not None:
            self._lent.ended(outcome)
            if not isinstance(outcome, Succeeded):
                self._give_back()

    def settle(self, settlement: Settlement, *, worker: str) -> bool:
        """Commit as OwnTransaction does, and give the connection back."""
        assert self._lent is not None
        try:
            return self._lent.settle(settlement, worker=worker)
        finally:
            self._give_back()

    def discard(self) -> None:
        """Give the connection back closed, if there is one, and with it what is not committed."""
        if self._lent is not None:
            self._lent.discard()
            self._give_back()

    def _give_back(self) -> None:
        lent, self._lent = self._lent, None
        if lent is not None:
            self._lender.take_back(lent)
