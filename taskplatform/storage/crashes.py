"""Crashes: how often a pipeline has killed pool children lately, and the pause that follows."""

from collections.abc import Sequence

from taskplatform.storage.connection import Session

WINDOW = 60

# Children that die together were killed together, from outside: for each pipeline one counts.
_NOTE = """
INSERT INTO taskplatform.crashes (pipeline, run_id, step_name, item)
SELECT DISTINCT ON (w.pipeline) w.pipeline, w.run_id, w.step, w.item
FROM unnest(%s::bigint[], %s::bigint[]) AS died(work_id, epoch)
JOIN taskplatform.work w ON w.id = died.work_id AND w.epoch = died.epoch
WHERE w.holder IS NOT NULL
ORDER BY w.pipeline, w.id
RETURNING pipeline
"""

# A step that ended well since was not what killed the child.
_TRIP = """
INSERT INTO taskplatform.pauses (pipeline, reason, why)
SELECT c.pipeline, 'breaker',
       format('it killed %%s pool children within %%s s', count(*), %(window)s)
FROM taskplatform.crashes c
WHERE c.pipeline = ANY (%(pipelines)s::text[])
  AND c.crashed_at > clock_timestamp() - make_interval(secs => %(window)s)
  AND CASE WHEN c.item IS NULL
           THEN (SELECT true FROM taskplatform.step_results s
                 WHERE s.run_id = c.run_id AND s.step_name = c.step_name)
           ELSE (SELECT true FROM taskplatform.items i
                 WHERE i.run_id = c.run_id AND i.step_name = c.step_name
                   AND i.position = c.item AND i.finished_at IS NOT NULL) END IS NULL
GROUP BY c.pipeline HAVING count(*) >= %(most)s
ON CONFLICT (pipeline) DO NOTHING
RETURNING pipeline, why
"""

_FORGET = """
DELETE FROM taskplatform.crashes
WHERE pipeline = ANY (%(pipelines)s::text[])
  AND crashed_at < clock_timestamp() - make_interval(secs => %(window)s)
"""


def note(connection: Session, bodies: Sequence[tuple[int, int]]) -> list[str]:
    """Note that children died in these bodies (work id, epoch); return the pipelines they are of.

    It has to be before they are given back, and committed before `trip` counts: of two that note
    at once, the later one then counts both.
    """
    ids, epochs = zip(*bodies, strict=True)
    return [row[0] for row in connection.execute(_NOTE, (list(ids), list(epochs)))]


def trip(connection: Session, pipelines: Sequence[str], most: int) -> list[tuple[str, str]]:
    """Pause those of the pipelines that have killed `most` children; return them and the reason."""
    values = {"pipelines": list(pipelines), "window": WINDOW, "most": most}
    connection.execute(_FORGET, values)
    return [(row[0], row[1]) for row in connection.execute(_TRIP, values)]
