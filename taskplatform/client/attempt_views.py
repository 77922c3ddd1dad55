"""The attempts of a step, or of an item of a map, in order."""

from collections.abc import Sequence

from taskplatform.client.view import AttemptView, ErrorView
from taskplatform.storage.history_rows import AttemptRow, ItemRow, ResultRow, WorkRow


def attempt_views(
    rows: Sequence[AttemptRow], result: ResultRow | ItemRow | None, work: WorkRow | None
) -> list[AttemptView]:
    """Those that made no output, the one that made it, and the one that executes now."""
    views = [_attempt(row) for row in rows]
    if result is not None and (success := _success(result)) is not None:
        views.append(success)
    if work is not None and work.started_at is not None:
        views.append(_running(work, 1 + max((view.number for view in views), default=0)))
    return sorted(views, key=lambda view: view.number)


def _attempt(row: AttemptRow) -> AttemptView:
    return AttemptView(
        number=row.number,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
        error=None if row.error is None else ErrorView.model_validate_json(row.error),
        worker=row.worker,
        log=row.log,
    )


def _success(result: ResultRow | ItemRow) -> AttemptView | None:
    # What has no body, such as a sleep, had no attempt.
    if not result.attempt:
        return None
    return AttemptView(
        number=result.attempt,
        started_at=result.started_at,
        finished_at=result.finished_at,
        outcome="succeeded",
        error=None,
        worker=result.worker,
        log=result.log,
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
