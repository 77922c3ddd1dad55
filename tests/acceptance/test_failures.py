"""The demo fails as asked, waits as its policy says, and is resumed by hand or by time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.demo import demo
from taskplatform import Run
from taskplatform.storage.connection import connect
from taskplatform.testing import advance
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]
DELAYS = ["5m", "15m", "1h", "4h", "14h"]


@pytest.fixture
def demo_env(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment with the project's own pipelines."""
    return {**env, "TASKPLATFORM_PIPELINES": "pipelines"}


def _fail(task_id: str) -> Run:
    run = demo.enqueue({"task_id": task_id, "simulate_failure": True})
    wait_for(lambda: run.refresh().status == "waiting", 20, "the run waits for its retry")
    return run


def test_a_failed_step_waits_and_is_resumed_by_hand(demo_env: Env, log: Path) -> None:
    """Q4, Q5, Q16: due in 5 min; retry takes it up at once; finished steps stay finished."""
    with worker(demo_env, log, "-c", "2"):
        run = _fail("t1")
        view = run.view()
        assert view.reason == "retry"
        assert view.due_at is not None
        due_in = view.due_at - datetime.now(UTC)
        assert abs(due_in - timedelta(minutes=5)) < timedelta(seconds=1)
        first = view.steps[3].attempts[-1].finished_at
        run.retry()
        wait_for(lambda: len(run.refresh().view().steps[3].attempts) == 2, 10, "tried again")
        wait_for(lambda: run.refresh().status == "waiting", 10, "it waits again")
    view = run.view()
    assert [len(step.attempts) for step in view.steps] == [1, 1, 1, 2, 0]
    second = view.steps[3].attempts[-1]
    assert first is not None
    assert second.started_at is not None
    assert second.started_at - first < timedelta(seconds=5)
    assert second.error is not None
    assert second.error.type == "pipelines.demo.SimulatedFailure"


def test_all_five_delays_pass_then_it_has_failed(demo_env: Env, log: Path) -> None:
    """Q5, G6: 5 min, 15 min, 1 h, 4 h, 14 h, never early; then failed for good."""
    url = demo_env["TASKPLATFORM_DATABASE_URL"]
    with worker(demo_env, log, "-c", "2"), connect(url) as connection:
        run = _fail("t1")
        for number, delay in enumerate(DELAYS, start=1):
            due = _due_in(run)
            expected = {"5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "14h": 50400}[delay]
            assert due == pytest.approx(expected, abs=1.5)
            advance(due - 1.5, connection=connection)
            assert len(run.refresh().view().steps[3].attempts) == number
            advance(1.6, connection=connection)
            wait_for(
                lambda: len(run.refresh().view().steps[3].attempts) > number,  # noqa: B023
                10,
                f"attempt {number + 1}",
            )
            if number < 5:
                wait_for(lambda: run.refresh().status == "waiting", 10, "it waits again")
        wait_for(lambda: run.refresh().status == "failed", 10, "it failed for good")
    view = run.view()
    assert [len(step.attempts) for step in view.steps] == [1, 1, 1, 6, 0]
    assert view.error is not None
    assert view.error.step == "simulate-api-call"


def test_a_failed_run_replays_from_a_step_with_other_input(demo_env: Env, log: Path) -> None:
    """Q16: a replay is a new run; the outputs of earlier steps are reused."""
    with worker(demo_env, log, "-c", "2"):
        run = _fail("t1")
        replay = run.replay(from_step="simulate-api-call", input={"task_id": "t1"})
        replay.wait(timeout=20)
    assert replay.id != run.id
    view = replay.view()
    assert view.status == "succeeded"
    assert view.replay_of == run.id
    assert [step.status for step in view.steps] == ["reused"] * 3 + ["succeeded"] * 2


def test_events_reach_their_handlers(demo_env: Env, log: Path) -> None:
    """Q26: demo/task.completed is handled by a run of its own."""
    with worker(demo_env, log, "-c", "2"):
        run = demo.enqueue({"task_id": "t1"}).wait(timeout=20)
        wait_for(lambda: f"{run.id} completed".encode() in log.read_bytes(), 10, "handled")


def _due_in(run: Run) -> float:
    due_at = run.view().due_at
    assert due_at is not None
    return (due_at - datetime.now(UTC)).total_seconds()
