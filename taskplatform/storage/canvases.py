"""Canvases: what a user's canvas goes on with, kept with the run until that has succeeded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import orjson

from taskplatform.errors import Unavailable
from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask

logger = logging.getLogger(__name__)

_BATCH = 20

_KEEP = """
INSERT INTO taskplatform.canvases (run_id, tail)
SELECT %s, %s::json WHERE EXISTS (SELECT FROM taskplatform.runs WHERE id = %s)
ON CONFLICT DO NOTHING
"""

_SEEN = """
SELECT r.status, (SELECT jsonb_object_agg(step_name, version)::text
                  FROM taskplatform.step_results WHERE run_id = r.id)
FROM taskplatform.runs r WHERE r.id = %s AND r.pipeline = %s
"""

_OPEN = "SELECT EXISTS (SELECT FROM taskplatform.canvases WHERE published_at IS NULL)"

# A group's output is an object of its members'.
_READY = """
SELECT c.run_id, c.tail::text,
       CASE WHEN strpos(r.output_step, ',') > 0
            THEN (SELECT json_object_agg(s.step_name, s.output)::text
                  FROM taskplatform.step_results s
                  WHERE s.run_id = r.id AND s.step_name = ANY (string_to_array(r.output_step, ',')))
            ELSE (SELECT s.output::text FROM taskplatform.step_results s
                  WHERE s.run_id = r.id AND s.step_name = r.output_step) END
FROM taskplatform.canvases c JOIN taskplatform.runs r ON r.id = c.run_id
WHERE c.published_at IS NULL AND r.status = 'succeeded' AND c.tail ->> 'app' = %(app)s
  AND c.run_id = coalesce(%(run_id)s, c.run_id)
ORDER BY c.run_id LIMIT %(limit)s
FOR UPDATE OF c SKIP LOCKED
"""

_PUBLISHED = """
UPDATE taskplatform.canvases SET published_at = clock_timestamp()
WHERE run_id = ANY (%s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Tail:
    """What comes after the run, as JSON, and the run's output, as JSON."""

    run_id: UUID
    tail: str
    output: str


# Publishes a tail at once, or returns what publishes it once it is noted as published.
Send = Callable[[Tail], Callable[[], object] | None]


def keep(connection: Session, run_id: UUID, tail: str) -> None:
    """Store what comes after the run; the first to come decides."""
    connection.execute(_KEEP, (run_id, tail, run_id))


def seen(connection: Session, run_id: UUID, pipeline: str) -> tuple[str, dict[str, int]] | None:
    """The status of a run of that pipeline and the versions of its stored outputs."""
    row = connection.execute(_SEEN, (run_id, pipeline)).fetchone()
    if row is None:
        return None
    return row[0], orjson.loads(row[1]) if row[1] else {}


def any_open(connection: Session) -> bool:
    """Whether anything is still to be published."""
    ((found,),) = ask(connection, _OPEN, {})
    return bool(found)


def publish(connection: Session, app: str, send: Send, run_id: UUID | None = None) -> int:
    """Publish what follows runs that have succeeded (or one), kept by that app; return how many.

    The rows are locked meanwhile. What cannot be sent because the broker is away stays.
    """
    later: list[Callable[[], object]] = []
    done: list[UUID] = []
    with connection.transaction():
        rows = connection.execute(_READY, {"app": app, "run_id": run_id, "limit": _BATCH})
        for tail in [Tail(run, tail, output or "null") for run, tail, output in rows.fetchall()]:
            try:
                sent = send(tail)
            except Unavailable as error:
                logger.debug("the canvas after run %s waits: %s", tail.run_id, error)
                break
            except Exception:
                # It would fail again for ever, and keep others from being published.
                logger.exception("what follows run %s in its canvas is lost", tail.run_id)
            else:
                later += [sent] if sent is not None else []
            done.append(tail.run_id)
        if done:
            connection.execute(_PUBLISHED, (done,))
    for one in later:
        one()
    return len(done)
