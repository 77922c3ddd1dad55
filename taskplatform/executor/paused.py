"""Paused: what a child leaves alone, and what it takes all the same."""

from collections.abc import Callable, Sequence
from time import monotonic

from taskplatform.core import registry
from taskplatform.executor import standing
from taskplatform.storage import canaries, lanes, paused
from taskplatform.storage.claim import Claimed
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import outlook
from taskplatform.storage.paused import Standing, open_of
from taskplatform.storage.settlement import Settlement

# A pause takes effect within a second.
EVERY = 0.5


class Paused:
    """What is paused, as it was half a second ago at most."""

    def __init__(self) -> None:
        self.now = Standing()
        self._again = 0.0

    @property
    def is_old(self) -> bool:
        """Whether it has to be read again."""
        return monotonic() >= self._again

    def read(self, connection: Session) -> None:
        """Read it again."""
        self.now = paused.standing(connection)
        self._again = monotonic() + EVERY

    def open(
        self, connection: Session, queues: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The queues and the known pipelines that are not paused."""
        if self.is_old:
            self.read(connection)
        names = registry.names()
        if not (self.now.pipelines or self.now.queues):
            return queues, names
        return open_of(queues, self.now.queues), open_of(names, self.now.pipelines)

    def canary(
        self, take: Callable[..., list[Claimed]], connection: Session, queues: Sequence[str]
    ) -> list[Claimed]:
        """Take a branch of a run that was let go by hand, if there is one."""
        if not self.now.canaries:
            return []
        return take(
            connection,
            canaries=self.now.canaries,
            queues=queues,
            pipelines=registry.names(),
        )

    def any_ready(self, connection: Session, queues: Sequence[str]) -> bool:
        """Whether there is anything to claim."""
        others, pipelines = self.open(connection, queues)
        if self.now.canaries and canaries.ready(connection, queues, registry.names()):
            return True
        seen = outlook(connection, others, pipelines).ready
        if not (seen and self.now.owners):
            return bool(seen)
        found = lanes.look(connection, dict.fromkeys(seen, ""), pipelines, {})
        return any(one.name not in self.now.owners for one in found)

    def covers(self, claimed: Claimed) -> bool:
        """Whether nothing more of a run is to start."""
        now = self.now
        if not (now.pipelines or now.queues or now.owners or now.keys):
            return False
        if claimed.run_id in now.canaries:
            return False
        return (
            claimed.pipeline in now.pipelines
            or claimed.queue in now.queues
            or now.why(claimed.pipeline, claimed.key, claimed.owner) is not None
        )

    def sorted(self, claimed: Sequence[Claimed]) -> tuple[Sequence[Claimed], Sequence[Settlement]]:
        """What may be executed; the rest, whose owner or key no claim could see, is set aside."""
        now = self.now
        if not (now.owners or now.keys):
            return claimed, ()
        aside = {
            one.work_id: standing.paused(one, why)
            for one in claimed
            if one.run_id not in now.canaries and (why := now.why(one.pipeline, one.key, one.owner))
        }
        return [one for one in claimed if one.work_id not in aside], list(aside.values())
