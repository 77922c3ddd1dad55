"""From what is stored of a run to what is shown of it."""

import json
from typing import Any

from taskplatform.client.view import (
    AttemptView,
    ErrorView,
    RunErrorView,
    RunSummary,
    RunView,
    StepStatus,
    StepView,
)
from taskplatform.core import registry
from taskplatform.core.binding import Source
from taskplatform.core.pipeline import Declaration
from taskplatform.core.step import Step
from taskplatform.errors import PipelineNotFound
from taskplatform.storage.history import AttemptRow, History, ResultRow, RunRow, WorkRow


def summary(row: RunRow) -> RunSummary:
    """The line of a list."""
    return RunSummary(**_common(row))


def run_error(stored: bytes | None) -> RunErrorView | None:
    """A run's error, if it has one."""
    return None if stored is None else RunErrorView.model_validate_json(stored)


def run_view(history: History) -> RunView:
    """The whole run; steps in declared order, then stored ones that the code does not declare."""
    row = history.run
    results = {result.step: result for result in history.results}
    last = results.get(row.output_step) if row.output_step else None
    return RunView(
        **_common(row),
        input=json.loads(row.input),
        output=json.loads(last.output) if last else None,
        error=run_error(row.error),
        steps=_Steps(history, results).views(),
    )


def _common(row: RunRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in RunSummary.model_fields}


class _Steps:
    def __init__(self, history: History, results: dict[str, ResultRow]) -> None:
        self._run = history.run
        self._results = results
        self._attempts: dict[str, list[AttemptRow]] = {}
        for attempt in history.attempts:
            self._attempts.setdefault(attempt.step, []).append(attempt)
        self._work = {work.step: work for work in history.work if work.step not in results}
        self._declared = {step.name: step for step in _declared(history.run.pipeline)}
        error = run_error(history.run.error)
        self._failed = error.step if error else None

    def views(self) -> list[StepView]:
        names = dict.fromkeys(
            [*self._declared, *self._results, *sorted(self._attempts), *self._work]
        )
        views = [self._view(name) for name in names]
        if self._run.status == "cancelled" and not any(one.status == "cancelled" for one in views):
            views = _cancelled_at_first_open(views)
        return views

    def _view(self, name: str) -> StepView:
        result = self._results.get(name)
        return StepView(
            name=name,
            status=self._status(name, result),
            input=self._input(self._declared.get(name)),
            output=json.loads(result.output) if result else None,
            attempts=self._attempt_views(name, result),
        )

    def _status(self, name: str, result: ResultRow | None) -> StepStatus:
        attempts = self._attempts.get(name)
        if result is not None:
            return "reused" if result.reused_from else "succeeded"
        if work := self._work.get(name):
            if work.started_at is not None:
                return "running"
            return "waiting" if self._run.status == "waiting" else "pending"
        if self._run.status == "failed" and name == self._failed:
            return "failed"
        if self._run.status == "cancelled" and attempts:
            return "cancelled"
        return "pending"

    def _input(self, step: Step | None) -> dict[str, Any] | None:
        if step is None or any(name not in self._results for name in step.needs):
            return None
        given: dict[str, Any] = {}
        for binding in step.bound.bindings:
            if binding.source is Source.INPUT:
                given[binding.name] = json.loads(self._run.input)
            elif binding.source is Source.OUTPUT:
                given[binding.name] = json.loads(self._results[binding.step].output)
        return given

    def _attempt_views(self, name: str, result: ResultRow | None) -> list[AttemptView]:
        rows = self._attempts.get(name, [])
        views = [_attempt(row) for row in rows]
        if result is not None and result.reused_from is None:
            views.append(_success(result))
        work = self._work.get(name)
        if work is not None and work.started_at is not None:
            views.append(_running(work, 1 + max((row.number for row in rows), default=0)))
        return sorted(views, key=lambda view: view.number)


def _declared(pipeline: str) -> tuple[Step, ...]:
    try:
        found: Declaration[Any] = registry.get(pipeline)
    except PipelineNotFound:
        return ()
    return found.steps


def _cancelled_at_first_open(views: list[StepView]) -> list[StepView]:
    for place, view in enumerate(views):
        if view.status == "pending":
            return [
                *views[:place],
                view.model_copy(update={"status": "cancelled"}),
                *views[place + 1 :],
            ]
    return views


def _attempt(row: AttemptRow) -> AttemptView:
    return AttemptView(
        number=row.number,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
        error=None if row.error is None else ErrorView.model_validate_json(row.error),
        worker=row.worker,
    )


def _success(result: ResultRow) -> AttemptView:
    return AttemptView(
        number=result.attempt,
        started_at=result.started_at,
        finished_at=result.finished_at,
        outcome="succeeded",
        error=None,
        worker=result.worker,
    )


def _running(work: WorkRow, number: int) -> AttemptView:
    return AttemptView(
        number=number,
        started_at=work.started_at,
        finished_at=None,
        outcome="running",
        error=None,
        worker=work.worker,
    )
