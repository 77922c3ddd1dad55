"""How a worker takes the messages that open shifts: no more than it has children."""

from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.strategy import default
from kombu.serialization import dumps, prepare_accept_content

from taskplatform.celery.identity import identity
from taskplatform.celery.message import BODY, headers
from taskplatform.celery.tasks import NO_LIMIT

logger = get_logger(__name__)


def one_per_child(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Drop a message that could open no shift now.

    When every child has a shift, one more would only wait, and fill the window in which the
    worker looks ahead: the user's own tasks would not even be seen. What it rang for is taken
    by the shifts that are open, or found by the supervisor of a worker with a free child.
    """
    handle = default(task, app, consumer, **options)
    readable = _readable(app)
    limits = [NO_LIMIT, NO_LIMIT - 1]

    def on_message(message: Any, _body: Any, ack: Any, *rest: Any, **more: Any) -> Any:
        open_or_waiting = sum(1 for request in state.reserved_requests if request.type == task.name)
        # With seats, one shift is for all of them.
        shifts = consumer.pool.num_processes if identity().seats == 1 else 1
        if open_or_waiting >= shifts:
            ack(logger, consumer.connection_errors)
            return None
        # A shift takes nothing: whatever was sent along, which may be unreadable, is left out.
        # Callbacks, chords and results are not acted upon, an ETA is not waited for.
        message.content_type, message.content_encoding, message.body = readable
        message._decoded_cache = None
        message.headers = headers(task.name) | {"timelimit": limits}
        message.properties = {"correlation_id": message.headers["id"]}
        # Nor can a control command starve it.
        consumer.task_buckets[task.name] = None
        return handle(message, None, ack, *rest, **more)

    return on_message


def _readable(app: Any) -> tuple[str, str, Any]:
    """The message without arguments, as the app reads it."""
    accepted = prepare_accept_content(app.conf.accept_content)  # type: ignore[no-untyped-call]
    json = accepted is None or "application/json" in accepted
    serializer = "json" if json else app.conf.task_serializer
    found: tuple[str, str, Any] = dumps(BODY, serializer=serializer)  # type: ignore[no-untyped-call]
    return found
