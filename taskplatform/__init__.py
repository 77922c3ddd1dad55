"""taskplatform: durable steps, replay and searchable history for Celery, Redis and Postgres."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from taskplatform.celery.install import install
    from taskplatform.client.events import send_event
    from taskplatform.client.pipeline import Pipeline, aenqueue_many, enqueue_many
    from taskplatform.client.reading import get_run, list_runs
    from taskplatform.client.run import Run
    from taskplatform.client.stream import Change
    from taskplatform.client.throttle import Throttle
    from taskplatform.core.batching import Batch
    from taskplatform.core.breaker import Breaker
    from taskplatform.core.concurrency import Concurrency
    from taskplatform.core.context import Context
    from taskplatform.core.debounce import Debounce
    from taskplatform.core.event import Event
    from taskplatform.core.handlers import on
    from taskplatform.core.item_error import ItemError
    from taskplatform.core.retry import Retry
    from taskplatform.core.secret_schema import NotSecret
    from taskplatform.endpoints import database_url
    from taskplatform.errors import (
        Permanent,
        RetryAfter,
        TaskPlatformError,
        Throttled,
        TimeLimitExceeded,
    )
    from taskplatform.middleware import Enqueuing, StepAttempt
    from taskplatform.middleware.own import around_enqueue, around_step

    app: Celery

__all__ = [
    "Pipeline",
    "Retry",
    "Throttle",
    "Debounce",
    "Batch",
    "Concurrency",
    "Breaker",
    "Context",
    "Permanent",
    "RetryAfter",
    "TimeLimitExceeded",
    "Throttled",
    "Run",
    "Change",
    "enqueue_many",
    "aenqueue_many",
    "get_run",
    "list_runs",
    "ItemError",
    "NotSecret",
    "Event",
    "on",
    "send_event",
    "around_enqueue",
    "around_step",
    "Enqueuing",
    "StepAttempt",
    "database_url",
    "TaskPlatformError",
    "app",
    "install",
]

# Looked up when first asked for: the command line's help needs no database driver, a process
# that only declares pipelines no Celery.
_ROOMS = {
    "Pipeline": "client.pipeline",
    "enqueue_many": "client.pipeline",
    "aenqueue_many": "client.pipeline",
    "get_run": "client.reading",
    "list_runs": "client.reading",
    "Run": "client.run",
    "Change": "client.stream",
    "Batch": "core.batching",
    "Breaker": "core.breaker",
    "Concurrency": "core.concurrency",
    "Context": "core.context",
    "Debounce": "core.debounce",
    "Event": "core.event",
    "on": "core.handlers",
    "send_event": "client.events",
    "ItemError": "core.item_error",
    "NotSecret": "core.secret_schema",
    "Retry": "core.retry",
    "around_enqueue": "middleware.own",
    "around_step": "middleware.own",
    "Enqueuing": "middleware.enqueuing",
    "StepAttempt": "middleware.chain",
    "Throttle": "client.throttle",
    "database_url": "endpoints",
    "Permanent": "errors",
    "RetryAfter": "errors",
    "TaskPlatformError": "errors",
    "Throttled": "errors",
    "TimeLimitExceeded": "errors",
    "app": "celery.app",
    "install": "celery.install",
}


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"taskplatform.{room}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
