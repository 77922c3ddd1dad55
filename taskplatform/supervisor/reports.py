"""What a supervisor reports of its worker: that it is alive, and how much it claims."""

import math
import os
from time import monotonic

from taskplatform.executor.slots import SlotTable
from taskplatform.storage import workers
from taskplatform.supervisor.about import About
from taskplatform.supervisor.session import Database

# Claims count the less the longer they are ago: a third after so many seconds.
_LATELY = 15.0


class Reports:
    """Tells the others of one worker, again and again."""

    def __init__(self, about: About, table: SlotTable, database: Database) -> None:
        self._about = about
        self._table = table
        self._database = database
        self._refused = 0
        self._claimed: dict[int, int] = {}
        self._per_second = 0.0
        self._last = monotonic()

    def tick(self) -> None:
        """Report, and forget workers that have been silent for long."""
        about = self._about
        slots = self._table.taken()
        refused = sum(slot.refused for slot in slots)
        self._observe({slot.number: slot.claimed for slot in slots})
        self._database.ask(
            lambda connection: workers.report(
                connection,
                id=about.id,
                name=about.name,
                host=os.uname().nodename,
                pid=about.parent,
                pool=about.pool,
                concurrency=about.concurrency,
                queues=about.queues,
                pipelines=about.pipelines,
                refused=max(0, refused - self._refused),
                claims_per_second=self._per_second,
            ),
            None,
        )
        self._refused = refused
        self._database.ask(workers.sweep, None)

    def _observe(self, claimed: dict[int, int]) -> None:
        now = monotonic()
        passed, self._last = now - self._last, now
        before, self._claimed = self._claimed, claimed
        # A slot that counts less than before is another child's.
        new = sum(
            many - before.get(slot, 0) if many >= before.get(slot, 0) else many
            for slot, many in claimed.items()
        )
        kept = math.exp(-passed / _LATELY)
        self._per_second = self._per_second * kept + new / max(passed, 0.001) * (1 - kept)
