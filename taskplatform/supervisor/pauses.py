"""Pauses: setting aside what is ready of paused pipelines, and letting go what was resumed."""

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
        paused = self._database.ask(pauses.names, None)
        if paused is None:
            return EVERY
        self.open = [one for one in self._pipelines if one not in paused]
        resumed = self._database.ask(
            lambda connection: pauses.let_go(connection, self._pipelines), None
        )
        if resumed:
            self._ring(resumed)
        wait = 0.0 if resumed and resumed.total() == pauses.BATCH else EVERY
        if mine := [one for one in self._pipelines if one in paused]:
            began = monotonic()
            seen = self._database.ask(lambda connection: pauses.set_aside(connection, mine), 0)
            share = (monotonic() - began) / _SHARE
            wait = max(wait, share) if seen < pauses.BATCH else 0.0
        return wait
