"""Bodies in real workers, in both pools: async ones, reports, silence, cancelling."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest

from tests.acceptance import bodies
from tests.acceptance.processes import Worker, wait_for, worker

PREFORK = ("-c", "2")
THREADS = ("--pool", "threads", "-c", "4")
both = pytest.mark.parametrize("pool", [PREFORK, THREADS], ids=["prefork", "threads"])


@pytest.fixture
def env(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The platform of the test, with these pipelines."""
    modules = "tests.acceptance.bodies"
    monkeypatch.setenv("TASKPLATFORM_PIPELINES", modules)
    return env | {"TASKPLATFORM_PIPELINES": modules}


@pytest.fixture
def where(tmp_path: Path) -> bodies.Where:
    """A file for what the bodies say."""
    return bodies.Where(path=tmp_path / "said")


@pytest.fixture
def database(env: dict[str, str]) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """The test's database."""
    with psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as connection:
        yield connection


@both
def test_async_steps_share_a_loop_and_see_their_task(
    env: dict[str, str], log: Path, where: bodies.Where, pool: tuple[str, ...]
) -> None:
    """A client that is bound to the loop serves the next step and the next run."""
    with worker(env, log, *pool):
        runs = [bodies.waiting.enqueue(where).wait(timeout=30) for _ in range(3)]
    for run in runs:
        assert run.status == "succeeded", run.error
        before, after, task_id = run.output
        assert before == after == "waiting.name"
        assert task_id == f"{run.id}:name:1"
    if pool is THREADS:
        outputs = {step.output for run in runs for step in run.view().steps[:2]}
        assert len(outputs) == 1


@both
def test_progress_is_seen_while_the_body_runs(
    env: dict[str, str],
    log: Path,
    where: bodies.Where,
    database: "psycopg.Connection[tuple[Any, ...]]",
    pool: tuple[str, ...],
) -> None:
    """Through the supervisor: the body itself never speaks with the database."""
    seen = "SELECT step, progress_done, progress_total, heartbeat_at FROM taskplatform.work"

    def progress() -> tuple[Any, ...]:
        row = database.execute(seen).fetchone()
        return row or ()

    with worker(env, log, *pool):
        run = bodies.reporting.enqueue(where)
        wait_for(lambda: progress()[:3] == ("count", 3.0, 10.0), 20, "progress of the first step")
        assert progress()[3] is not None
        where.tell("go on")
        wait_for(lambda: progress()[:3] == ("count-async", 4.0, 20.0), 20, "of the second")
        where.tell("go on async")
        assert run.wait(timeout=20).output == 20


@both
@pytest.mark.parametrize("pipeline", [bodies.stopping, bodies.stopping_async], ids=str)
def test_a_body_hears_of_a_cancel_at_once(
    env: dict[str, str],
    log: Path,
    where: bodies.Where,
    database: "psycopg.Connection[tuple[Any, ...]]",
    pool: tuple[str, ...],
    pipeline: Any,
) -> None:
    """Q4: ctx.cancelled turns true within half a second; an async body is cancelled."""
    reported = "SELECT 1 FROM taskplatform.workers"
    with worker(env, log, *pool):
        wait_for(lambda: bool(database.execute(reported).fetchone()), 20, "the supervisor is up")
        run = pipeline.enqueue(where)
        wait_for(lambda: where.told("started"), 20, "the body runs")
        run.cancel()
        began = monotonic()
        wait_for(lambda: where.told("cancelled"), 10, "the body was told")
        # Half a second, and what two busy cores add to it.
        assert monotonic() - began < 1.5
        assert run.refresh().status == "cancelled"


@both
def test_an_async_body_is_handed_back_at_the_end_of_a_shutdown(
    env: dict[str, str], log: Path, where: bodies.Where, pool: tuple[str, ...]
) -> None:
    """F11: its `finally` is executed, and no retry is used."""
    env |= {"TASKPLATFORM_SHUTDOWN_GRACE": "0.5"}
    with worker(env, log, *pool) as started:
        run = bodies.stopping_async.enqueue(where)
        wait_for(lambda: where.told("started"), 20, "the body runs")
        started.term()
        started.process.wait(30)
    assert where.told("cancelled")
    (attempt,) = run.view().steps[0].attempts
    assert attempt.outcome == "interrupted"
    assert run.refresh().status == "queued"


def test_a_silent_body_is_timed_out(env: dict[str, str], log: Path, where: bodies.Where) -> None:
    """Its heartbeats keep it alive for longer than it may be silent."""
    with worker(env, log, *PREFORK):
        run = bodies.silent.enqueue(where).wait(timeout=30)
    assert where.told("silent from here")
    (attempt,) = run.view().steps[0].attempts
    assert attempt.outcome == "timed-out"
    assert attempt.error is not None
    assert "reported nothing for 1 s" in attempt.error.message
    assert "time.sleep(60)" in (attempt.error.traceback or "")


def test_a_silent_body_that_does_not_end_is_killed(
    env: dict[str, str], log: Path, where: bodies.Where
) -> None:
    """Like one that ignores its time limit; the worker goes on."""
    with worker(env, log, *PREFORK) as started:
        run = bodies.deaf.enqueue(where).wait(timeout=30)
        (attempt,) = run.view().steps[0].attempts
        assert attempt.outcome == "timed-out"
        assert attempt.error is not None
        assert "reported nothing for 0.5 s" in attempt.error.message
        assert "killed" in attempt.error.message
        _goes_on(started, where)


@both
def test_what_bodies_log_is_kept_whatever_the_worker_prints(
    env: dict[str, str],
    log: Path,
    where: bodies.Where,
    database: "psycopg.Connection[tuple[Any, ...]]",
    pool: tuple[str, ...],
) -> None:
    """A worker that prints from INFO on may keep what is DEBUG, and does not print it."""
    env |= {"TASKPLATFORM_STEP_LOG_LEVEL": "debug"}
    kept = "SELECT log FROM taskplatform.step_results ORDER BY finished_at"
    with worker(env, log, *pool):
        bodies.talking.enqueue(where).wait(timeout=30)
    first, second = (row[0] for row in database.execute(kept))
    assert [line.split(" ", 2)[2] for line in first.splitlines() if "through" in line] == [
        "taskplatform.step: through ctx",
        "shop.prices: through a logger of one's own",
        "shop.tasks: through Celery's",
    ]
    assert second.endswith("DEBUG taskplatform.step: from the loop")
    assert b"through" not in log.read_bytes()


def test_a_run_on_a_queue_that_nobody_serves_fails_in_time(
    env: dict[str, str], log: Path, where: bodies.Where
) -> None:
    """W15: the supervisor of any worker that knows the pipeline ends it, also beside busy ones."""
    with worker(env, log, "-c", "1"):
        busy = bodies.reporting.enqueue(where)
        wait_for(lambda: busy.refresh().status == "running", 20, "the only child is busy")
        run = bodies.unserved.enqueue(where).wait(timeout=20)
        assert run.status == "failed"
        assert run.error is not None
        assert run.error.type == "QueueTimeout"
        assert not where.told("started")
        where.tell("go on")
        where.tell("go on async")


def _goes_on(started: Worker, where: bodies.Where) -> None:
    assert bodies.waiting.enqueue(where).wait(timeout=30).status == "succeeded"
    assert started.process.poll() is None
