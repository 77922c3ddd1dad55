"""Which queues a worker serves: those the operator chose, else its app's and the pipelines'."""

from celery import Celery
from kombu.entity import Queue

from taskplatform.celery.installed import installed
from taskplatform.core import registry
from taskplatform.settings import get_settings

_PRIVATE = "taskplatform.worker."


def of_pipelines() -> list[str]:
    """The platform's queue, then those that steps name."""
    named = [step.queue for one in registry.all() for step in one.steps if step.queue]
    return list(dict.fromkeys([get_settings().queue, *named]))


def serve(app: Celery, private: str) -> str | None:
    """Make the worker of this process consume what it has to; return what its operator must know.

    A user's own app gets the queues of the pipelines, unless the operator chose with `-Q`.
    """
    queues = app.amqp.queues
    warning = None
    if installed() is app:
        wanted = of_pipelines()
        if queues._consume_from is None:
            for name in wanted:
                if name not in queues.consume_from:
                    queues.select_add(_queue(name))
        elif wanted[0] not in queues.consume_from:
            warning = (
                f"this worker was started with -Q {','.join(queues.consume_from)}, without the "
                f"platform's queue: it executes no steps of queue '{wanted[0]}'. If it should, add "
                f"{wanted[0]} to -Q"
            )
    queues.select_add(_queue(private, durable=False, auto_delete=True))
    return warning


def served(app: Celery) -> list[str]:
    """The queues that this worker consumes, the pipelines' first, without the one of its own."""
    consumed = [one for one in app.amqp.queues.consume_from if not one.startswith(_PRIVATE)]
    # Rings go to the first: other workers of the user's queues may not know the platform.
    return sorted(consumed, key=lambda name: name not in of_pipelines())


def private(worker: object) -> str:
    """The queue that only this worker consumes: its supervisor's way to open a shift here."""
    return f"{_PRIVATE}{worker}"


def _queue(name: str, **options: bool) -> Queue:
    return Queue(name, exchange="", routing_key=name, **options)  # type: ignore[no-untyped-call]
