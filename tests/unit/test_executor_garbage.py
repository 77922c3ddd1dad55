"""The garbage collector during a batch of short steps."""

import gc
from collections.abc import Iterator

import pytest

from taskplatform.executor.garbage import seldom_collected


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    ordinary = gc.get_threshold()
    yield
    gc.set_threshold(*ordinary)


@pytest.mark.parametrize(
    ("ordinary", "meanwhile"),
    [((700, 10, 10), 10_000), ((50_000, 5, 5), 50_000), ((0, 10, 10), 0)],
)
def test_it_looks_seldom_but_for_who_wants_less(
    ordinary: tuple[int, int, int], meanwhile: int
) -> None:
    """Q20: an application that has set it higher, or has turned it off, keeps that."""
    gc.set_threshold(*ordinary)
    with seldom_collected():
        assert gc.get_threshold() == (meanwhile, *ordinary[1:])
    assert gc.get_threshold() == ordinary
