"""A worker with `-P threads`: a hundred bodies at once, on a handful of connections."""

import os
import signal
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from kombu.connection import Connection

from taskplatform import enqueue_many
from taskplatform.client.pipeline import Pipeline
from tests.acceptance import crowded
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]
HUNDRED = ("-P", "threads", "-c", "100")
# The worker's and its supervisor's.
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^taskplatform .*@test'
"""


@pytest.fixture
def env(env: Env, monkeypatch: pytest.MonkeyPatch) -> Env:
    """A platform of these pipelines."""
    names = "tests.acceptance.crowded,tests.acceptance.ledger"
    monkeypatch.setenv("TASKPLATFORM_PIPELINES", names)
    return {**env, "TASKPLATFORM_PIPELINES": names}


def peak(ledger: Ledger) -> int:
    """How many bodies were between their start and their end at once."""
    now = most = 0
    for _, change in sorted(
        (int(line[3]), 1 if line[1].startswith("start") else -1) for line in ledger.lines()
    ):
        now += change
        most = max(most, now)
    return most


@pytest.mark.parametrize("pipeline", [crowded.blocking, crowded.on_the_loop], ids=lambda p: p.name)
def test_a_thousand_runs_a_hundred_at_once(
    env: Env, ledger: Ledger, log: Path, pipeline: Pipeline[crowded.Call]
) -> None:
    """W18, Q18, M10: each body once, never more than a hundred, on five connections at most."""
    connections: set[int] = set()
    with (
        worker(env, log, *HUNDRED),
        psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database,
    ):
        runs = enqueue_many(
            pipeline, [{"ledger": ledger.path, "id": str(number)} for number in range(1000)]
        )

        def done() -> bool:
            answer = database.execute(CONNECTIONS).fetchone()
            connections.add(answer[0] if answer else 0)
            left = database.execute("SELECT count(*) FROM taskplatform.work").fetchone()
            return left == (0,)

        wait_for(done, 60, "all runs have ended")
    assert {run.refresh().status for run in runs[::50]} == {"succeeded"}
    # A busy machine may end the first before it has started the hundredth; below they last longer.
    assert peak(ledger) <= 100
    for what in ("start", "end"):
        assert ledger.count(what) == Counter(str(number) for number in range(1000))
    assert max(connections) <= 5


def test_async_and_blocking_steps_of_one_run_alternate(env: Env, ledger: Ledger, log: Path) -> None:
    """Q2: each output is committed before the next step starts, on whatever it is executed."""
    with worker(env, log, "-P", "threads", "-c", "20"):
        runs = enqueue_many(
            crowded.mixed, [{"ledger": ledger.path, "id": str(number)} for number in range(60)]
        )
        for run in runs:
            assert run.wait(timeout=60).output == 3
    assert peak(ledger) <= 20
    for step in ("fetch", "store", "tell"):
        assert set(ledger.count(f"start:{step}").values()) == {1}


@pytest.mark.parametrize("whole", [False, True], ids=["worker", "group"])
def test_a_hundred_bodies_of_a_killed_worker_are_resumed(
    env: Env, ledger: Ledger, log: Path, whole: bool
) -> None:
    """G2, G5: kill -9; each is charged as one crash, which uses no retry, and executed again."""
    with worker(env, log, *HUNDRED) as first:
        runs = enqueue_many(
            crowded.blocking,
            [{"ledger": ledger.path, "id": str(number), "seconds": 3} for number in range(100)],
        )
        wait_for(lambda: len(ledger.count("start")) == 100, 30, "all bodies have started")
        if whole:
            first.kill_all()
        else:
            os.kill(first.pid, signal.SIGKILL)
        with worker(env, log, *HUNDRED, name="second"):
            for run in runs:
                assert run.wait(timeout=60).status == "succeeded"
    assert set(ledger.count("start").values()) == {2}
    assert set(ledger.count("end").values()) == {1}
    for run in runs[::10]:
        outcomes = [attempt.outcome for attempt in run.view().steps[0].attempts]
        assert outcomes == ["crashed", "succeeded"]


@pytest.mark.parametrize("pipeline", [crowded.blocking, crowded.on_the_loop], ids=lambda p: p.name)
def test_a_warm_shutdown_lets_a_hundred_bodies_end(
    env: Env, ledger: Ledger, log: Path, pipeline: Pipeline[crowded.Call]
) -> None:
    """F10, Q23: they end where they run and count; nothing new starts, and the worker goes."""
    with worker(env, log, *HUNDRED) as started:
        runs = enqueue_many(
            pipeline,
            [{"ledger": ledger.path, "id": str(number), "seconds": 2} for number in range(150)],
        )
        wait_for(lambda: len(ledger.count("start")) == 100, 30, "the seats are taken")
        started.term()
        started.process.wait(30)
    assert len(ledger.count("start")) == len(ledger.count("end")) == peak(ledger) == 100
    assert Counter(run.refresh().status for run in runs) == {"succeeded": 100, "queued": 50}


def test_bodies_that_do_not_end_do_not_keep_the_worker(env: Env, ledger: Ledger, log: Path) -> None:
    """F11: a thread cannot be interrupted; its work is handed back, and the process ends."""
    env = {**env, "TASKPLATFORM_SHUTDOWN_GRACE": "0.5"}
    with worker(env, log, *HUNDRED) as started:
        runs = enqueue_many(
            crowded.blocking,
            [{"ledger": ledger.path, "id": str(number), "seconds": 60} for number in range(50)],
        )
        wait_for(lambda: len(ledger.count("start")) == 50, 30, "the bodies have started")
        started.term()
        started.process.wait(20)
        # The supervisor outlives it for a moment.
        wait_for(
            lambda: Counter(run.refresh().status for run in runs) == {"queued": 50},
            20,
            "handed back",
        )
    outcomes = {one.outcome for run in runs for one in run.view().steps[0].attempts}
    assert outcomes == {"interrupted"}


def test_plain_tasks_have_threads_of_their_own(env: Env, ledger: Ledger, log: Path) -> None:
    """A plain task does not wait for the bodies, and counts among what is executed at once."""
    with (
        worker(env, log, "-P", "threads", "-c", "4"),
        Connection(env["TASKPLATFORM_BROKER_URL"]) as connection,  # type: ignore[no-untyped-call]
    ):
        runs = enqueue_many(
            crowded.blocking,
            [{"ledger": ledger.path, "id": str(number), "seconds": 2} for number in range(12)],
        )
        wait_for(lambda: len(ledger.count("start")) == 4, 30, "the seats are taken")
        pipelines.plain.apply_async(
            [str(ledger.path), "plain"], connection=connection, queue="taskplatform"
        )
        wait_for(lambda: ledger.has("start:plain", "plain"), 1.5, "the plain task has started")
        for run in runs:
            assert run.wait(timeout=60).status == "succeeded"
