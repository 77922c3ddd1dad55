"""What Celery's controls may do to a shift that a worker has received: nothing."""

from typing import Any

from celery.utils.log import get_logger
from celery.worker.request import Request

logger = get_logger(__name__)


class ShiftRequest(Request):
    """A request that cannot be revoked: whom it hit would be whatever run is in its hands.

    Ending its child counts as a crash of that run's step, and three of them park the run.
    """

    def revoked(self) -> bool:
        """Never."""
        return False

    def terminate(self, pool: Any, signal: Any = None) -> None:  # noqa: ARG002 Celery's own
        """Say what to do instead."""
        logger.warning(
            "a shift is not terminated: it works on many runs; `taskplatform runs cancel` ends one"
        )

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Nothing: work goes on without the broker."""
