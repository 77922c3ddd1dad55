"""The soft limit: raised inside user code, and nowhere else."""

import signal
import threading
from collections.abc import Iterator
from os import getpid, kill
from time import monotonic

import pytest

from taskplatform.errors import Interrupted, TimeLimitExceeded
from taskplatform.executor.time_limit import TimeLimit


@pytest.fixture
def interrupted() -> Iterator[threading.Event]:
    """Whether an interruption is asked for; the process's alarm is given back afterwards."""
    before = signal.getsignal(signal.SIGALRM)
    yield threading.Event()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def alarm() -> None:
    """Deliver the signal now: the handler runs before this returns."""
    kill(getpid(), signal.SIGALRM)


def test_nothing_is_raised_before_arming_or_after_disarming(interrupted: threading.Event) -> None:
    """W15: never in a commit."""
    limit = TimeLimit(interrupted.is_set)
    alarm()
    limit.arm(60)
    limit.armed = False
    alarm()
    interrupted.set()
    alarm()
    limit.rest()

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_limit_is_raised_in_armed_code(interrupted: threading.Event) -> None:
    """W15: over it the attempt is ended; the message names the limit."""
    limit = TimeLimit(interrupted.is_set)

    def body() -> None:
        try:
            limit.arm(0.02)
            signal.pause()
        finally:
            limit.armed = False

    with pytest.raises(TimeLimitExceeded, match=r"timeout of 0\.02 s"):
        body()


def test_the_alarm_of_an_earlier_attempt_does_not_end_the_next_one(
    interrupted: threading.Event,
) -> None:
    """W15: a body that follows at once starts under the alarm that is set, and has its own time."""
    limit = TimeLimit(interrupted.is_set)
    limit.arm(0.05)
    limit.armed = False
    limit.arm(0.2)
    started = monotonic()
    # Handlers run, and waiting goes on.
    signal.sigtimedwait([], 0.1)
    assert monotonic() - started >= 0.1

    with pytest.raises(TimeLimitExceeded, match=r"timeout of 0\.2 s"):
        signal.pause()

    assert monotonic() - started >= 0.19
    limit.armed = False


def test_a_shorter_limit_is_not_left_to_the_alarm_of_a_longer_one(
    interrupted: threading.Event,
) -> None:
    limit = TimeLimit(interrupted.is_set)
    limit.arm(60)
    limit.armed = False
    limit.arm(0.02)

    with pytest.raises(TimeLimitExceeded):
        signal.pause()

    limit.armed = False


def test_a_body_that_used_the_alarm_for_itself_does_not_unarm_the_next(
    interrupted: threading.Event,
) -> None:
    limit = TimeLimit(interrupted.is_set)
    limit.arm(60)
    signal.sigtimedwait([], 0.002)
    signal.setitimer(signal.ITIMER_REAL, 0)
    limit.armed = False
    limit.arm(60)

    assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
    limit.armed = False


def test_the_same_signal_carries_an_interruption(interrupted: threading.Event) -> None:
    """F11: a body is handed back, not timed out; `except Exception` does not catch it."""
    limit = TimeLimit(interrupted.is_set)
    interrupted.set()
    limit.arm(60)

    with pytest.raises(Interrupted) as raised:
        alarm()

    limit.armed = False
    assert not isinstance(raised.value, Exception)


def test_a_body_may_clean_up_after_its_limit(interrupted: threading.Event) -> None:
    """W15: the limit is raised once; what the body does in `finally` is not cut again."""
    limit = TimeLimit(interrupted.is_set)
    cleaned = threading.Event()

    def body() -> None:
        try:
            limit.arm(0.02)
            signal.pause()
        finally:
            signal.sigtimedwait([], 0.05)
            cleaned.set()
            limit.armed = False

    with pytest.raises(TimeLimitExceeded):
        body()

    assert cleaned.is_set()


def test_a_thread_of_a_pool_has_no_soft_limit(interrupted: threading.Event) -> None:
    """Pools: said, fenced and recycled, not pretended: signals reach the main thread only."""
    before = signal.getsignal(signal.SIGALRM)
    limits: list[TimeLimit] = []

    def make() -> None:
        limit = TimeLimit(interrupted.is_set)
        limit.arm(0.001)
        limit.armed = False
        limits.append(limit)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()

    assert limits[0].available is False
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_report_puts_the_alarm_off(interrupted: threading.Event) -> None:
    """It is set to the end of the silence, and again while the body reports."""
    limit = TimeLimit(interrupted.is_set)
    silences = iter([0.01, 0.01, 0.01])
    asked = []

    def silence() -> float:
        asked.append(1)
        if (left := next(silences, None)) is None:
            raise TimeLimitExceeded("silent")
        return left

    def body() -> None:
        try:
            limit.arm(60, silence)
            while True:
                signal.pause()
        finally:
            limit.armed = False

    with pytest.raises(TimeLimitExceeded, match="silent"):
        body()

    assert len(asked) == 4
