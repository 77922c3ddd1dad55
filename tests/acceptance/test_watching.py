"""Tools that watch Celery's tasks see each step as one: signals, Sentry, OpenTelemetry."""

from collections import Counter
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.acceptance import watched as pipelines
from tests.acceptance.collector import collector
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]
MODULE = {"TASKPLATFORM_PIPELINES": "tests.acceptance.watched"}
STEPS = ("plain", "unsteady", "asynchronous", "late")
TASKS = [f"watched.{name}" for name in STEPS]
ATTEMPTS = {"watched.plain": 1, "watched.unsteady": 3, "watched.asynchronous": 1, "watched.late": 2}


def execute(ledger: Ledger) -> None:
    """Both runs, to their ends."""
    order = {"ledger": ledger.path, "id": "a"}
    run = pipelines.watched.enqueue(order).wait(timeout=30)
    assert run.status == "succeeded"
    assert pipelines.broken.enqueue(order).wait(timeout=30).status == "failed"


def test_signals_come_once_for_each_attempt_of_each_step(
    env: Env, ledger: Ledger, log: Path, tmp_path: Path
) -> None:
    """A counter connected to task_prerun, task_postrun, task_success, task_failure."""
    counted = Ledger(tmp_path / "signals")
    with worker({**env, **MODULE, "WATCH_SIGNALS": str(counted.path)}, log, "-c", "2"):
        execute(ledger)
        run = pipelines.watched.enqueue({"ledger": ledger.path, "id": "b"}).wait(timeout=20)
    pipelines_own = {"broken.breaks", *TASKS}
    seen = {
        name: Counter(line[0] for line in counted.lines() if line[1] == name) & _many(pipelines_own)
        for name in pipelines._NAMES
    }
    # The second run is not asked to come back.
    twice = {**{name: 2 * times for name, times in ATTEMPTS.items()}, "watched.late": 3}
    assert seen["task_prerun"] == seen["task_postrun"] == {**twice, "broken.breaks": 1}
    assert seen["task_success"] == dict.fromkeys(TASKS, 2)
    assert seen["task_failure"] == {"watched.unsteady": 4, "broken.breaks": 1}
    assert seen["task_retry"] == {"watched.late": 1}
    # Shifts are tasks, too, and known by their name.
    others = {line[0] for line in counted.lines()} - pipelines_own
    assert others == {"taskplatform.shift"}
    steps = {step.name: step.output for step in run.view().steps}
    assert steps["plain"] == {
        "id": f"{run.id}:plain:1",
        "name": "watched.plain",
        "retries": 0,
        "queue": "taskplatform",
    }
    assert steps["unsteady"]["retries"] == 2
    assert steps["asynchronous"] == "watched.asynchronous"
    words = log.read_text()
    assert f"watched.plain[{run.id}:plain:1]: in the body" in words
    assert f"watched.asynchronous[{run.id}:asynchronous:1]: in the async body" in words


def _many(names: set[str]) -> Counter[str]:
    return Counter(dict.fromkeys(names, 100))


def test_sentry_sees_each_attempt_as_a_transaction_and_each_failure_as_an_error(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """The real SDK with the Celery integration it switches on by itself."""
    with collector() as found:
        with worker({**env, **MODULE, "WATCH_SENTRY": found.dsn}, log, "-c", "2"):
            execute(ledger)
        wait_for(lambda: len(found.errors()) == 3, 10, "the errors arrived")
        wait_for(lambda: bool(found.transactions("broken.breaks")), 10, "the transactions arrived")
    for name, attempts in ATTEMPTS.items():
        assert len(found.transactions(name)) == attempts, name
    (first,) = found.transactions("watched.plain")
    assert first["contexts"]["trace"]["op"] == "queue.task.celery"
    assert first["contexts"]["trace"]["status"] == "ok"
    assert first["tags"]["celery_task_id"].endswith(":plain:1")
    assert first["extra"]["celery-job"]["task_name"] == "watched.plain"
    failed = [error for error in found.errors() if error["transaction"] == "watched.unsteady"]
    assert [error["exception"]["values"][-1]["value"] for error in failed] == [
        "not yet, 0",
        "not yet, 1",
    ]
    for error in failed:
        (value,) = error["exception"]["values"]
        assert value["mechanism"] == {"type": "celery", "handled": False}
        assert value["stacktrace"]["frames"][-1]["function"] == "unsteady"
        assert error["tags"]["celery_task_id"].split(":")[1] == "unsteady"
    statuses = [one["contexts"]["trace"]["status"] for one in found.transactions(TASKS[1])]
    assert sorted(statuses) == ["internal_error", "internal_error", "ok"]
    # Each is a trace of its own, not a part of its shift's.
    traces = [one["contexts"]["trace"] for name in TASKS for one in found.transactions(name)]
    assert len({one["span_id"] for one in traces}) == sum(ATTEMPTS.values())


def test_sentrys_streamed_spans_show_each_attempt_too(env: Env, ledger: Ledger, log: Path) -> None:
    """The SDK's other way to send traces."""
    with collector() as found:
        told = {**env, **MODULE, "WATCH_SENTRY": found.dsn, "WATCH_LIFECYCLE": "stream"}
        with worker(told, log, "-c", "2"):
            execute(ledger)
        wait_for(lambda: len(found.errors()) == 3, 10, "the errors arrived")
    segments = Counter(one["name"] for one in found.streamed if one["is_segment"])
    assert {name: segments[name] for name in TASKS} == ATTEMPTS
    failed = [one for one in found.streamed if one["status"] == "error" and one["is_segment"]]
    assert Counter(one["name"] for one in failed)["watched.unsteady"] == 2


def test_opentelemetry_sees_each_attempt_as_a_span_with_its_error(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """The real instrumentation, over OTLP."""
    with collector() as found:
        told = {**env, **MODULE, "WATCH_OTEL": f"{found.url}/v1/traces"}
        with worker(told, log, "-c", "2"):
            execute(ledger)
            wait_for(lambda: "run/broken.breaks" in {one.name for one in found.spans}, 10, "spans")
    names = Counter(one.name for one in found.spans)
    for name, attempts in ATTEMPTS.items():
        assert names[f"run/{name}"] == attempts, name
    failed = [one for one in found.spans if one.name == "run/watched.unsteady"][:2]
    for span in failed:
        assert span.status.code == Status.STATUS_CODE_ERROR
        (event,) = span.events
        told_of = {one.key: one.value.string_value for one in event.attributes}
        assert event.name == "exception"
        assert told_of["exception.type"] == "ValueError"
        assert "in unsteady" in told_of["exception.stacktrace"]
    first = next(one for one in found.spans if one.name == "run/watched.plain")
    attributes = {one.key: one.value.string_value for one in first.attributes}
    assert attributes["celery.task_name"] == "watched.plain"
    assert attributes["messaging.destination"] == "taskplatform"
    assert attributes["celery.state"] == "SUCCESS"
    assert attributes["messaging.message.id"].endswith(":plain:1")
    assert "Invalid type" not in log.read_text()
