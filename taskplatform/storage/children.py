"""Children: what became of the run that a step waits for."""

from dataclasses import dataclass
from uuid import UUID

from taskplatform.storage.connection import Session

# With several outputs, a group ended the run: they are one object, as its reader would get them.
_NEWEST = """
SELECT c.id, c.status, c.error,
       CASE WHEN c.status = 'succeeded' THEN (
           SELECT CASE WHEN position(',' IN c.output_step) = 0 THEN max(s.output::text)
                       ELSE '{' || string_agg(to_json(s.step_name)::text || ':' || s.output::text,
                                              ',' ORDER BY s.step_name) || '}' END
           FROM taskplatform.step_results s
           WHERE s.run_id = c.id AND s.step_name = ANY (string_to_array(c.output_step, ','))
       ) END,
       extract(epoch FROM clock_timestamp() - c.created_at)::double precision
FROM taskplatform.runs c
WHERE c.parent_run = %s AND c.parent_step = %s
ORDER BY c.id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ChildRun:
    """The newest run that a step started; `age` in seconds."""

    id: UUID
    status: str
    error: bytes | None
    output: bytes | None
    age: float


def newest(connection: Session, run_id: UUID, step: str) -> ChildRun | None:
    """The newest run that a step of a run started."""
    row = connection.execute(_NEWEST, (run_id, step)).fetchone()
    if row is None:
        return None
    id, status, error, output, age = row
    return ChildRun(id, status, error, None if output is None else output.encode(), age)
