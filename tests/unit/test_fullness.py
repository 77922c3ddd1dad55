"""What a worker's log says of a broker that is full, and of everything else."""

import logging

import pytest
from billiard.exceptions import RestartFreqExceeded
from redis.exceptions import ConnectionError, OutOfMemoryError

from taskplatform.celery import fullness

FULL = OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")


def _said(kept: logging.Filter, message: str, *args: object, error: Exception | None = None) -> str:
    trace = (type(error), error, None) if error else None
    record = logging.LogRecord("l", logging.ERROR, "p", 1, message, args, trace)
    return (
        record.getMessage() + (" traced" if record.exc_info else "") if kept.filter(record) else ""
    )


def test_a_full_broker_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """F16: in one line with a remedy, whoever is refused; what follows of it is not said at all."""
    now = [1000.0]
    monkeypatch.setattr(fullness, "monotonic", lambda: now[0])
    kept = fullness._Fullness()
    said = _said(kept, "consumer: Cannot connect to %s: %s.", "redis://", FULL)
    assert said.startswith("the broker is full")
    assert fullness.REMEDY in said
    often = RestartFreqExceeded("5 in 1s")
    assert _said(kept, "Error in timer: %r", FULL, error=FULL) == ""
    assert _said(kept, "Frequent restarts detected: %r", often, error=often) == ""
    now[0] += 61
    assert "traced" not in _said(kept, "Error in timer: %r", FULL, error=FULL) != ""


def test_other_errors_are_said_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """F16: with their traces, also while the broker is full."""
    monkeypatch.setattr(fullness, "monotonic", lambda: 1000.0)
    kept = fullness._Fullness()
    often, lost = RestartFreqExceeded("5 in 1s"), ConnectionError("refused")
    assert _said(kept, "Frequent restarts: %r", often, error=often).endswith("traced")
    _said(kept, "full", FULL)
    assert _said(kept, "lost: %s", lost) == "lost: refused"
    assert _said(kept, "Error in timer: %r", lost, error=lost).endswith("traced")
    assert _said(kept, "plain") == "plain"
