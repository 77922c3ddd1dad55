"""What the tables say of the runs, to be compared with the model."""

from typing import Any
from uuid import UUID

from tests.integration.models.model import ENDED, Run
from tests.integration.races.stage import Stage

_STORED = """
SELECT r.id, r.status, r.reason, w.step, w.holder, coalesce(w.started_at IS NOT NULL, false),
       coalesce(w.alone, false),
       ARRAY(SELECT step_name FROM taskplatform.step_results s
             WHERE s.run_id = r.id ORDER BY step_name),
       ARRAY(SELECT outcome FROM taskplatform.step_attempts a
             WHERE a.run_id = r.id ORDER BY outcome)
FROM taskplatform.runs r LEFT JOIN taskplatform.work w ON w.run_id = r.id
"""


def stored_runs(stage: Stage) -> dict[UUID, tuple[Any, ...]]:
    """Every run: status, reason, step, holder, started, suspected, outputs and bad attempts."""
    return {id: tuple(values) for id, *values in stage.rows(_STORED)}


def expected(run: Run) -> tuple[Any, ...]:
    """The same of a run of the model."""
    steps, bad = sorted(run.done), sorted(run.bad)
    if run.status in ENDED:
        return (run.status, None, None, None, False, False, steps, bad)
    held = run.holder is not None
    return (
        run.status,
        run.reason,
        run.step,
        run.holder,
        held and run.started,
        run.suspect,
        steps,
        bad,
    )
