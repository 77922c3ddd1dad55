"""Step logs: what is logged while a body runs, kept with its attempt, the last of it."""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property

from taskplatform.core.redaction import redact
from taskplatform.core.sealing import secrets_in
from taskplatform.executor.concealment import Concealment, concealing

MOST_BYTES = 64 * 1024
MOST_LINES = 500
_ENTRY_CHARACTERS = 8 * 1024
_KEPT = "taskplatform_kept"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

current_log: "ContextVar[StepLog | None]" = ContextVar("taskplatform_step_log", default=None)


class StepLog:
    """The log of one attempt; of what does not fit the first lines are cut."""

    # Of the class, until something is logged: there is one log for each attempt.
    _entries: deque[tuple[str, int, int]] | None = None
    _lines = 0
    _bytes = 0
    _cut = 0
    closed = False

    def __init__(self, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        """`secrets` tells what must not be in it; asked when something is logged."""
        self._secrets = secrets

    @cached_property
    def conceal(self) -> Concealment:
        """Takes the secrets out of what is told; made when something is."""
        return Concealment(self._secrets)

    def add(self, entry: str) -> None:
        """Keep an entry of one line or several; after the end of the attempt nothing is kept."""
        if self.closed:
            return
        if self._entries is None:
            self._entries = deque()
        entry = _fit(_UNSTORABLE.sub("\ufffd", self.conceal(entry)))
        lines, size = entry.count("\n") + 1, len(entry.encode()) + 1
        self._entries.append((entry, lines, size))
        self._lines += lines
        self._bytes += size
        # A place is left for the line that says how much was cut.
        while self._lines >= MOST_LINES or self._bytes > MOST_BYTES - 100:
            _, lines, size = self._entries.popleft()
            self._lines -= lines
            self._bytes -= size
            self._cut += lines

    def close(self, output: bytes | None = None) -> str | None:
        """End the log; its text, without the secrets of the output; None if nothing was logged."""
        self.closed = True
        if self._entries is None:
            return None
        text = "\n".join(entry for entry, _, _ in self._entries)
        if output is not None and (made := secrets_in(output)):
            text = redact(text, made)
        return f"[... {self._cut} earlier lines left out ...]\n{text}" if self._cut else text


class _Keeper(logging.Handler):
    """Gives records to the log of the attempt in whose context they were made."""

    def emit(self, record: logging.LogRecord) -> None:
        log = current_log.get()
        if log is None or log.closed or _KEPT in record.__dict__:
            return
        record.__dict__[_KEPT] = True
        try:
            log.add(_format(record))
        except Exception as error:
            # A message that cannot be told must not fail the body that logged it.
            what = type(error).__name__
            log.add(f"{record.levelname} {record.name}: <the message cannot be formatted: {what}>")


class _StepLogger(logging.Logger):
    """What bodies get as ctx.logger: kept from its level on, whatever is printed."""

    def __init__(self, printing: logging.Logger) -> None:
        super().__init__(printing.name)
        self._printing = printing

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.level or self._printing.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if record.levelno >= self.level:
            _keeper.emit(record)
        if self._printing.isEnabledFor(record.levelno):
            self._printing.handle(record)


_keeper = _Keeper()
step_logger: logging.Logger = _StepLogger(logging.getLogger("taskplatform.step"))
step_logger.setLevel(logging.INFO)


def keep_logs(level: int, apart: Sequence[str] = ()) -> None:
    """Keep what bodies log from `level` on; what is printed stays as it is.

    `apart` names the loggers that do not hand their records on to the root logger.
    """
    concealing(current_log.get)
    step_logger.setLevel(level)
    _keeper.setLevel(level)
    for logger in (logging.getLogger(), *map(logging.getLogger, apart)):
        if logger.level > level:
            for handler in logger.handlers:
                handler.setLevel(max(handler.level, logger.level))
            logger.setLevel(level)
        logger.addHandler(_keeper)


def _format(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    text = f"{at[:-6]}Z {record.levelname} {record.name}: {record.getMessage()}"
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return f"{text}\n{record.exc_text}" if record.exc_text else text


def _fit(entry: str) -> str:
    left_out = len(entry) - _ENTRY_CHARACTERS
    if left_out <= 0:
        return entry
    half = _ENTRY_CHARACTERS // 2
    return f"{entry[:half]}\n[... {left_out} characters left out ...]\n{entry[-half:]}"
