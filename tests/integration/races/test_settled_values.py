"""What a commit stores: outputs, errors, keys, handlers; and what the tables refuse."""

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from taskplatform.core.ids import uuid7
from taskplatform.storage.cancel import cancel
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.retry import Next, retry
from taskplatform.storage.settle import committed, settle
from taskplatform.storage.settlement import Attempt, End, Handler, PutBack, Settlement
from tests.integration.races.stage import (
    Stage,
    fail,
    give_back,
    keep,
    pass_on,
    result,
    succeed,
    wait,
)

OUTPUTS = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "minus zero": b"-0.0",
    "beyond a double": b"123456789012345678901234567890.10e999",
    "precision": b"0.1000000000000000055511151231257827",
    "empty text": b'""',
    "a text that looks like json": b'"{\\"a\\": null}"',
    "escapes": b'"\\b\\f\\n\\r\\t\\"\\\\/\\u0001\\u001f\x7f"',
    "all planes": '"é漢😀\ufffd\u2028"'.encode(),
    "a literal backslash u0000": b'"\\\\u0000"',
    "empty object": b"{}",
    "repeated names": b'{"a":1,"a":2}',
    "names of our own columns": b'{"work_id":1,"epoch":2,"output":null,"step":"z"}',
    "spaces": b'{ "a" : [ 1 , 2 ] }',
    "deep": b"[" * 64 + b"]" * 64,
    "a mebibyte": b'"' + b"x" * (1024 * 1024 - 2) + b'"',
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_is_stored_to_the_letter(stage: Stage, name: str) -> None:
    """Q3, Q12: what the step returned is what the next one gets."""
    (run,) = stage.runs()
    (one,) = stage.take()

    settle(stage.connection, [pass_on(one, "b", output=OUTPUTS[name])], worker="w")

    assert stage.results(run) == {"a": OUTPUTS[name]}
    (claimed,) = stage.take()
    assert claimed.outputs == {"a": OUTPUTS[name]}
    assert claimed.versions == {"a": 1}


def test_one_batch_stores_all_of_them(stage: Stage) -> None:
    """Q3: values do not run into each other."""
    runs = stage.runs(len(OUTPUTS))
    batch = stage.take()

    made = [
        succeed(one, output=output) for one, output in zip(batch, OUTPUTS.values(), strict=True)
    ]
    settle(stage.connection, made, worker="w")

    assert [stage.results(run)["a"] for run in runs] == list(OUTPUTS.values())
    assert not stage.wrong()


@pytest.mark.parametrize("output", [b'"\\u0000"', b'"\\ud800"', b"NaN", b"", b"[" * 9], ids=repr)
def test_a_value_that_the_database_refuses_leaves_nothing_behind(
    stage: Stage, output: bytes
) -> None:
    """F35: the whole batch is undone, and may be offered again without it, on the same session."""
    runs = stage.runs(3)
    batch = stage.take()
    good = [succeed(batch[0]), succeed(batch[2])]
    for _ in range(4):
        with pytest.raises((psycopg.DataError, psycopg.errors.StatementTooComplex, ValueError)):
            settle(
                stage.connection, [good[0], succeed(batch[1], output=output), good[1]], worker="w"
            )
        assert [stage.results(run) for run in runs] == [{}, {}, {}]

    assert settle(stage.connection, good, worker="w") == {batch[0].work_id, batch[2].work_id}
    assert settle(stage.connection, [fail(batch[1])], worker="w") == {batch[1].work_id}
    assert not stage.wrong()


def test_attempts_without_a_number_take_the_next_one(stage: Stage) -> None:
    """Q6: those of the executor carry one; those of the rescuer follow."""
    (run,) = stage.runs()
    for number in (None, 2, None):
        (one,) = stage.take()
        made = Attempt("a", "failed", None, started_ago=None, number=number)
        then = PutBack("a", "q", tried=True)
        settle(
            stage.connection,
            [Settlement(one.work_id, one.epoch, one.run_id, then, attempt=made)],
            worker="w",
        )

    assert stage.attempts(run) == [("a", 1, "failed"), ("a", 2, "failed"), ("a", 3, "failed")]
    (one,) = stage.take()
    assert one.attempts == {"a": 3}


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
@pytest.mark.parametrize("window", [None, 0.0, 3600.0])
def test_a_key_is_free_when_its_window_is_over(
    stage: Stage, end: str, window: float | None
) -> None:
    """Q14: the window covers succeeded and failed runs; none, and cancelled ones, free the key."""
    (run,) = stage.runs(key="k")
    one = stage.take_started()
    if end == "cancelled":
        cancel(stage.connection, run)
    else:
        made = (
            succeed(one, key_seconds=window)
            if end == "succeeded"
            else fail(one, key_seconds=window)
        )
        settle(stage.connection, [made], worker="w")
    assert not stage.wrong()

    new = NewRun(id=uuid7(), pipeline="p", first_step="a", queue="q", input=b"{}", key="k")
    (answer,) = enqueue(stage.connection, [new])

    covered = bool(window) and end != "cancelled"
    assert answer.id == (run if covered else new.id)
    assert answer.created is not covered


def test_the_end_of_a_run_leaves_the_key_of_its_heir_alone(stage: Stage) -> None:
    """G7: a forced run, and one whose key another took over, free nothing when they end."""
    (owner,) = stage.runs(key="k")
    stage.runs(key="k", forced=True)
    batch = stage.take()
    forced = next(one for one in batch if one.run_id != owner)

    settle(stage.connection, [succeed(forced)], worker="w")

    assert stage.rows("SELECT run_id, expires_at FROM taskplatform.keys") == [(owner, None)]
    assert not stage.wrong()


def test_event_handlers_are_made_in_the_transaction_of_the_end(stage: Stage) -> None:
    """Q1: either both are there or neither; a refused value undoes the handlers too."""
    (run,) = stage.runs()
    (one,) = stage.take()

    def handled(input: bytes) -> Settlement:
        makes = [Handler(uuid7(), f"on:x:h{n}", "h", "other", input) for n in range(2)]
        then = End("succeeded", "a")
        return Settlement(one.work_id, one.epoch, run, then, result("a"), handlers=makes)

    with pytest.raises(psycopg.DataError):
        settle(stage.connection, [handled(b'{"data":"\\u0000"}')], worker="w")
    assert stage.value("SELECT count(*) FROM taskplatform.runs") == 1
    assert stage.status(run) == "queued"
    session = stage.session()
    with session.transaction():
        settle(session, [handled(b'{"data":1}')], worker="w")
        assert stage.value("SELECT count(*) FROM taskplatform.runs") == 1

    assert stage.status(run) == "succeeded"
    made = stage.take(queues=["other"], pipelines=["on:x:h0", "on:x:h1"], costs={"on:x:h0.h": 0.0})
    assert [(one.pipeline, one.step, one.input) for one in made] == [
        ("on:x:h0", "h", b'{"data":1}')
    ]
    assert not stage.wrong()


def test_a_wait_says_why_and_until_when(stage: Stage) -> None:
    """G5: reason, due_at and what for; a parked run has no time."""
    stage.runs(3)
    retried, throttled, parked = stage.take()
    held_up = Settlement(
        throttled.work_id,
        throttled.epoch,
        throttled.run_id,
        PutBack("a", "q", 30.0, "throttle", "throttle api"),
    )
    settle(
        stage.connection,
        [wait(retried, 60), held_up, wait(parked, float("inf"), "parked")],
        worker="w",
    )

    assert stage.rows(
        "SELECT reason, waiting_for, round(extract(epoch FROM due_at - clock_timestamp()))::int"
        " FROM taskplatform.runs ORDER BY id"
    ) == [("retry", None, 60), ("throttle", "throttle api", 30), ("parked", None, None)]
    assert not stage.wrong()


def test_the_first_body_dates_the_run(stage: Stage) -> None:
    """Q6: started_at is when the first body started, and stays that."""
    stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [pass_on(one, "b")], worker="w")
    first = stage.value("SELECT started_at FROM taskplatform.runs")
    assert first is not None
    (one,) = stage.take()
    settle(stage.connection, [wait(one, 0)], worker="w")

    assert stage.value("SELECT started_at FROM taskplatform.runs") == first


def test_the_answer_to_a_lost_commit_is_found(stage: Stage) -> None:
    """L12: by run, epoch, step and outcome; also of an attempt without an output."""
    stage.runs(6)
    kept, failed, ended, refused, cancelled, released = stage.take()
    made = [keep(kept, "b"), wait(failed, 60), succeed(ended)]
    assert len(settle(stage.connection, made, worker="w")) == 3
    stage.connection.execute("UPDATE taskplatform.work SET started_at = now()")
    cancel(stage.connection, cancelled.run_id)
    assert stage.attempts(cancelled.run_id) == [("a", 1, "cancelled")]

    asked = [*made, succeed(refused), fail(cancelled), give_back(released)]

    assert committed(stage.connection, asked) == {kept.work_id, failed.work_id, ended.work_id}
    later = [replace(one, epoch=one.epoch + 1) for one in made]
    assert committed(stage.connection, later) == set()
    assert committed(stage.connection, []) == set()


def test_a_retry_by_hand_goes_on_with_what_is_stored(stage: Stage) -> None:
    """Q16, Q3: from the point of failure, with a fresh budget and rising attempt numbers."""
    (run,) = stage.runs(key="k")
    (one,) = stage.take()
    settle(stage.connection, [pass_on(one, "b")], worker="w")
    (one,) = stage.take()
    settle(stage.connection, [fail(one)], worker="w")

    plans: list[Any] = []

    def plan(pipeline: str, done: Any) -> Next:
        plans.append((pipeline, dict(done)))
        return Next("b", "q")

    assert retry(stage.connection, run, plan).taken_up

    assert plans == [("p", {"a": 1})]
    (again,) = stage.take()
    assert (again.step, again.failures, again.attempts) == ("b", 0, {"b": 1})
    assert again.outputs == {"a": b'"done"'}
    assert not stage.wrong()


def test_errors_are_stored_as_they_are(stage: Stage) -> None:
    """Q6, M5: type, message and traceback, readable as JSON."""
    (run,) = stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [fail(one)], worker="w")

    error = stage.value("SELECT error FROM taskplatform.runs WHERE id = %s", run)
    assert json.loads(error) == {"type": "E", "message": "no"}
    assert stage.value("SELECT error FROM taskplatform.step_attempts") == b'{"message":"no"}'
    assert stage.value("SELECT worker FROM taskplatform.step_attempts") == "w"


def test_work_given_back_keeps_its_budget(stage: Stage) -> None:
    """G6: what the step has used up stays used up when nothing was executed."""
    stage.runs()
    (one,) = stage.take()
    settle(stage.connection, [wait(one, 0)], worker="w")
    stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL, put_off = 3")
    (one,) = stage.take()
    assert (one.failures, one.put_off) == (1, 3.0)

    settle(stage.connection, [give_back(one)], worker="w")

    (one,) = stage.take()
    assert one.failures == 1
