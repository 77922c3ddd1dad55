"""Retry policies (Q4, Q5): exact delays, or growing ones with a cap and jitter."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskplatform.core.retry import Retry
from taskplatform.errors import DeclarationError

shares = st.floats(0, 1)


def test_the_default_is_three_retries() -> None:
    assert Retry() == Retry(3)
    assert [Retry().delay(n, 0.5) for n in range(1, 5)] == [1, 2, 4, None]


def test_the_demos_policy_waits_exactly_as_listed_then_gives_up() -> None:
    """Q5: 5 retries after 5 min, 15 min, 1 h, 4 h, 14 h, then permanently failed."""
    policy = Retry(delays=["5m", "15m", "1h", "4h", "14h"])
    assert policy.retries == 5
    delays = [policy.delay(n, 0.99) for n in range(1, 7)]
    assert delays == [300, 900, 3600, 14400, 50400, None]


def test_no_retries() -> None:
    assert Retry(0).delay(1, 0.5) is None


@given(
    retries=st.integers(0, 2000),
    failures=st.integers(1, 2000),
    base=st.floats(0.001, 100),
    factor=st.floats(1, 1000),
    cap=st.floats(0.001, 100_000),
    jitter=shares,
    random=shares,
)
def test_growing_delays_stay_within_jitter_and_cap(
    retries: int,
    failures: int,
    base: float,
    factor: float,
    cap: float,
    jitter: float,
    random: float,
) -> None:
    """Q4: n retries and no more, never longer than the cap, never off by more than the jitter."""
    policy = Retry(retries, base=base, factor=factor, cap=cap, jitter=jitter)
    delay = policy.delay(failures, random)
    if failures > retries:
        assert delay is None
        return
    assert delay is not None
    exact = Retry(retries, base=base, factor=factor, cap=cap, jitter=0).delay(failures, random)
    assert exact is not None
    assert 0 <= delay <= cap
    assert exact * (1 - jitter) * 0.999999 <= delay <= exact * (1 + jitter) * 1.000001


@given(delays=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), random=shares)
def test_listed_delays_have_no_jitter(delays: list[float], random: float) -> None:
    policy = Retry(delays=delays)
    assert [policy.delay(n, random) for n in range(1, len(delays) + 1)] == delays
    assert policy.delay(len(delays) + 1, random) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"retries": -1}, "number of retries"),
        ({"retries": True}, "number of retries"),
        ({"retries": 1.5}, "number of retries"),
        ({"retries": 2, "delays": ["1s"]}, "leave the number out"),
        ({"delays": ["soon"]}, "'soon' is no duration"),
        ({"base": "-1s"}, "no duration"),
        ({"factor": 0}, "factor"),
        ({"factor": float("nan")}, "factor"),
        ({"jitter": 2}, "jitter"),
        ({"cap": "x"}, "'x' is no duration"),
    ],
)
def test_a_wrong_policy_is_an_error_when_declared(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        Retry(**wrong)
