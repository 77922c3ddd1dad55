"""W6: what the headers of an API's answer say about when to call again."""

from datetime import UTC, datetime

import pytest

from taskplatform.core.rate_headers import closed_for

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
IN_A_MINUTE = "Sat, 31 Jan 2026 12:01:00 GMT"
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {}, None),
        (None, {"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "30"}, None),
        (200, {"Retry-After": "30"}, None),
        (404, {"Retry-After": "30"}, None),
        (429, {"Retry-After": "30"}, 30.0),
        (429, {"retry-after": " 1.5 "}, 1.5),
        (503, {"Retry-After": IN_A_MINUTE}, 60.0),
        # By the API's own clock, which is half a minute behind.
        (503, {"Retry-After": IN_A_MINUTE, "Date": "Sat, 31 Jan 2026 11:59:30 GMT"}, 90.0),
        (503, {"Retry-After": "Sat, 31 Jan 2026 11:00:00 GMT"}, 0.0),
        (429, {"Retry-After": "999999999"}, 86400.0),
        (429, {}, 10.0),
        (503, {"Retry-After": "soon"}, 10.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "12"}, 12.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(EPOCH + 12)}, 12.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{EPOCH + 12}000"}, 12.0),
        (200, {"X-RateLimit-Remaining": "0"}, None),
        (200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "3"}, 3.0),
        (200, {"RateLimit": "limit=10, remaining=0, reset=4"}, 4.0),
        (200, {"RateLimit": '"default";r=0;t=5'}, 5.0),
        (200, {"RateLimit": '"default";r=3;t=5'}, None),
        (429, {"RateLimit": '"default";r=3;t=5'}, 5.0),
        (429, {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "6"}, 6.0),
        # What is said for this very answer counts.
        (429, {"Retry-After": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}, 2.0),
    ],
)
def test_for_how_long_nobody_should_call(
    status: int | None, headers: dict[str, str], seconds: float | None
) -> None:
    assert closed_for(headers, status, NOW, 10.0) == seconds


def test_without_a_word_no_longer_than_a_minute() -> None:
    assert closed_for({}, 429, NOW, 86400.0) == 60.0
