"""From what is stored of a run to what is shown of it."""

from typing import Any

from taskplatform.client.outputs import last_steps, plain_output
from taskplatform.client.step_views import StepViews
from taskplatform.client.view import RunErrorView, RunSummary, RunView
from taskplatform.core.sealing import shown
from taskplatform.storage.history_rows import History, RunRow


def summary(row: RunRow) -> RunSummary:
    """The line of a list."""
    return RunSummary(**_common(row))


def run_error(stored: bytes | None) -> RunErrorView | None:
    """A run's error, if it has one."""
    return None if stored is None else RunErrorView.model_validate_json(stored)


def run_view(history: History) -> RunView:
    """The whole run.

    Steps in declared order, each map followed by its items; then what is stored besides:
    compensations, and steps that the code does not declare.
    """
    row = history.run
    error = run_error(row.error)
    outputs = {result.step: result.output for result in history.results}
    return RunView(
        **_common(row),
        input=shown(row.input),
        output=plain_output(last_steps(row.output_step), outputs) if row.output_step else None,
        error=error,
        children=[child.id for child in history.children],
        steps=StepViews(history, error.step if error else None).all(),
    )


def _common(row: RunRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in RunSummary.model_fields}
