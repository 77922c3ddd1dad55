"""A run of a caller's own transaction, executed by a real worker."""

import random
import statistics
import time
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]
MANY = 12


def test_a_committed_run_starts_within_a_quarter_second(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """Enqueue in a transaction: not before it commits, and within 250 ms of that."""
    url = env["TASKPLATFORM_DATABASE_URL"]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    committed: dict[str, int] = {}
    with (
        worker(env, log, "-c", "2"),
        psycopg.connect(url) as connection,
        Session(engine) as session,
    ):
        # A worker is ready a moment before its supervisor looks.
        wait_for(lambda: reported(url), 20, "report of the supervisor")
        for number in range(MANY):
            for caller, kind in ((connection, "psycopg"), (session, "session")):
                name = f"{kind}-{number}"
                pipelines.single.enqueue({"ledger": ledger.path, "id": name}, connection=caller)
                # So that the commit comes at any time between two looks of the worker.
                time.sleep(random.uniform(0.3, 0.6))
                assert not ledger.has("start:only", name)
                committed[name] = time.monotonic_ns()
                caller.commit()
                wait_for(partial(ledger.has, "end:only", name), 10, f"run {name}")
    engine.dispose()

    started = {line[0]: int(line[3]) for line in ledger.lines() if line[1] == "start:only"}
    late = {name: (started[name] - committed[name]) / 1e9 for name in committed}
    # A busy machine may be late now and then.
    assert statistics.quantiles(late.values(), n=10)[7] < 0.25, late


def reported(url: str) -> bool:
    """Whether a supervisor has said that it is there."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1 FROM taskplatform.workers").fetchone() is not None
