"""How fast a child claims after an outage."""

import pytest

from taskplatform.executor import pace as module
from taskplatform.executor.pace import FIRST, SECONDS, Pace


class Clock:
    """Seconds that pass when somebody waits."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def rows_by_second(pace: Pace, clock: Clock, limit: int, seconds: int) -> list[int]:
    """How many rows a child claims in each second that wants so many at a time."""
    began, rows = clock.now, [0] * seconds
    while True:
        clock.now += pace.wait()
        if clock.now - began >= seconds:
            return rows
        rows[int(clock.now - began)] += pace.claiming(limit)
        clock.now += 0.001


def test_claims_start_slowly_after_an_outage_and_grow(clock: Clock) -> None:
    """F19, F29: at most two rows a second and child at first, four times as many each second."""
    pace = Pace()
    pace.start()
    rows = rows_by_second(pace, clock, 200, 4)
    for second, claimed in enumerate(rows):
        most = FIRST * 4**second
        assert 0.8 * most <= claimed <= 1.1 * most


def test_the_first_claim_need_not_wait(clock: Clock) -> None:
    """F18: the first commit comes soon after the database is back."""
    pace = Pace()
    pace.start()
    assert pace.wait() == 0.0
    assert pace.claiming(200) == 1
    assert 0 < pace.wait() <= 0.5


def test_after_some_seconds_and_without_an_outage_nothing_is_held_back(clock: Clock) -> None:
    pace = Pace()
    assert (pace.wait(), pace.claiming(200), pace.wait()) == (0.0, 200, 0.0)
    pace.start()
    pace.claiming(200)
    clock.now += SECONDS + 0.001
    assert (pace.wait(), pace.claiming(200), pace.wait()) == (0.0, 200, 0.0)
