"""The platform's tasks in a Celery app, whatever that app's settings are for other tasks."""

from typing import Any, ClassVar

from celery import Celery, Task

from taskplatform.celery.bell import SHIFT_TASK

# Attempts have limits of their own. Celery has none that means "none" where an app sets one.
NO_LIMIT = 365 * 86400


class PlatformTask(Task):
    """A task that takes nothing from the app's settings and annotations.

    Recovery is by leases: a message that is acknowledged late, limited or sent again would only
    get in the way.
    """

    abstract = True
    from_config: ClassVar[tuple[tuple[str, str], ...]] = ()
    ignore_result = True
    acks_late = False
    acks_on_failure_or_timeout = True
    reject_on_worker_lost = False
    track_started = False
    store_eager_result = False
    store_errors_even_if_ignored = False
    rate_limit = None
    priority = None
    time_limit = NO_LIMIT
    soft_time_limit = NO_LIMIT - 1
    serializer = "json"

    @classmethod
    def annotate(cls) -> None:
        """Take no annotations: those of `*` are meant for other tasks."""


def add_shift(app: Celery) -> None:
    """Make the app know the task that opens shifts."""

    @app.task(
        name=SHIFT_TASK,
        base=PlatformTask,
        Strategy="taskplatform.celery.strategy:one_per_child",
        Request="taskplatform.celery.request:ShiftRequest",
    )
    def shift() -> None:
        """Claim ready work and execute it until there is none."""
        from taskplatform.celery.shifts import work  # noqa: PLC0415 needs the app's queues

        work(app)

    _: Any = shift
