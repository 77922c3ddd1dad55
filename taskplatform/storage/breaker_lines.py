"""Breaker lines: what is ready of steps whose API fails is set aside, many at a time.

Each would be claimed and find its breaker open; a backlog of them would take workers' time from
the steps of others.
"""

from collections.abc import Sequence

from taskplatform.storage.connection import Session
from taskplatform.storage.gates import gate_of
from taskplatform.storage.set_aside import set_aside as put_in_line

_USES_IT = "w.pipeline || '.' || w.step = ANY (%(steps)s::text[])"

_IS_OPEN = """
(SELECT true FROM taskplatform.breakers b
 WHERE b.name = %(name)s AND b.state = 'open' AND b.until > clock_timestamp())
"""


def set_aside(
    connection: Session, name: str, why: str, steps: Sequence[str], queues: Sequence[str]
) -> int:
    """Let a batch of what is ready at `pipeline.step`s wait for an open breaker.

    How many rows were seen.
    """
    values = {
        "queues": list(queues),
        "steps": list(steps),
        "name": name,
        "reason": "breaker",
        "why": why,
        "gate": gate_of("breaker", name),
    }
    return put_in_line(connection, _USES_IT, _IS_OPEN, values)
