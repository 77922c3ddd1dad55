"""The log of an attempt: what is kept, how it looks, and that it stays small."""

import logging
import re
from collections.abc import Iterator

import pytest

from taskplatform.executor.step_log import (
    MOST_BYTES,
    MOST_LINES,
    StepLog,
    current_log,
    keep_logs,
    step_logger,
)


@pytest.fixture
def log() -> Iterator[StepLog]:
    """The log of an attempt that is being executed; logging is as before afterwards."""
    root = logging.getLogger()
    before = root.level, [(one, one.level) for one in root.handlers]
    log = StepLog()
    token = current_log.set(log)
    yield log
    current_log.reset(token)
    root.setLevel(before[0])
    root.handlers[:] = [one for one, _ in before[1]]
    for handler, level in before[1]:
        handler.setLevel(level)
    step_logger.setLevel(logging.INFO)


def test_nothing_logged_is_no_log() -> None:
    assert StepLog().close() is None


def test_a_line_has_time_level_logger_and_message(log: StepLog) -> None:
    step_logger.info("charged %s", "u-7")

    text = log.close()
    assert text is not None
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO taskplatform\.step: charged u-7", text
    )


def test_any_logger_is_kept_from_the_level_on(log: StepLog) -> None:
    """Also if its worker prints warnings only."""
    logging.getLogger().setLevel(logging.WARNING)
    keep_logs(logging.INFO)
    logging.getLogger("shop.prices").debug("no")
    logging.getLogger("shop.prices").info("yes")
    step_logger.info("and this once")
    step_logger.debug("not this")

    text = log.close()
    assert text is not None
    assert [line.split(" ", 2)[2] for line in text.splitlines()] == [
        "shop.prices: yes",
        "taskplatform.step: and this once",
    ]


def test_what_is_printed_stays_as_it_was(log: StepLog) -> None:
    """Keeping INFO must not fill the output of a worker that prints warnings."""
    printed: list[str] = []

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            printed.append(record.getMessage())

    root = logging.getLogger()
    root.addHandler(Printer())
    root.setLevel(logging.WARNING)
    keep_logs(logging.INFO)
    keep_logs(logging.INFO)
    for logger in (logging.getLogger("shop"), step_logger):
        logger.info("kept")
        logger.warning("printed")

    assert printed == ["printed", "printed"]
    assert (log.close() or "").count("\n") == 3


def test_a_logger_that_does_not_hand_on_is_named(log: StepLog) -> None:
    apart = logging.getLogger("shop.apart")
    apart.propagate = False
    keep_logs(logging.INFO, ["shop.apart"])
    apart.info("kept")
    apart.propagate = True
    apart.info("kept once")
    apart.handlers.clear()

    assert (log.close() or "").count("kept") == 2


def test_a_traceback_is_kept_with_its_message(log: StepLog) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        step_logger.exception("it failed")

    text = log.close()
    assert text is not None
    assert "ERROR taskplatform.step: it failed\nTraceback" in text
    assert text.endswith("ValueError: no")


def test_the_first_lines_are_cut_and_counted(log: StepLog) -> None:
    for number in range(2000):
        step_logger.info("%d", number)

    lines = (log.close() or "").splitlines()
    assert len(lines) == MOST_LINES
    assert lines[0] == f"[... {2000 - MOST_LINES + 1} earlier lines left out ...]"
    assert lines[-1].endswith(": 1999")


def test_a_log_takes_64_kib_at_most(log: StepLog) -> None:
    for _ in range(300):
        step_logger.info("\N{SNOWMAN}" * 1000)
    step_logger.info("last")

    text = log.close()
    assert text is not None
    assert MOST_BYTES // 2 < len(text.encode()) <= MOST_BYTES
    assert text.endswith(": last")


def test_one_long_message_is_cut_in_its_middle(log: StepLog) -> None:
    step_logger.info("a%sb", "x" * 10**6)

    text = log.close()
    assert text is not None
    assert len(text) < 9000
    assert "characters left out" in text
    assert text.endswith("b")


def test_what_cannot_be_stored_is_replaced(log: StepLog) -> None:
    step_logger.info("a\x00b\ud800c")

    assert (log.close() or "").endswith("a\ufffdb\ufffdc")


def test_a_message_that_cannot_be_told_fails_nobody(log: StepLog) -> None:
    class Broken:
        def __str__(self) -> str:
            raise LookupError

    logger = logging.getLogger("taskplatform.step.quiet")
    logger.propagate = False
    keep_logs(logging.INFO, [logger.name])
    logger.info("%s", Broken())
    logger.handlers.clear()

    assert "cannot be formatted: LookupError" in (log.close() or "")


def test_after_the_end_nothing_is_kept(log: StepLog) -> None:
    """A thread that a body left behind goes on logging."""
    step_logger.info("before")
    text = log.close()
    step_logger.info("after")

    assert log.close() == text
