"""Tails: what comes after a run in a user's canvas, kept with it and published exactly once."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import kombu.exceptions
from celery import Celery
from celery.canvas import Signature
from kombu.utils import json as kombu_json

from taskplatform.celery.address import address_of
from taskplatform.celery.bell import bell
from taskplatform.errors import Unavailable
from taskplatform.storage import canvases
from taskplatform.storage.canvases import Tail
from taskplatform.storage.connection import Session

# Celery's own: a signature may hold moments and the like.
_dumps: Callable[[Any], str] = kombu_json.dumps
_loads: Callable[[str], Any] = kombu_json.loads


def split(task: Any, pipeline: str, run_id: UUID) -> tuple[list[Any], str | None]:
    """The run's own signatures that follow in the message, and those after them as JSON, if any."""
    request = task.request
    # The next one is the last of the list.
    following = list(request.chain or ())
    own = 0
    while own < len(following) and _is_of_run(following[-1 - own], pipeline, run_id):
        own += 1
    rest = following[: len(following) - own]
    if not rest:
        return following, None
    tail = {"app": task.app.main, "chain": rest, "root": request.root_id, "parent": request.id}
    return following[len(rest) :], _dumps(tail)


def publish(connection: Session, app: Celery, run_id: UUID | None = None) -> int:
    """Publish what follows runs that have succeeded, or one; return how many."""
    return canvases.publish(connection, str(app.main), lambda tail: _send(app, tail), run_id)


def _is_of_run(signature: Any, pipeline: str, run_id: UUID) -> bool:
    return bool(
        str(signature.get("task", "")).startswith(f"{pipeline}.")
        and (signature.get("kwargs") or {}).get("run_id") == str(run_id)
    )


def _send(app: Celery, tail: Tail) -> Callable[[], object] | None:
    kept = _loads(tail.tail)
    rest = kept["chain"]
    first = Signature.from_dict(rest.pop(), app=app)
    options: dict[str, Any] = {"root_id": kept["root"], "parent_id": kept["parent"]}
    if rest:
        options["chain"] = rest
    arguments = (_loads(tail.output),)
    if type(first) is not Signature:
        # It makes more than one message, and rows in a result backend: not in one go.
        return lambda: first.apply_async(arguments, **options)
    # The same at every try.
    options["task_id"] = first.options.get("task_id") or str(uuid4())
    try:
        messages = _messages(app, first, arguments, options)
    except (kombu.exceptions.OperationalError, OSError) as error:
        raise Unavailable(f"broker unavailable: {error}") from error
    bell(address_of(app)).publish_once(f"canvas:{tail.run_id}", messages)
    return None


def _messages(
    app: Celery, first: Signature, arguments: tuple[Any, ...], options: dict[str, Any]
) -> list[tuple[str, str]]:
    """Let Celery and kombu make the message, and take it before it goes to Redis."""
    made: list[tuple[str, str]] = []

    with app.connection_for_write() as connection, connection.channel() as channel:

        def put(queue: str, message: dict[str, Any], **_: Any) -> None:
            priority = channel._get_message_priority(message, reverse=False)
            made.append((channel._q_for_pri(queue, priority), _dumps(message)))

        channel._put = put
        first.apply_async(arguments, producer=app.amqp.Producer(channel), **options)
    return made
