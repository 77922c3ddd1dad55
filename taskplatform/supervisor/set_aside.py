"""Ready work is set aside by batches, so that no transaction holds it all."""

from collections.abc import Callable

from taskplatform.storage.connection import Session
from taskplatform.storage.set_aside import BATCH
from taskplatform.supervisor.session import Database

# The rest is looked at in the next round.
MOST = 20


def by_batches(database: Database, set_aside: Callable[[Session], int]) -> None:
    """Set aside batch after batch, as long as one is full; it tells how many rows it saw."""
    for _ in range(MOST):
        if database.ask(set_aside, 0) < BATCH:
            break
