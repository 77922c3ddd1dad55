"""Celery's own signals and `current_task` around every step.

Sentry, OpenTelemetry, Django's connection handling and task loggers hook into these; with them a
step looks to such tools like the task it is registered as.
"""

from typing import Any
from uuid import UUID

from celery import Celery, signals
from celery._state import _task_stack
from celery.app.task import Context

from taskplatform.core.outcome import Failed, Outcome, PutOff, Succeeded, TimedOut
from taskplatform.core.step import Step


class CelerySignals:
    """An instrument that speaks Celery, with the tasks of an app."""

    def __init__(self, app: Celery) -> None:
        self._tasks = app.tasks

    def started(self, step: Step, run_id: UUID, number: int) -> Any:
        """Make the step's task current and announce it."""
        task = self._tasks.get(step.task_name)
        if task is None:
            return None
        run = str(run_id)
        task_id, kwargs = f"{run}:{step.name}:{number}", {"run_id": run}
        # As Task.push_request would, but that looks for custom headers among what it is given,
        # which cost more than all else that is done around a step.
        request = Context.__new__(Context)
        request.__dict__.update(
            id=task_id,
            root_id=run,
            task=step.task_name,
            args=(),
            kwargs=kwargs,
            retries=number - 1,
            is_eager=False,
            called_directly=False,
        )
        task.request_stack.push(request)
        _task_stack.push(task)
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=task, task_id=task_id, task=task, args=(), kwargs=kwargs
            )
        return task, request

    def entered(self, token: Any) -> None:
        """Make the step's task current in the thread of the event loop, too."""
        if token is not None:
            task, request = token
            task.request_stack.push(request)
            _task_stack.push(task)

    def left(self, token: Any) -> None:
        """Leave the thread of the event loop to the other bodies."""
        if token is not None:
            _task_stack.pop()
            token[0].pop_request()

    def ended(
        self,
        token: Any,
        step: Step,  # noqa: ARG002
        outcome: Outcome,
        error: BaseException | None,
    ) -> None:
        """Announce the outcome and leave the task."""
        if token is None:
            return
        task, _ = token
        try:
            self._announce(task, outcome, error)
        finally:
            _task_stack.pop()
            task.pop_request()

    def _announce(self, task: Any, outcome: Outcome, error: BaseException | None) -> None:
        match outcome:
            case Succeeded(output):
                state = "SUCCESS"
                if signals.task_success.receivers:
                    signals.task_success.send(sender=task, result=output)
            case Failed() | TimedOut():
                state = "FAILURE"
                if signals.task_failure.receivers:
                    request = task.request
                    signals.task_failure.send(
                        sender=task,
                        task_id=request.id,
                        exception=error,
                        args=request.args,
                        kwargs=request.kwargs,
                        traceback=error.__traceback__ if error else None,
                        einfo=None,
                    )
            case PutOff():
                state = "RETRY"
                if signals.task_retry.receivers:
                    signals.task_retry.send(
                        sender=task, request=task.request, reason=error, einfo=None
                    )
            case _:
                state = "RETRY"
        if signals.task_postrun.receivers:
            request = task.request
            signals.task_postrun.send(
                sender=task,
                task_id=request.id,
                task=task,
                args=request.args,
                kwargs=request.kwargs,
                retval=error,
                state=state,
            )
