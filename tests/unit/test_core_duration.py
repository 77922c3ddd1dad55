"""Durations (Q4, Q11): what people write, in seconds."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskplatform.core.duration import Duration, seconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0.0),
        (90, 90.0),
        (1.5, 1.5),
        (timedelta(minutes=2), 120.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("14h", 50400.0),
        ("3d", 259200.0),
        (" 1w ", 604800.0),
    ],
)
def test_durations_are_read_in_seconds(written: Duration, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize(
    "wrong",
    ["", "5", "m", "5 minutes", "-5m", "1h 30m", "٣m", "1e3s", True, None, [], float("nan")],
)
def test_anything_else_is_an_error_that_says_what_is_accepted(wrong: Duration) -> None:
    with pytest.raises(ValueError, match="1h30m"):
        seconds(wrong)


@pytest.mark.parametrize("wrong", [-1, -0.001, timedelta(seconds=-1), float("-inf")])
def test_a_negative_duration_is_an_error(wrong: Duration) -> None:
    with pytest.raises(ValueError, match=r"negative|no duration"):
        seconds(wrong)


@pytest.mark.parametrize("wrong", [1e300, 10**400, "99999999w", timedelta.max])
def test_a_duration_that_a_timestamp_cannot_hold_is_an_error(wrong: Duration) -> None:
    with pytest.raises(ValueError, match="100 years"):
        seconds(wrong)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 999))
def test_parts_add_up(hours: int, minutes: int, secs: int, milliseconds: int) -> None:
    text = f"{hours}h{minutes}m{secs}s{milliseconds}ms"
    expected = timedelta(hours=hours, minutes=minutes, seconds=secs, milliseconds=milliseconds)
    assert seconds(text) == pytest.approx(expected.total_seconds())


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    with suppress(ValueError):
        assert seconds(text) >= 0
