"""Celery's own signals and `current_task` around every step.

Sentry, OpenTelemetry, Django's connection handling and task loggers hook into these; with them a
step looks to such tools like the task it is registered as.
"""

import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery, signals
from celery._state import _task_stack
from celery.app.task import Context
from celery.exceptions import Retry
from celery.utils.threads import get_ident

from taskplatform.celery import sentry
from taskplatform.core.outcome import Failed, Interrupted, Outcome, PutOff, Succeeded, TimedOut
from taskplatform.core.step import Step

_HOSTNAME = socket.gethostname()


@dataclass(slots=True)
class _Token:
    task: Any
    request: Any
    requests: list[Any]
    tasks: list[Any]
    watched: ExitStack | None


@dataclass(slots=True)
class _Known:
    """A step's task, and what all requests of it have in common."""

    step: Step
    task: Any
    request: dict[str, Any]


class CelerySignals:
    """An instrument that speaks Celery, with the tasks of an app."""

    def __init__(self, app: Celery, default_queue: str, hostname: str = _HOSTNAME) -> None:
        self._tasks = app.tasks
        self._default_queue = default_queue
        self._hostname = hostname
        self._known: dict[str, _Known] = {}

    def started(self, step: Step, run: str, number: int, label: str) -> _Token | None:
        """Make the step's task current and announce it."""
        known = self._known.get(step.task_name)
        if (known is None or known.step is not step) and (known := self._know(step)) is None:
            return None
        task = known.task
        # As Task.push_request would, but that looks for custom headers among what it is given,
        # which cost more than all else that is done around a step.
        request = Context.__new__(Context)
        request.__dict__ = {
            **known.request,
            "id": f"{run}:{label}:{number}",
            "root_id": run,
            "kwargs": {"run_id": run},
            "retries": number - 1,
        }
        requests, tasks = _push(task.request_stack, request), _push(_task_stack, task)
        watched = sentry.watch(task, request) if "sentry_sdk" in sys.modules else None
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=task, task_id=request.id, task=task, args=(), kwargs=request.kwargs
            )
        return _Token(task, request, requests, tasks, watched)

    def entered(self, token: _Token | None) -> None:
        """Make the step's task current in the thread of the event loop, too."""
        if token is not None:
            token.task.request_stack.push(token.request)
            _task_stack.push(token.task)

    def left(self, token: _Token | None) -> None:
        """Leave the thread of the event loop to the other bodies."""
        if token is not None:
            _task_stack.pop()
            token.task.pop_request()

    def ended(
        self,
        token: _Token | None,
        step: Step,  # noqa: ARG002
        outcome: Outcome,
        error: BaseException | None,
    ) -> None:
        """Announce the outcome and leave the task."""
        if token is None:
            return
        try:
            state = _announce(token.task, token.request, outcome, error)
            if signals.task_postrun.receivers:
                signals.task_postrun.send(
                    sender=token.task,
                    task_id=token.request.id,
                    task=token.task,
                    args=token.request.args,
                    kwargs=token.request.kwargs,
                    retval=error,
                    state=state,
                )
            if token.watched is not None:
                sentry.close(token.watched, state, error)
        finally:
            token.tasks.pop()
            token.requests.pop()

    def _know(self, step: Step) -> _Known | None:
        task = self._tasks.get(step.task_name)
        if task is None:
            return None
        known = self._known[step.task_name] = _Known(
            step,
            task,
            {
                "task": step.task_name,
                "args": (),
                "hostname": self._hostname,
                "delivery_info": {
                    "exchange": "",
                    "routing_key": step.queue or self._default_queue,
                },
                "is_eager": False,
                "called_directly": False,
            },
        )
        return known


def _push(stack: Any, one: Any) -> list[Any]:
    """Push it on the thread's own list, which is returned.

    To pop that is all that the stack would do, but for forgetting a list that becomes empty.
    """
    try:
        # It would be looked for by a method in Python, at every push.
        own: list[Any] = stack._local.__storage__[get_ident()]["stack"]
    except (AttributeError, KeyError):
        stack.push(one)
        own = stack.stack
    else:
        own.append(one)
    return own


def _announce(task: Any, request: Any, outcome: Outcome, error: BaseException | None) -> str:
    match outcome:
        case Succeeded():
            if signals.task_success.receivers:
                signals.task_success.send(sender=task, result=outcome.output)
            return "SUCCESS"
        case Failed() | TimedOut():
            if signals.task_failure.receivers and error is not None:
                signals.task_failure.send(
                    sender=task,
                    task_id=request.id,
                    exception=error,
                    args=request.args,
                    kwargs=request.kwargs,
                    traceback=error.__traceback__,
                    einfo=ExceptionInfo((type(error), error, error.__traceback__)),
                )
            return "FAILURE"
        case PutOff(seconds, failure):
            if signals.task_retry.receivers:
                reason = Retry(failure.message, when=seconds)
                signals.task_retry.send(sender=task, request=request, reason=reason, einfo=None)
        case Interrupted():
            pass
    return "RETRY"
