"""A stage for each race."""

from collections.abc import Iterator

import pytest

from taskplatform.core import registry
from taskplatform.executor.slots import SlotTable
from tests.integration.races.hand import Hand
from tests.integration.races.stage import Stage


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    """A database of its own, with sessions that are closed after the test."""
    stage = Stage(database_url)
    yield stage
    stage.close()


@pytest.fixture
def hands(stage: Stage) -> Iterator[list[Hand]]:
    """Three children in the test's own hands, and a registry of its own."""
    registry.clear()
    table = SlotTable.create()
    yield [Hand(stage, table) for _ in range(3)]
    registry.clear()
