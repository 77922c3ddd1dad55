"""A run in the middle of a user's own canvas."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import chain, group
from kombu.connection import Connection

import taskplatform
from taskplatform import Pipeline, Run
from taskplatform.storage.connection import connect
from tests.acceptance import canvased as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import Worker, wait_for, worker

Env = dict[str, str]
MODULE = {"TASKPLATFORM_PIPELINES": "tests.acceptance.canvased"}
GROUPED = ("first", "left", "right", "unsteady", "last")
STEADY = ("one", "two", "three")
QUEUES = ("-Q", "taskplatform,other")


Publish = Callable[[Any], None]


@pytest.fixture
def publish(env: Env) -> Iterator[Publish]:
    """Send a canvas by the broker of this test; shared tasks belong to the app that is loaded."""
    assert taskplatform.app.tasks
    with Connection(env["TASKPLATFORM_BROKER_URL"]) as connection:  # type: ignore[no-untyped-call]
        yield lambda canvas: canvas.apply_async(connection=connection)


def send(publish: Publish, pipeline: Pipeline[Any], ledger: Ledger, id: str, do: str = "") -> Run:
    """The user's canvas."""
    run = pipeline.enqueue({"ledger": ledger.path, "id": id, "do": do}, hold=True)
    assert run.status == "queued"
    path = str(ledger.path)
    publish(canvas(pipeline, run, path))
    return run


def canvas(pipeline: Pipeline[Any], run: Run, path: str) -> Any:
    return chain(
        pipelines.before.s(path),
        pipeline.canvas(run),
        pipelines.after.s(path, str(run.id)),
        pipelines.at_last.s(path),
        app=taskplatform.app,
    )


def check(ledger: Ledger, run: Run, id: str, steps: tuple[str, ...], before: int = 1) -> None:
    """Each step once, then the rest of the canvas once, after the last commit."""
    wait_for(lambda: ledger.has("at-last", str(run.id)), 40, "the end of the canvas")
    done = Counter(line[1] for line in ledger.lines() if line[0] == id)
    assert {step: done[f"start:{step}"] for step in steps} == dict.fromkeys(steps, 1)
    assert ledger.count("before") == {"canvas": before}
    assert ledger.count("after:succeeded") == {f"output-of-{id}": 1}
    assert ledger.count("at-last") == {str(run.id): 1}
    whats = [line[1] for line in ledger.lines()]
    assert whats.index("before") < whats.index(f"start:{steps[0]}")


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("name", ["canvased", "steady"])
def test_each_step_once_and_what_follows_once_after_the_last_commit(
    env: Env, publish: Publish, ledger: Ledger, log: Path, name: str, twice: bool
) -> None:
    """With a group and a step that is retried, also when each message is delivered twice."""
    pipeline, steps = {
        "canvased": (pipelines.canvased, GROUPED),
        "steady": (pipelines.steady, STEADY),
    }[name]
    told = {**env, **MODULE, **({"CANVAS_TWICE": "1"} if twice else {})}
    with worker(told, log, "-c", "3", *QUEUES):
        run = send(publish, pipeline, ledger, "a")
        check(ledger, run, "a", steps)
        # The whole canvas again, as if its messages had been kept back until now.
        publish(canvas(pipeline, run, str(ledger.path)))
        wait_for(lambda: ledger.count("before") == {"canvas": 2}, 10, "the canvas came again")
        _forget_that_it_was_published(env["TASKPLATFORM_DATABASE_URL"])
        fence(publish, ledger)
    check(ledger, run, "a", steps, before=2)
    if name == "steady":
        # No step waited for the shifts: the messages executed them.
        starts = [int(line[3]) for line in ledger.lines() if line[1].startswith("start:")]
        assert max(starts) - min(starts) < 5e9


def _forget_that_it_was_published(url: str) -> None:
    """As if a worker had died between Redis and the database; wait until it is noted again."""
    count = "SELECT count(*) FROM taskplatform.canvases WHERE published_at IS NULL"
    with connect(url) as database:
        database.execute("UPDATE taskplatform.canvases SET published_at = NULL")
        wait_for(lambda: database.execute(count).fetchone() == (0,), 10, "it is noted again")


def fence(publish: Publish, ledger: Ledger) -> None:
    """Another canvas passes behind what was sent before."""
    run = pipelines.steady.enqueue({"ledger": ledger.path.with_name("fence"), "id": "f"}, hold=True)
    path = str(ledger.path.with_name("fence"))
    publish(canvas(pipelines.steady, run, path))
    other = Ledger(ledger.path.with_name("fence"))
    wait_for(lambda: other.has("at-last"), 20, "the other canvas passed")


FAULTS = {
    # Nobody knows that a step is done but the database: shifts go on when it was silent.
    "before the next message": {"CANVAS_DIES_BEFORE": "{name}.{second}"},
    "after the next message": {"CANVAS_DIES_AFTER": "{name}.{first}"},
    # The run has ended, and what follows is with it only.
    "after the last step": {"CANVAS_DIES_BEFORE": "tests.after"},
    "before what follows that": {"CANVAS_DIES_AFTER": "tests.before"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["canvased", "steady"])
def test_a_worker_killed_between_two_steps_changes_nothing(
    env: Env, publish: Publish, ledger: Ledger, log: Path, tmp_path: Path, name: str, fault: str
) -> None:
    """Also when each message is delivered twice; the group's end is not a message's, so apart."""
    pipeline, steps = {
        "canvased": (pipelines.canvased, GROUPED),
        "steady": (pipelines.steady, STEADY),
    }[name]
    died = tmp_path / "died"
    told = {
        key: value.format(name=name, first=steps[0], second=steps[1])
        for key, value in FAULTS[fault].items()
    }
    told |= {**env, **MODULE, "CANVAS_TWICE": "1", "CANVAS_DIES": str(died)}
    with ExitStack() as stack:
        doomed = stack.enter_context(worker(told, log, "-c", "1", *QUEUES))
        run = send(publish, pipeline, ledger, "a")
        wait_for(died.exists, 20, f"the worker died; it said:\n{log.read_text()[-3000:]}")
        _bury(doomed)
        other = log.with_name("other.log")
        other.touch()
        stack.enter_context(
            worker({**env, **MODULE, "CANVAS_TWICE": "1"}, other, "-c", "2", *QUEUES, name="other")
        )
        check(ledger, run, "a", steps)
        fence(publish, ledger)
    check(ledger, run, "a", steps)


def _bury(doomed: Worker) -> None:
    doomed.process.wait(10)


def test_nothing_follows_a_run_that_failed_until_a_retry_succeeds(
    env: Env, publish: Publish, ledger: Ledger, log: Path
) -> None:
    """The rest of the canvas stays with the run."""
    with worker({**env, **MODULE}, log, "-c", "2", *QUEUES):
        run = send(publish, pipelines.steady, ledger, "a", do="fail")
        assert run.wait(timeout=20).status == "failed"
        fence(publish, ledger)
        assert not ledger.has("after:failed")
        with connect(env["TASKPLATFORM_DATABASE_URL"]) as database:
            database.execute(
                "UPDATE taskplatform.runs SET input = "
                "jsonb_set(input::jsonb, '{do}', '\"\"')::json WHERE id = %s",
                (run.id,),
            )
        run.retry()
        wait_for(lambda: ledger.has("at-last", str(run.id)), 20, "the end of the canvas")
    assert ledger.count("after:succeeded") == {"output-of-a": 1}
    assert ledger.count("start:one") == {"a": 1}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_group_may_follow(
    env: Env, publish: Publish, ledger: Ledger, log: Path, pool: str
) -> None:
    """What makes several messages is published by Celery itself."""
    with worker({**env, **MODULE}, log, "-P", pool, "-c", "2", *QUEUES):
        run = pipelines.steady.enqueue({"ledger": ledger.path, "id": "a"}, hold=True)
        both = [pipelines.after.s(str(ledger.path), str(run.id)) for _ in range(2)]
        publish(chain(pipelines.steady.canvas(run), group(both), app=taskplatform.app))
        wait_for(lambda: ledger.count("after:succeeded").total() == 2, 20, "both came after")


def test_a_held_run_without_a_message_is_executed_after_a_while(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """A canvas that was never sent must not keep the run for ever."""
    with worker({**env, **MODULE}, log, "-c", "2", *QUEUES):
        run = pipelines.steady.enqueue({"ledger": ledger.path, "id": "a"}, hold=True)
        assert run.wait(timeout=20).status == "succeeded"
    view = run.view()
    assert view.started_at is not None
    assert (view.started_at - view.created_at).total_seconds() >= 10
