"""Sentry beside a step: what its Celery integration does around a message.

That integration does not listen to signals. It wraps the function that executes a message, and a
step is executed without one. So the same is done here, in Sentry's public words: a scope and a
transaction for each attempt, named after the step's task, and the error with its traceback.
"""

import importlib
import logging
import sys
from contextlib import ExitStack
from typing import Any

logger = logging.getLogger(__name__)

_OP, _ORIGIN = "queue.task.celery", "auto.queue.celery"


def watch(task: Any, request: Any) -> ExitStack | None:
    """Open Sentry's scope and transaction, if the process uses its Celery integration."""
    sdk = sys.modules.get("sentry_sdk")
    # While it is being imported it has no functions yet.
    client = sdk.get_client() if sdk is not None and hasattr(sdk, "get_client") else None
    if sdk is None or client is None or client.get_integration("celery") is None:
        return None
    opened = ExitStack()
    try:
        scope = opened.enter_context(sdk.isolation_scope())
        scope.clear_breadcrumbs()
        # After the processor of the shift, whose scope this one was made from.
        scope.add_event_processor(lambda event, _: _marked(event, task.name, request))
        opened.enter_context(_transaction(sdk, client.options, task.name))
    except Exception:
        # Another version's ways must not cost a step.
        logger.exception("Sentry does not see step %s", task.name)
    return opened


def close(opened: ExitStack, state: str, error: BaseException | None) -> None:
    """Report the error, if the attempt failed, and end the transaction."""
    with opened:
        try:
            _report(sys.modules["sentry_sdk"], state, error)
        except Exception:
            logger.exception("Sentry was not told how a step ended")


def _report(sdk: Any, state: str, error: BaseException | None) -> None:
    scope = sdk.get_current_scope()
    if state == "FAILURE" and error is not None:
        event, hint = sdk.utils.event_from_exception(
            (type(error), error, error.__traceback__),
            client_options=sdk.get_client().options,
            mechanism={"type": "celery", "handled": False},
        )
        sdk.capture_event(event, hint=hint)
    if scope.span is not None:
        ends = {"SUCCESS": "ok", "FAILURE": "internal_error"}
        scope.span.set_status(ends.get(state, "aborted"))
    elif getattr(scope, "streamed_span", None) is not None:
        scope.streamed_span.status = "ok" if state == "SUCCESS" else "error"


def _transaction(sdk: Any, options: Any, name: str) -> Any:
    streams = getattr(
        importlib.import_module("sentry_sdk.tracing_utils"), "has_span_streaming_enabled", None
    )
    if streams is None or not streams(options):
        return sdk.start_transaction(op=_OP, name=name, source="task", origin=_ORIGIN)
    return importlib.import_module("sentry_sdk.traces").start_span(
        name=name,
        parent_span=None,
        attributes={
            "sentry.op": _OP,
            "sentry.origin": _ORIGIN,
            "sentry.segment.name.source": "task",
        },
    )


def _marked(event: Any, name: str, request: Any) -> Any:
    tags = event.setdefault("tags", {})
    tags["celery_task_id"] = request.id
    tags["taskplatform.run_id"] = request.root_id
    event.setdefault("extra", {})["celery-job"] = {
        "task_name": name,
        "args": list(request.args),
        "kwargs": request.kwargs,
    }
    return event
