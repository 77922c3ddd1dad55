"""A stage for each model test."""

from collections.abc import Iterator

import pytest

from tests.integration.races.stage import Stage


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    """A database of its own, with sessions that are closed after the test."""
    stage = Stage(database_url)
    yield stage
    stage.close()
