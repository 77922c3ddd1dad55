"""A platform for each test of the ring, and a folder for what is seen of it from outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskplatform.storage.connection import close_pools
from tests.acceptance.conftest import forget
from tests.chaos.seen import Seen


@pytest.fixture
def env(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The environment of processes that belong to this test; this process has it, too."""
    values = {
        "TASKPLATFORM_DATABASE_URL": database_url,
        "TASKPLATFORM_BROKER_URL": broker_url,
        "TASKPLATFORM_PIPELINES": "tests.chaos.five",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    forget()
    yield values
    close_pools()
    forget()


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    """What the bodies of this test write down."""
    return Seen(tmp_path / "ledger")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a worker of the test prints."""
    path = tmp_path / "worker.log"
    path.touch()
    return path
