"""What Celery and kombu say of a message that they drop, with all that it holds: made short."""

import logging

from celery.worker.consumer import consumer

from taskplatform.celery.junk import JUNK, sample

_LONGEST = 200

# By what they log, and what is logged instead; of what they add, only the first is kept.
_SHORT = {
    consumer.UNKNOWN_FORMAT: "dropped a message that no worker understands: %s",
    consumer.UNKNOWN_TASK_ERROR: "dropped a message for a task that is not registered: %s",
    consumer.INVALID_TASK_ERROR: "dropped an invalid task message: %s",
    consumer.MESSAGE_DECODE_ERROR: "dropped a message that cannot be decoded: %s",
    "Cannot process event on channel %r: %s": "dropped a broadcast that is no JSON: %s",
    "Cannot decode message: %r": "dropped a broadcast that cannot be decoded: %s",
    "No such control command: %s": "dropped an unknown control command: %s",
    "Control command error: %r": "a control command failed: %s",
    "pidbox command error: %r": "a control command failed: %s",
    "Could not restore message: %r": "dropped a message that cannot be given back: %s",
}
_LOGGERS = (
    "celery.worker.consumer.consumer",
    "celery.worker.pidbox",
    "kombu.pidbox",
    "kombu.transport.redis",
)


def shorten_complaints() -> None:
    """Have them logged on one short line each, and not without end."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    words = _SHORT.get(record.msg) if isinstance(record.msg, str) else None
    if words is None:
        return True
    first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    shown = first if isinstance(first, str) else f"{type(first).__name__}: {str(first)[:_LONGEST]}"
    record.msg, record.args = words, (sample(shown, _LONGEST),)
    record.exc_info = record.exc_text = None
    return JUNK.admit()
