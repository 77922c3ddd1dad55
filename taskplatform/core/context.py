"""What a step's body is told about itself, and what it can tell."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

_NOBODY = UUID(int=0)
_logger = logging.getLogger("taskplatform.step")


def _tell_nobody(*_: object) -> None:
    return None


def _never() -> bool:
    return False


class Context:
    """The attempt that is being executed; `Context()` will do in a unit test."""

    __slots__ = (
        "_cancelled",
        "_connection",
        "_heartbeat",
        "_progress",
        "attempt",
        "epoch",
        "logger",
        "run_id",
        "run_ids",
        "step",
    )

    def __init__(
        self,
        run_id: UUID = _NOBODY,
        step: str = "step",
        attempt: int = 1,
        *,
        epoch: int = 0,
        logger: Logger = _logger,
        progress: Callable[[float, float], object] = _tell_nobody,
        heartbeat: Callable[[], object] = _tell_nobody,
        cancelled: Callable[[], bool] = _never,
        connection: Callable[[], Any] | None = None,
    ) -> None:
        """Keep what the executor lends: where to log, where to report, whether to go on.

        `epoch` grows whenever the run is given to somebody: a store outside that refuses what
        comes with a smaller one than it has seen refuses those who were thought dead. `run_ids`
        are the runs of a batch in the order of their inputs; `run_id` is the first of them.
        """
        self.run_id = run_id
        self.run_ids: tuple[UUID, ...] = (run_id,)
        self.step = step
        self.attempt = attempt
        self.epoch = epoch
        self.logger = logger
        self._progress = progress
        self._heartbeat = heartbeat
        self._cancelled = cancelled
        self._connection = connection

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt of this step of this run, and nowhere else."""
        return f"{self.run_id}:{self.step}"

    @property
    def idempotency_keys(self) -> list[str]:
        """The same for each run of a batch, in the order of their inputs."""
        return [f"{run_id}:{self.step}" for run_id in self.run_ids]

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled: end soon, the output will not be used."""
        return self._cancelled()

    @property
    def connection(self) -> Any:
        """The psycopg connection of a transactional step, inside its transaction.

        What the body writes there is committed with its result, or not at all. Raises
        RuntimeError in other steps.
        """
        if self._connection is None:
            raise RuntimeError(
                f"step '{self.step}' has no transaction: declare it with transactional=True"
            )
        return self._connection()

    def progress(self, done: float, total: float) -> None:
        """Report that so much of so much is done."""
        self._progress(done, total)

    def heartbeat(self) -> None:
        """Report that the body is alive."""
        self._heartbeat()

    def __repr__(self) -> str:
        return f"Context(run_id={self.run_id}, step={self.step!r}, attempt={self.attempt})"
