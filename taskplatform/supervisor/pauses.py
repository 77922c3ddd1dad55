"""Pauses: setting aside what is ready of paused pipelines, and letting go what was resumed."""

from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic

from taskplatform.storage import pauses
from taskplatform.supervisor.session import Database

EVERY = 0.5
# However much is ready, looking through it may take so much of the time.
_SHARE = 0.05


class Pauses:
    """The pauses of one worker's pipelines."""

    def __init__(
        self, database: Database, pipelines: Sequence[str], ring: Callable[[dict[str, int]], None]
    ) -> None:
        self.open: Sequence[str] = pipelines
        self._database = database
        self._pipelines = pipelines
        self._ring = ring

    def tick(self) -> float:
        """Look at the pauses; return in how many seconds to look again."""
        seen = self._database.ask(lambda connection: pauses.look(connection, self._pipelines), None)
        if seen is None:
            return EVERY
        paused, resumed = seen
        self.open = [one for one in self._pipelines if one not in paused]
        wait = EVERY
        if resumed:
            nothing: Counter[str] = Counter()
            ready = self._database.ask(
                lambda connection: pauses.let_go(connection, resumed), nothing
            )
            self._ring(ready)
            wait = 0.0 if ready.total() == pauses.BATCH else EVERY
        if mine := [one for one in self._pipelines if one in paused]:
            began = monotonic()
            set_aside = self._database.ask(lambda connection: pauses.set_aside(connection, mine), 0)
            share = (monotonic() - began) / _SHARE
            wait = max(wait, share) if set_aside < pauses.BATCH else 0.0
        return wait
