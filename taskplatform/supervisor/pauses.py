"""Pauses: setting aside what is ready of paused pipelines, and letting go what was resumed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from taskplatform.storage import canaries, lanes, paused, pauses
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import Outlook, outlook
from taskplatform.storage.paused import Standing, open_of
from taskplatform.supervisor.session import Database

EVERY = 0.5
# However much is ready, setting it aside may take so much of the time of one session in all, and
# letting it go again so much of each.
_ASIDE, _BACK = 0.2, 0.5


class Pauses:
    """The pauses of one worker's pipelines and queues."""

    def __init__(
        self,
        database: Database,
        queues: Sequence[str],
        pipelines: Sequence[str],
        ring: Callable[[dict[str, int]], None],
    ) -> None:
        self._database = database
        self._queues = queues
        self._pipelines = pipelines
        self._ring = ring
        self.now = Standing()

    def outlook(self, connection: Session) -> Outlook:
        """What the worker could claim now, and what comes next."""
        now = self.now
        pipelines = open_of(self._pipelines, now.pipelines)
        seen = outlook(connection, open_of(self._queues, now.queues), pipelines)
        if not (seen.ready and now.owners):
            return seen
        found = lanes.look(connection, dict.fromkeys(seen.ready, ""), pipelines, {})
        ready = {one.queue for one in found if one.name not in now.owners}
        return replace(seen, ready=[one for one in seen.ready if one in ready])

    def tick(self) -> float:
        """Look at the pauses; return in how many seconds to look again."""
        seen = self._database.ask(lambda connection: paused.look(connection, self._pipelines), None)
        if seen is None:
            return EVERY
        now, resumed = seen
        self.now = now
        if now.canaries:
            nothing: dict[str, int] = {}
            self._database.ask(canaries.sweep, None)
            self._ring(self._database.ask(self._canaries, nothing))
        return min(self._let_go(resumed) if resumed else EVERY, self._set_aside())

    def _canaries(self, connection: Session) -> dict[str, int]:
        return canaries.ready(connection, self._queues, self._pipelines)

    def _let_go(self, resumed: Sequence[str]) -> float:
        began = monotonic()
        ready = self._database.ask(lambda connection: pauses.let_go(connection, resumed), None)
        if not ready:
            return EVERY
        self._ring(ready)
        return min(EVERY, (monotonic() - began) * (1 / _BACK - 1))

    def _set_aside(self) -> float:
        mine = [one for one in self._pipelines if one in self.now.pipelines]
        if not mine:
            return EVERY
        began = monotonic()
        seen = self._database.ask(lambda connection: pauses.set_aside(connection, mine), 0)
        # Nothing found may have taken as long: what is ready of others was looked through.
        pause = (monotonic() - began) * (1 / _ASIDE - 1)
        return pause if seen else max(EVERY, pause)
