"""As many runs as one statement stores."""

import pytest

from taskplatform.client.chunks import chunks
from taskplatform.core.ids import uuid7
from taskplatform.storage.new_run import NewRun

SMALL, HALF = b"{}", b" " * (5 << 20)


@pytest.mark.parametrize(
    ("inputs", "sizes"),
    [
        ([SMALL] * 1000, [1000]),
        ([SMALL] * 1001, [250, 500, 251]),
        ([SMALL] * 4000, [250, 500, 1000, 1000, 1000, 250]),
        ([HALF] * 3, [1, 1, 1]),
        ([SMALL, HALF, SMALL, HALF], [3, 1]),
        ([], []),
    ],
)
def test_a_thousand_are_stored_whole_and_of_more_the_first_ones_sooner(
    inputs: list[bytes], sizes: list[int]
) -> None:
    """Q20: workers begin when the first are stored; nothing is left out, and the order is kept."""
    rows = [
        NewRun(id=uuid7(), pipeline="p", first_step="a", queue="q", input=one) for one in inputs
    ]
    made = chunks(rows)
    assert [len(chunk) for chunk in made] == sizes
    assert [row for chunk in made for row in chunk] == rows
