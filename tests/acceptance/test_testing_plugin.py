"""The fixtures for users' tests, in a pytest of their own."""

import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg

from taskplatform.embedded import Endpoints
from tests.acceptance.processes import ROOT
from tests.acceptance.user_pytest import user_pytest

PIPELINES = """
from pydantic import BaseModel
from taskplatform import Pipeline, Retry

class Order(BaseModel):
    number: int

shop = Pipeline("shop", input=Order, key="number", retry=Retry(delays=["30d"]))
tries = []

@shop.step(queue="slow")
def charge(input: Order) -> int:
    tries.append(input.number)
    if tries.count(input.number) == 1:
        raise ValueError("away")
    return input.number

@shop.step
def ship(charge: int) -> str:
    return f"shipped {charge}"

rushed = Pipeline("rushed", input=Order, queue_timeout="1h")

@rushed.step
def hurry(input: Order) -> int:
    return input.number
"""

TESTS = """
import pytest
from shop import Order, rushed, shop, tries
from taskplatform import database_url, list_runs, testing

@pytest.mark.parametrize("number", range(4))
def test_shop(taskplatform_worker, taskplatform_database, number):
    assert database_url() == taskplatform_database
    assert not list_runs()
    run = shop.enqueue(Order(number=number))
    assert taskplatform_worker.drain() == 1
    assert (run.refresh().status, run.reason) == ("waiting", "retry")
    testing.advance("30d")
    assert taskplatform_worker.drain() >= 1
    assert run.refresh().output == f"shipped {number}"
    assert taskplatform_worker.drain() == 0
    assert tries.count(number) == 2

def test_nobody_hurried(taskplatform_worker):
    late = rushed.enqueue(Order(number=1))
    testing.advance("2h")
    in_time = rushed.enqueue(Order(number=2))
    taskplatform_worker.drain()
    assert (late.refresh().status, in_time.refresh().output) == ("failed", 2)
"""

FILES = {"shop.py": PIPELINES, "test_shop.py": TESTS}


def test_the_fixtures_bring_servers_and_leave_nothing_behind(tmp_path: Path) -> None:
    """Each test has a database of its own, and work is executed when the test says so."""
    assert "5 passed" in user_pytest(tmp_path, FILES)


def test_under_xdist_all_processes_share_the_servers(tmp_path: Path) -> None:
    assert "5 passed" in user_pytest(tmp_path, FILES, "-p", "xdist", "-n", "2")


def test_configured_servers_are_used_and_left_as_they_were(
    tmp_path: Path, servers: Endpoints, database_url: str, broker_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        query = "SELECT datname FROM pg_database WHERE datname LIKE 'taskplatform_test_%'"
        env = {"TASKPLATFORM_DATABASE_URL": database_url, "TASKPLATFORM_BROKER_URL": broker_url}
        assert "5 passed" in user_pytest(tmp_path, FILES, env=env)
        assert connection.execute(query).fetchall() == []
        assert connection.execute("SELECT count(*) FROM taskplatform.runs").fetchone() == (0,)


def test_loading_the_fixtures_loads_nothing_else() -> None:
    """Every pytest of the environment loads them: within 50 ms, and no driver, no pydantic."""
    code = (
        "import sys, time, pytest; before = set(sys.modules); began = time.perf_counter();"
        "import taskplatform.testing.plugin; took = time.perf_counter() - began;"
        "print(took, sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    took, _, loaded = said.partition(" ")
    assert float(took) < 0.05
    assert "taskplatform" in loaded
    assert not [one for one in ("pydantic", "psycopg", "redis", "celery") if one in loaded]


def test_pytest_finds_the_fixtures_by_their_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"taskplatform": "taskplatform.testing.plugin"}
