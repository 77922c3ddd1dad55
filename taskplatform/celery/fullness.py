"""A broker whose memory is full: said in one line now and then, not with a trace at each try."""

import logging
from time import monotonic
from typing import Any

from billiard.exceptions import RestartFreqExceeded
from celery.worker.consumer import consumer
from kombu.asynchronous import hub, timer

from taskplatform.celery.junk import WINDOW

REMEDY = "raise maxmemory, or look what fills it: redis-cli --bigkeys"
_REFUSED = "used memory > 'maxmemory'"
_SAID = (
    f"the broker is full and refuses to store anything ({_REFUSED}): {REMEDY}; runs are stored and "
    "wait, and this worker tries again by itself"
)
# A worker that is refused connects anew, five times a second, and then complains of that.
_FOLLOWS = 5.0


class _Fullness(logging.Filter):
    """Lets pass what is of something else."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = self._said = -WINDOW

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        now = monotonic()
        if not any(map(_is_refused, (error, *_args(record)))):
            follows = isinstance(error, RestartFreqExceeded) and now < self._seen + _FOLLOWS
            return not follows
        self._seen = now
        if now < self._said + WINDOW:
            return False
        self._said = now
        record.msg, record.args = _SAID, ()
        record.exc_info = record.exc_text = None
        return True


def say_when_the_broker_is_full() -> None:
    """Have a worker say what is wrong and what to do, once in a minute."""
    for one in (consumer.logger, hub.logger, timer.logger):
        if not any(isinstance(known, _Fullness) for known in one.filters):
            one.addFilter(_FULLNESS)


def _args(record: logging.LogRecord) -> tuple[Any, ...]:
    return record.args if isinstance(record.args, tuple) else ()


def _is_refused(what: Any) -> bool:
    return isinstance(what, Exception) and _REFUSED in str(what)


_FULLNESS = _Fullness()
