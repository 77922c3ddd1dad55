"""What stands between Redis and a worker's own loop."""

from collections.abc import Callable
from typing import Any

from celery import bootsteps, signals
from celery.utils.log import get_logger
from celery.worker.consumer.tasks import Tasks

from taskplatform.celery.bell import SHIFT_TASK
from taskplatform.celery.complaints import shorten_complaints
from taskplatform.celery.fullness import say_when_the_broker_is_full
from taskplatform.celery.junk import JUNK, WINDOW, sample
from taskplatform.celery.transport import guard_connections
from taskplatform.celery.vetting import Flaw, vet_first_protocol, vet_task

logger = get_logger(__name__)

Handle = Callable[[Any], Any]


class Guard(bootsteps.StartStopStep):
    """Drops messages that would raise in the worker's loop, and so end it.

    Everything else takes the way that it takes without the platform.
    """

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        # Now: the first connection is made before any step of the consumer has started.
        guard_connections(consumer.app)
        shorten_complaints()
        say_when_the_broker_is_full()
        consumer.timer.call_repeatedly(WINDOW, JUNK.tell)

    def start(self, consumer: Any) -> None:
        """Look at each message before its task's strategy does."""
        plain = type(consumer).create_task_handler
        consumer.create_task_handler = lambda: vetted(consumer, plain(consumer))

    def info(self, consumer: Any) -> dict[str, int]:  # noqa: ARG002 Celery's own signature
        """What `celery inspect stats` shows of it."""
        return {"messages_dropped": JUNK.dropped}


def vetted(consumer: Any, handle: Handle) -> Handle:
    """The handler, but for messages that it would not survive."""

    def on_task_received(message: Any) -> Any:
        try:
            _vet(consumer, message)
        except Flaw as flaw:
            queue = (message.delivery_info or {}).get("routing_key")
            JUNK.drop(queue or "a queue", str(flaw), _named(message))
            message.reject_log_error(logger, consumer.connection_errors)
            signals.task_rejected.send(sender=consumer, message=message, exc=flaw)
            return None
        return handle(message)

    return on_task_received


def _vet(consumer: Any, message: Any) -> None:
    headers = message.headers
    name = headers.get("task")
    if "task" not in headers:
        vet_first_protocol(_decoded(message))
    elif not isinstance(name, str):
        raise Flaw(f"its task is a {type(name).__name__}")
    elif name not in consumer.strategies:
        # Celery drops it, and looks at nothing but its id.
        if not isinstance(headers.get("id"), str):
            raise Flaw("it has no id, and names a task that is not registered")
    elif name != SHIFT_TASK:
        # A shift takes nothing from its message, see its strategy.
        vet_task(headers, lambda: _decoded(message), consumer.app.timezone)


def _decoded(message: Any) -> Any:
    try:
        return message.payload
    except Exception as error:
        raise Flaw(f"its body cannot be decoded ({type(error).__name__})") from error


def _named(message: Any) -> str:
    name = message.headers.get("task")
    return f"task {sample(name)}" if isinstance(name, str) else ""
