"""The steps of a run as they are shown, with the items of its maps."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from taskplatform.client.attempt_views import attempt_views
from taskplatform.client.view import AttemptView, ProgressView, StepStatus, StepView
from taskplatform.core import registry
from taskplatform.core.binding import Source
from taskplatform.core.pipeline import Declaration
from taskplatform.core.sealing import shown
from taskplatform.core.step import Step
from taskplatform.errors import PipelineNotFound
from taskplatform.storage.history_rows import AttemptRow, History, ItemRow, ResultRow, WorkRow

_NEVER = datetime.max.replace(tzinfo=UTC)


class StepViews:
    """Joins what is stored of a run's steps, by their names."""

    def __init__(self, history: History, failed: str | None) -> None:
        """`failed` is the step, or the item, that ended the run."""
        self._run = history.run
        self._failed = failed
        self._results = {result.step: result for result in history.results}
        self._attempts: dict[str, list[AttemptRow]] = {}
        for attempt in history.attempts:
            self._attempts.setdefault(attempt.step, []).append(attempt)
        self._items: dict[str, list[ItemRow]] = {}
        for item in history.items:
            self._items.setdefault(item.step, []).append(item)
        self._steps = _declared(history.run.pipeline)
        undoing = [step.compensation for step in self._steps if step.compensation is not None]
        self._declared = {step.name: step for step in [*self._steps, *undoing]}
        # A join stands for its branches, which have rows of their own.
        self._work = {
            work.step: work
            for work in history.work
            if work.rest != "branches" and not self._is_done(work.step)
        }
        self._children = {child.step: child.id for child in history.children}

    def all(self) -> list[StepView]:
        """Declared steps in order, then others as they were executed."""
        items = {item.name for rows in self._items.values() for item in rows}
        names = dict.fromkeys(
            [
                *(step.name for step in self._steps),
                *self._results,
                *self._items,
                *sorted(self._attempts),
                *self._work,
            ]
        )
        views = [view for name in names if name not in items for view in self._step_and_items(name)]
        if self._run.status == "cancelled" and not any(one.status == "cancelled" for one in views):
            views = _cancelled_at_first_open(views)
        return views

    def _is_done(self, name: str) -> bool:
        """Whether work at this step has only to go on: it is not to be executed again."""
        result, declared = self._results.get(name), self._declared.get(name)
        return result is not None and (declared is None or declared.version == result.version)

    def _step_and_items(self, name: str) -> Iterator[StepView]:
        rows = self._items.get(name)
        if rows is None:
            yield self._step(name)
            return
        items = [self._item(row) for row in rows]
        yield self._map(name, items)
        yield from items

    def _step(self, name: str) -> StepView:
        result, work = self._results.get(name), self._work.get(name)
        made = result if result is None or result.reused_from is None else None
        return self._view(
            name,
            self._status(name, result, work),
            input=self._input(self._declared.get(name)),
            output=shown(result.output) if result else None,
            attempts=attempt_views(self._attempts.get(name, []), made, work),
            child_run=self._children.get(name),
        )

    def _map(self, name: str, items: list[StepView]) -> StepView:
        view = self._step(name)
        ended = sum(item.status in ("succeeded", "failed") for item in items)
        progress = ProgressView(done=ended, total=len(items))
        if view.status != "pending":
            return view.model_copy(update={"progress": progress})
        update: dict[str, Any] = {"progress": progress}
        opened = [item for item in items if item.status in ("running", "waiting")]
        if any(item.status == "running" for item in opened):
            update["status"] = "running"
        elif opened:
            first = min(opened, key=lambda item: item.due_at or _NEVER)
            update |= {"status": "waiting", "reason": first.reason, "due_at": first.due_at}
            update["waiting_for"] = first.waiting_for
        return view.model_copy(update=update)

    def _item(self, row: ItemRow) -> StepView:
        work = self._work.get(row.name)
        status: StepStatus
        if row.failed:
            status = "failed"
        else:
            status = "succeeded" if row.finished_at else self._status(row.name, None, work)
        made = row if status == "succeeded" else None
        return self._view(
            row.name,
            status,
            input=shown(row.item),
            output=None if row.output is None else shown(row.output),
            attempts=attempt_views(self._attempts.get(row.name, []), made, work),
        )

    def _view(
        self, name: str, status: StepStatus, *, attempts: list[AttemptView], **known: Any
    ) -> StepView:
        work = self._work.get(name)
        if work is not None and status == "waiting":
            # The main branch of a run without others waits as its run says.
            ours = work if work.reason or not work.main else self._run
            known |= {"reason": ours.reason, "due_at": ours.due_at}
            known["waiting_for"] = ours.waiting_for
        return StepView(
            name=name,
            status=status,
            attempts=attempts,
            progress=_progress(work) if work is not None and status == "running" else None,
            log=next((one.log for one in reversed(attempts) if one.log), None),
            **known,
        )

    def _status(self, name: str, result: ResultRow | None, work: WorkRow | None) -> StepStatus:
        if work is not None and work.started_at is not None:
            return "running"
        if work is not None and work.waits and work.rest != "canvas":
            return "pending" if self._run.status == "scheduled" else "waiting"
        if result is not None and work is None:
            return "reused" if result.reused_from else "succeeded"
        if work is not None:
            return "pending"
        if self._failed is not None and name in (self._failed, self._failed.partition("[")[0]):
            return "failed"
        if self._run.status == "cancelled" and name in self._attempts:
            return "cancelled"
        return "pending"

    def _input(self, step: Step | None) -> dict[str, Any] | None:
        if step is None or any(name not in self._results for name in step.needs):
            return None
        given: dict[str, Any] = {}
        for binding in step.bound.bindings:
            if binding.source is Source.INPUT:
                given[binding.name] = shown(self._run.input)
            elif binding.source is Source.OUTPUT:
                given[binding.name] = shown(self._results[binding.step].output)
        return given


def _declared(pipeline: str) -> tuple[Step, ...]:
    try:
        found: Declaration[Any] = registry.get(pipeline)
    except PipelineNotFound:
        return ()
    return found.steps


def _progress(work: WorkRow) -> ProgressView | None:
    if work.progress_done is None and work.heartbeat_at is None:
        return None
    return ProgressView(
        done=work.progress_done, total=work.progress_total, heartbeat_at=work.heartbeat_at
    )


def _cancelled_at_first_open(views: list[StepView]) -> list[StepView]:
    for place, view in enumerate(views):
        if view.status == "pending":
            return [
                *views[:place],
                view.model_copy(update={"status": "cancelled"}),
                *views[place + 1 :],
            ]
    return views
