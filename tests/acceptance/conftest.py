"""A platform for each test: its own database and broker, and the client pointed at them."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskplatform import endpoints, settings
from taskplatform.celery import bell
from taskplatform.client import ringer
from taskplatform.storage.connection import close_pools
from tests.acceptance.processes import ROOT

# Kept for as long as the session: it ends by itself, at the latest when the session does.
MINUTE = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin what lasts for minutes, to be read by its test while others are executed."""
    config = session.config
    if config.option.collectonly or not any("real_minute" in one.name for one in session.items):
        return
    folder = minute_folder(config)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    under_xdist = hasattr(config, "workerinput")
    command = [
        sys.executable,
        "-m",
        "tests.acceptance.real_minute",
        str(folder / "report.json"),
        str(os.getppid() if under_xdist else os.getpid()),
    ]
    with (folder / "errors").open("ab") as errors:
        config.stash[MINUTE] = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )


def minute_folder(config: pytest.Config) -> Path:
    """Where the session's real minutes are reported; all its processes share it."""
    told = getattr(config, "workerinput", {}).get("testrunuid", f"alone-{os.getpid()}")
    return Path(tempfile.gettempdir()) / f"taskplatform-minute-{told}"


@pytest.fixture
def env(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The environment of processes that belong to this test; this process has it, too."""
    values = {
        "TASKPLATFORM_DATABASE_URL": database_url,
        "TASKPLATFORM_BROKER_URL": broker_url,
        "TASKPLATFORM_PIPELINES": "tests.acceptance.ledger",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    forget()
    yield values
    close_pools()
    forget()


def forget() -> None:
    ringer.RINGER.flush(20.0)
    settings.get_settings.cache_clear()
    endpoints.endpoints.cache_clear()
    bell.forget()


class Ledger:
    """What the bodies wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[list[str]]:
        """Each line: run, what, pid, nanoseconds."""
        return (
            [line.split() for line in self.path.read_text().splitlines()]
            if (self.path.exists())
            else []
        )

    def count(self, what: str) -> Counter[str]:
        """How often each order did `what`."""
        return Counter(line[0] for line in self.lines() if line[1] == what)

    def has(self, what: str, order: str | None = None) -> bool:
        """Whether `what` was written down (by that order)."""
        return any(line[1] == what and order in (None, line[0]) for line in self.lines())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a worker of the test prints."""
    path = tmp_path / "worker.log"
    path.touch()
    os.chmod(path, 0o644)
    return path
