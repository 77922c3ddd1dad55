"""The transaction of a transactional body, on a connection that its child keeps for that."""

from typing import Any

from taskplatform.core.outcome import Interrupted, Outcome, Succeeded, TimedOut
from taskplatform.storage.body_connection import BodyConnection, connect_body
from taskplatform.storage.settlement import Settlement


class OwnTransaction:
    """One body's transaction after the other; the connection is opened when first needed."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._kept: BodyConnection | None = None

    def connection(self) -> Any:
        """What a body gets as ctx.connection."""
        return self._kept

    def begin(self, seconds: float) -> None:
        """Start a transaction for a body that may take so long.

        Raises psycopg.Error and Unavailable.
        """
        if self._kept is not None and not self._kept.idle:
            # Whatever was left open by an error of ours must not be committed with the next.
            self.discard()
        if self._kept is None:
            self._kept = connect_body(self._url, self._name)
        try:
            self._kept.begin(seconds)
        except BaseException:
            self.discard()
            raise

    def ended(self, outcome: Outcome) -> None:
        """Roll back unless the body ended well; then the transaction waits for its settlement."""
        if self._kept is None or isinstance(outcome, Succeeded):
            return
        if isinstance(outcome, TimedOut | Interrupted):
            # The exception came at any moment: perhaps in the middle of a statement.
            self.discard()
        else:
            self._kept.take_back()

    def settle(self, settlement: Settlement, *, worker: str) -> bool:
        """Commit the transaction with the step's result; False if that was refused.

        Raises CommitInDoubt, and psycopg.Error for what the database refuses to store.
        """
        assert self._kept is not None
        try:
            return self._kept.settle(settlement, worker=worker)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Close the connection, and with it what is not committed."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.discard()
