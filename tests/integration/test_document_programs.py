"""The examples of the document on shapes that need a worker."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskplatform.core import registry
from taskplatform.endpoints import Endpoints
from taskplatform.testing import servers as testing_servers
from taskplatform.testing.worker import TestWorker, worker
from tests.conftest import TEMPLATE
from tests.document_programs import Program, programs

DOCUMENT = Path(__file__).parents[2] / "docs/pipelines.md"
PROGRAMS = [one for one in programs(DOCUMENT) if one.needs_worker]


@pytest.fixture
def hands(servers: Endpoints, broker_url: str, worker_number: int) -> Iterator[TestWorker]:
    """A worker over a database that the front door opens on."""
    registry.clear()
    where = Endpoints(servers.database_url, broker_url)
    name = f"document_{worker_number}"
    with testing_servers.database(where, name, TEMPLATE) as url, worker(url) as made:
        yield made
    registry.clear()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: str(one.section))
def test_a_program_that_needs_a_worker_runs(
    program: Program, hands: TestWorker, tmp_path: Path
) -> None:
    raised: list[BaseException] = []

    def execute() -> None:
        try:
            program.execute(tmp_path, worker=True)
        except BaseException as error:
            raised.append(error)

    # The worker is this thread: bodies are interrupted by a signal, which only it gets.
    reader = threading.Thread(target=execute)
    reader.start()
    while reader.is_alive():
        hands.drain()
        reader.join(0.02)
    if raised:
        raise raised[0]
