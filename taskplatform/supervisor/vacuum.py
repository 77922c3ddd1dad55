"""Vacuum: removing the dead rows of work while a worker is busy, before claims get slow by them.

What a claim has taken lies dead at the head of the index that claims walk. PostgreSQL's own
vacuum looks at a table once a minute; by then a busy worker has left half a million of them, and
a claim takes twice as long.
"""

import logging
import threading
from contextlib import closing
from time import monotonic

from taskplatform.errors import Unavailable
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.connection import AWAY, connect, first_line
from taskplatform.storage.dead_rows import vacuum_work

logger = logging.getLogger(__name__)

# So many branches claimed by this worker, each of which leaves several dead rows, make it worth it.
CLAIMED = 20_000
# However many are claimed, it may take so much of the time.
_SHARE = 0.05


class Vacuum:
    """Vacuums beside everything else: on a large table it takes longer than leases may wait."""

    def __init__(self, table: SlotTable, url: str, name: str) -> None:
        self._table = table
        self._url = url
        self._name = name
        self._seen = 0
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def tick(self) -> None:
        """Start a vacuum if there is much to remove, and none is under way."""
        claimed = sum(slot.claimed for slot in self._table.taken())
        # A child that is replaced takes its count along.
        self._seen = min(self._seen, claimed)
        if claimed - self._seen < CLAIMED or monotonic() < self._next or self.is_under_way():
            return
        self._seen = claimed
        self._thread = threading.Thread(target=self._work, name="vacuum", daemon=True)
        self._thread.start()

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
