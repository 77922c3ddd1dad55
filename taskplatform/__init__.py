"""taskplatform: durable steps, replay and searchable history for Celery, Redis and Postgres."""

from typing import TYPE_CHECKING, Any

from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.reading import get_run, list_runs
from taskplatform.client.run import Run
from taskplatform.core.context import Context
from taskplatform.core.event import Event
from taskplatform.core.handlers import on
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.endpoints import database_url
from taskplatform.errors import Permanent, RetryAfter, TaskPlatformError, TimeLimitExceeded

if TYPE_CHECKING:
    from celery import Celery

    app: Celery

__all__ = [
    "Pipeline",
    "Retry",
    "Throttle",
    "Context",
    "Permanent",
    "RetryAfter",
    "TimeLimitExceeded",
    "Run",
    "enqueue_many",
    "get_run",
    "list_runs",
    "Event",
    "on",
    "database_url",
    "TaskPlatformError",
    "app",
]


def __getattr__(name: str) -> Any:
    # `celery -A taskplatform` looks here; a process that only declares pipelines needs no Celery.
    if name == "app":
        from taskplatform.celery.app import app  # noqa: PLC0415

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
