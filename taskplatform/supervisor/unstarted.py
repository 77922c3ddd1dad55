"""Ending runs that no worker has started in time, by the same door as every other end."""

from dataclasses import dataclass
from uuid import UUID

from taskplatform.core import registry
from taskplatform.executor import standing
from taskplatform.storage import leases
from taskplatform.storage.connection import Session
from taskplatform.storage.settle import settle
from taskplatform.storage.unstarted import any_overdue, take_overdue


@dataclass(frozen=True, slots=True)
class Unstarted:
    """Takes such runs as a holder of its own and settles them as failed."""

    worker: UUID
    pid: int
    name: str
    default_queue: str

    def any_declared(self) -> bool:
        """Whether a pipeline here has a queue time-out at all."""
        return bool(_pipelines())

    def end(self, connection: Session) -> dict[str, int]:
        """End a batch of them; return how many rows by queue are ready by that."""
        pipelines = _pipelines()
        if not any_overdue(connection, pipelines):
            return {}
        holder = leases.register(connection, worker=self.worker, pid=self.pid)
        try:
            settlements = [
                standing.never_started(one, registry.get(one.pipeline), self.default_queue)
                for one in take_overdue(connection, holder, pipelines)
            ]
            accepted = settle(connection, settlements, worker=self.name) if settlements else set()
        finally:
            # If something is still held, it is found without its lease at once.
            leases.forget(connection, holder)
        return standing.made_ready([one for one in settlements if one.work_id in accepted])


def _pipelines() -> list[str]:
    return [one.name for one in registry.all() if one.queue_timeout is not None]
