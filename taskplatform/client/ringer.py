"""Ring the workers after a commit, in the background: a lost ring costs 250 ms, never work."""

import importlib
from collections.abc import Mapping

from taskplatform.celery.ringer import Quick, Ringer

_BELL = "taskplatform.celery.bell"
_LINE = "taskplatform.celery.line"


def _bell(queues: Mapping[str, int]) -> bool:
    # Loads Celery, in the background, when the first run is enqueued.
    return bool(importlib.import_module(_BELL).ring(queues))


def _line() -> Quick:
    made: Quick = importlib.import_module(_LINE).line()
    return made


# Starts its thread when it is first asked to ring.
RINGER = Ringer(_bell, _line)
