"""The state that two transitions leave, without what depends on nothing but the moment."""

from typing import Any

from tests.integration.models.scenes import Facts
from tests.integration.races.stage import Stage

TABLES = (
    "runs, work, step_results, step_attempts, items, waits, events, keys, holders, canvases, pauses"
)
_DUE = "CASE WHEN {0} IS NULL THEN 'none' WHEN {0} = 'infinity' THEN 'never' ELSE 'some' END"
_STATE = [
    f"""SELECT id, status, reason, {_DUE.format("due_at")}, waiting_for, output_step,
               error IS NULL, finished_at IS NULL, key, request_id, replay_of
        FROM taskplatform.runs ORDER BY id""",
    f"""SELECT run_id, branch, step, queue, holder, {_DUE.format("due_at")}, started_at IS NULL,
               alone, tried, failures, item, pending, next_item, rest, failing, reason
        FROM taskplatform.work ORDER BY run_id, branch""",
    "SELECT run_id, step_name, output::text FROM taskplatform.step_results ORDER BY 1, 2",
    "SELECT run_id, step_name, number, outcome FROM taskplatform.step_attempts ORDER BY 1, 2, 3",
    """SELECT run_id, step_name, position, output::text, failed FROM taskplatform.items
       ORDER BY 1, 2, 3""",
    "SELECT run_id, step_name, event_id FROM taskplatform.waits ORDER BY 1, 2",
    "SELECT id FROM taskplatform.events",
    "SELECT pipeline, reason FROM taskplatform.pauses",
    "SELECT run_id, published_at IS NULL FROM taskplatform.canvases",
    "SELECT key, run_id, expires_at IS NULL FROM taskplatform.keys",
]

_CLEAR = "; ".join(f"DELETE FROM taskplatform.{name}" for name in TABLES.split(", "))

State = list[Any]


def clear(stage: Stage) -> None:
    """Begin with nothing."""
    stage.connection.execute(_CLEAR)


def state(stage: Stage, facts: Facts) -> State:
    """All there is; holders are those of the scene or the new one."""
    found: State = []
    for query in _STATE:
        rows = stage.rows(query)
        if "taskplatform.work" in query:
            rows = [(*row[:4], _who(row[4], facts), *row[5:]) for row in rows]
        found.append(rows)
    return found


def _who(holder: int | None, facts: Facts) -> str | None:
    return None if holder is None else "new" if holder == facts.new else "old"
