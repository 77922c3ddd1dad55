"""Vacuum: removing the dead rows of work while a worker is busy, before claims get slow by them.

What a claim has taken lies dead at the head of the index that claims walk. PostgreSQL's own
vacuum looks at a table once a minute; by then a busy worker has left half a million of them, and
a claim takes twice as long. And if that came when next to nothing was left, the planner has to be
told as soon as there is a backlog again: it would plan for a few rows what is done for all.
"""

import logging
import threading
from contextlib import closing
from time import monotonic

from taskplatform.errors import Unavailable
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.connection import AWAY, connect, first_line
from taskplatform.storage.dead_rows import is_misjudged, vacuum_work
from taskplatform.supervisor.session import Database

logger = logging.getLogger(__name__)

# So many branches claimed by this worker, each of which leaves several dead rows, make it worth it.
CLAIMED = 20_000
# So often, while anything is claimed, it is looked at what the planner believes.
LOOK_EVERY = 2.0
# However many are claimed, it may take so much of the time.
_SHARE = 0.05


class Vacuum:
    """Vacuums beside everything else: on a large table it takes longer than leases may wait."""

    def __init__(self, table: SlotTable, database: Database, url: str, name: str) -> None:
        self._table = table
        self._database = database
        self._url = url
        self._name = name
        self._seen = self._looked_at = 0
        self._look = 0.0
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def tick(self) -> None:
        """Start a vacuum if there is much to remove, and none is under way."""
        claimed = sum(slot.claimed for slot in self._table.taken())
        # A child that is replaced takes its count along.
        self._seen = min(self._seen, claimed)
        if self.is_under_way() or monotonic() < self._next:
            return
        if claimed - self._seen < CLAIMED and not self._is_misjudged(claimed):
            return
        self._seen = claimed
        self._thread = threading.Thread(target=self._work, name="vacuum", daemon=True)
        self._thread.start()

    def _is_misjudged(self, claimed: int) -> bool:
        if claimed == self._looked_at or monotonic() < self._look:
            return False
        self._looked_at, self._look = claimed, monotonic() + LOOK_EVERY
        return self._database.ask(is_misjudged, False)

    def is_under_way(self) -> bool:
        """Whether a vacuum has begun and not ended."""
        return self._thread is not None and self._thread.is_alive()

    def _work(self) -> None:
        began = monotonic()
        try:
            name = f"taskplatform supervisor {self._name} vacuum"
            with closing(connect(self._url, pinned=False, name=name)) as connection:
                vacuum_work(connection)
        except (*AWAY, Unavailable) as error:
            # PostgreSQL's own will come.
            logger.debug("no vacuum: %s", first_line(error))
        now = monotonic()
        self._next = now + (now - began) / _SHARE
