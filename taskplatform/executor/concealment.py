"""Takes the secrets of a run out of what its body logs and raises, before others see it."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from taskplatform.core.redaction import redact

_CHAINED = 20


class Concealment:
    """Knows the secrets of one attempt, from when it is first asked."""

    __slots__ = ("_find", "_known")

    def __init__(self, find: Callable[[], Iterable[str]] = tuple) -> None:
        self._find = find
        self._known: frozenset[str] | None = None

    @property
    def known(self) -> frozenset[str]:
        """The secret texts."""
        if self._known is None:
            self._known = frozenset(self._find())
        return self._known

    def learn(self, secrets: Iterable[str]) -> None:
        """Others that came up."""
        self._known = self.known | frozenset(secrets)

    def __call__(self, text: str) -> str:
        return redact(text, self.known)

    def scrub(self, error: BaseException) -> None:
        """Take them out of an exception's own words, and of those it came from.

        Whoever watches Celery's tasks is given the exception itself.
        """
        if not self.known:
            return
        pending, seen = [error], 0
        while pending and seen < _CHAINED:
            one = pending.pop()
            seen += 1
            if any(isinstance(part, str) for part in one.args):
                one.args = tuple(self(part) if isinstance(part, str) else part for part in one.args)
            pending += [two for two in (one.__cause__, one.__context__) if two is not None]


class Log(Protocol):
    """Where the body's records are kept."""

    @property
    def conceal(self) -> Concealment:
        """Takes the secrets of the run out of what is told."""


def concealing(current: Callable[[], Log | None]) -> None:
    """Let every record that is made in a body be without the secrets of its run."""
    plain = logging.getLogRecordFactory()
    if getattr(plain, "concealing", False):
        return

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = plain(*args, **kwargs)
        log = current()
        if log is not None:
            _conceal(made, log.conceal)
        return made

    record.concealing = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)


def _conceal(record: logging.LogRecord, conceal: Concealment) -> None:
    try:
        said = record.getMessage()
    except Exception:
        # It will be printed with its arguments as they are.
        if conceal.known:
            record.args = None
        return
    if (told := conceal(said)) != said:
        record.msg, record.args = told, None
    if record.exc_info and record.exc_info[0] is not None:
        trace = logging.Formatter().formatException(record.exc_info)
        # What formatters find here they do not make again.
        record.exc_text = conceal(trace)
    if record.stack_info:
        record.stack_info = conceal(record.stack_info)
