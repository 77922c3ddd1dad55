"""Retries: held back while most attempts of their pipeline fail, and let go a few at a time."""

import logging
from collections.abc import Sequence
from functools import partial
from time import monotonic

from taskplatform.storage import retry_budgets
from taskplatform.supervisor.gates import Gates
from taskplatform.supervisor.pauses import Pauses
from taskplatform.supervisor.session import Database
from taskplatform.supervisor.set_aside import by_batches

logger = logging.getLogger(__name__)

# Nothing is asked of the database while nothing fails; while a budget is in force, sooner.
EVERY, SOON = 1.0, 0.25
# However much is ready, looking through it may take so much of the time.
_SHARE = 0.05


class Retries:
    """The retry budgets, which every supervisor sees to."""

    def __init__(
        self,
        database: Database,
        pauses: Pauses,
        gates: Gates,
        queues: Sequence[str],
        share: float,
    ) -> None:
        """`share` of a pipeline's slots is what its retries get; 1: all, and there is no budget."""
        self._database = database
        self._pauses = pauses
        self._gates = gates
        self._queues = queues
        self._share = share
        self._in_force: list[str] = []

    def tick(self) -> float:
        """Look at what fails; return in how many seconds to look again."""
        if not (self._pauses.now.failing or self._in_force):
            return EVERY
        began = monotonic()
        self._judge()
        for pipeline in self._in_force:
            self._set_aside(pipeline)
        if not self._in_force:
            return EVERY
        self._gates.see_to(retry_budgets.KIND)
        return max(SOON, (monotonic() - began) / _SHARE)

    def _judge(self) -> None:
        seen = self._database.ask(
            lambda connection: retry_budgets.judge(connection, self._share), None
        )
        if seen is None:
            return
        begun, over = seen
        for one in begun:
            if one.new:
                logger.error(
                    "pipeline %s: %d of %d attempts failed in the last %d minutes; retries get "
                    "%d %% of its slots until it is less than half",
                    one.pipeline,
                    one.failed,
                    one.ended,
                    retry_budgets.WINDOW // 60,
                    round(100 * self._share),
                )
        for pipeline in over:
            logger.warning("pipeline %s: fewer attempts fail, its retries go as usual", pipeline)
        self._in_force = [one.pipeline for one in begun]

    def _set_aside(self, pipeline: str) -> None:
        ask = partial(retry_budgets.set_aside, pipeline=pipeline, queues=self._queues)
        by_batches(self._database, ask)
