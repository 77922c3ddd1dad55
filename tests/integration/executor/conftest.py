"""A house for each test, with a registry of its own."""

import signal
from collections.abc import Iterator

import pytest

from taskplatform.core import registry
from tests.integration.executor.house import Count, House


@pytest.fixture
def house(database_url: str) -> Iterator[House]:
    """Children over a database of the test's own."""
    alarm = signal.getsignal(signal.SIGALRM)
    registry.clear()
    house = House(database_url)
    yield house
    house.close()
    registry.clear()
    signal.signal(signal.SIGALRM, alarm)


@pytest.fixture
def count() -> Count:
    """Counts executions."""
    return Count()
