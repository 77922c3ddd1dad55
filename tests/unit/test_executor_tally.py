"""What a process tells of its attempts, and when."""

from types import SimpleNamespace
from typing import Any

import pytest

from taskplatform.core.ids import uuid7
from taskplatform.executor import tally
from taskplatform.executor.tally import Tally
from taskplatform.storage.retry_budgets import SLICE, WINDOW
from taskplatform.storage.settlement import Attempt, Keep, Result, Settlement


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0 * SLICE

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(tally, "monotonic", made)
    return made


def _count(counted: Tally, pipeline: str, outcome: str | None) -> None:
    branch: Any = SimpleNamespace(claimed=SimpleNamespace(pipeline=pipeline))
    made = Settlement(1, 1, uuid7(), Keep("a", False))
    if outcome is None:
        made.result = Result("a", 1, 1, b"1", 0.0, 0.0)
    else:
        made.attempt = Attempt("a", outcome, None, 0.0)
    counted.count([(branch, made, None)], {1})
    counted.count([(branch, made, None)], ())


def test_nothing_is_told_where_everything_ends_well(clock: Clock) -> None:
    """W14: a healthy pipeline pays nothing; nor does what is no failure count as one."""
    counted = Tally()
    for _ in range(3 * WINDOW):
        clock.now += 1
        _count(counted, "p", None)
    _count(counted, "p", "put-off")
    _count(counted, "p", "interrupted")
    _count(counted, "p", "crashed")
    assert counted.to_tell(()) == []
    assert len(counted._passed["p"]) <= WINDOW // SLICE + 1, "what is older is forgotten"


def test_a_failure_tells_what_ended_well_with_it_once_in_a_while(clock: Clock) -> None:
    """W14: of its own pipeline, at the age that it has, and what others know to fail."""
    counted = Tally()
    _count(counted, "p", None)
    _count(counted, "q", None)
    clock.now += SLICE
    _count(counted, "p", "failed")
    _count(counted, "p", "timed-out")
    told = {(one.pipeline, one.ago, one.passed, one.failed) for one in counted.to_tell(())}
    assert told == {("p", 0.5 * SLICE, 1, 0), ("p", 0.0, 0, 2)}
    _count(counted, "p", "failed")
    assert counted.to_tell(()) == []
    clock.now += tally.EVERY
    assert [one.failed for one in counted.to_tell(())] == [1]
    clock.now += tally.EVERY
    assert [(one.pipeline, one.passed) for one in counted.to_tell({"q"})] == [("q", 1)]
