"""What follows an attempt, which step is next, and the states of a run."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.disposition import Advance, Again, Fail, HandBack, dispose
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import (
    Failed,
    Interrupted,
    PutOff,
    Succeeded,
    TimedOut,
    Withheld,
)
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.run import FINAL, TRANSITIONS, Reason, Status, is_final
from taskplatform.core.segments import next_step, same_segment
from taskplatform.core.step import Step
from taskplatform.core.throttle import Throttle

DAY = 86400.0
failure = Failure("ValueError", "bad", "trace")


class Nothing(BaseModel):
    pass


def body(input: Nothing) -> None: ...


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def declare(*steps: str, queue: str | None = None) -> Declaration[Nothing]:
    """Declare steps written `name`, `name@queue` or `name:version`."""
    registry.clear()
    pipeline = Declaration("p", input=Nothing, queue=queue)
    for written in steps:
        name, _, on = written.partition("@")
        name, _, version = name.partition(":")
        pipeline.step(name=name, queue=on or None, version=int(version or 1))(body)
    return pipeline


def step_with(retry: Retry) -> Step:
    registry.clear()
    pipeline = Declaration("p", input=Nothing, retry=retry)
    pipeline.step(body)
    return pipeline.steps[0]


def test_a_success_advances_with_its_output() -> None:
    assert dispose(step_with(Retry(0)), Succeeded(b"1"), 0, 0, DAY, 0.5) == Advance(b"1")


@pytest.mark.parametrize(
    ("outcome", "named"), [(Failed(failure), "failed"), (TimedOut(failure), "timed-out")]
)
def test_failures_and_time_outs_use_the_budget(outcome: Failed | TimedOut, named: str) -> None:
    """Q2, Q4: n retries are n + 1 attempts."""
    step = step_with(Retry(delays=["5m", "15m"]))
    assert dispose(step, outcome, 0, 0, DAY, 0.5) == Again(
        Reason.RETRY, 300.0, True, named, failure
    )
    assert dispose(step, outcome, 1, 0, DAY, 0.5) == Again(
        Reason.RETRY, 900.0, True, named, failure
    )
    assert dispose(step, outcome, 2, 0, DAY, 0.5) == Fail(named, failure)


def test_a_permanent_failure_ends_the_run_at_once() -> None:
    outcome = Failed(failure, permanent=True)
    assert dispose(step_with(Retry(3)), outcome, 0, 0, DAY, 0.5) == Fail("failed", failure)


def test_being_put_off_uses_no_retry_even_if_none_is_left() -> None:
    """W6: the work is deferred, not failed."""
    step = step_with(Retry(0))
    assert dispose(step, PutOff(60, failure), 0, 100, DAY, 0.5) == Again(
        Reason.RETRY, 60.0, False, "put-off", failure, put_off=60.0
    )


@pytest.mark.parametrize("seconds", [DAY - 99, 1e300, float("inf"), float("nan")])
def test_being_put_off_beyond_the_limit_ends_the_run_saying_so(seconds: float) -> None:
    decided = dispose(step_with(Retry(3)), PutOff(seconds, failure), 0, 100, DAY, 0.5)
    assert isinstance(decided, Fail)
    assert decided.attempt_outcome == "failed"
    assert decided.failure.type == "ValueError"
    assert "more than the limit of 86400 s in all: bad" in decided.failure.message
    exactly = dispose(step_with(Retry(3)), PutOff(DAY - 100, failure), 0, 100, DAY, 0.5)
    assert isinstance(exactly, Again)


@pytest.mark.parametrize("seconds", [0, -5])
def test_being_put_off_by_nothing_comes_to_an_end_too(seconds: float) -> None:
    decided = dispose(step_with(Retry(3)), PutOff(seconds, failure), 0, 0, 3, 0.5)
    assert isinstance(decided, Again)
    assert (decided.delay, decided.put_off) == (0.0, 1.0)
    assert isinstance(dispose(step_with(Retry(3)), PutOff(0, failure), 0, 3, 3, 0.5), Fail)


def test_an_interrupted_attempt_is_handed_back() -> None:
    assert dispose(step_with(Retry(0)), Interrupted(), 9, 0, DAY, 0.5) == HandBack()


def test_a_withheld_step_waits_without_an_attempt() -> None:
    outcome = Withheld("throttle", 6.5, "lyrics-api")
    assert dispose(step_with(Retry(0)), outcome, 0, 0, DAY, 0.5) == Again(
        Reason.THROTTLE, 6.5, False, None, None, waiting_for="lyrics-api"
    )


@pytest.mark.parametrize(
    ("steps", "done", "expected"),
    [
        (("a", "b", "c"), {}, "a"),
        (("a", "b", "c"), {"a": 1}, "b"),
        (("a", "b", "c"), {"a": 1, "b": 1, "c": 1}, None),
        # added: before the open step, between finished ones, at the end
        (("new", "a", "b"), {"a": 1}, "new"),
        (("new", "a", "b"), {"a": 1, "new": 1}, "b"),
        (("a", "new", "b"), {"a": 1, "b": 1}, "new"),
        (("a", "b", "new"), {"a": 1, "b": 1}, "new"),
        # renamed: executes under its new name; the old output is left
        (("a", "renamed", "c"), {"a": 1, "b": 1}, "renamed"),
        (("a", "renamed", "c"), {"a": 1, "b": 1, "renamed": 1}, "c"),
        # removed
        (("a", "c"), {"a": 1, "b": 1}, "c"),
        (("a",), {"a": 1, "b": 1}, None),
        # reordered
        (("c", "a", "b"), {"a": 1, "b": 1}, "c"),
        (("b", "a", "c"), {"a": 1}, "b"),
    ],
)
def test_the_next_step_is_the_first_declared_one_without_an_output(
    steps: tuple[str, ...], done: dict[str, int], expected: str | None
) -> None:
    """Q19: runs in flight go on with the new code."""
    found = next_step(declare(*steps), done)
    assert (found and found.name) == expected


@pytest.mark.parametrize(
    ("steps", "done", "expected"),
    [
        (("a:2", "b"), {"a": 1}, "a"),
        (("a:2", "b"), {"a": 2}, "b"),
        (("a", "b"), {"a": 2}, "a"),
        # passed: a later step has an output
        (("a:2", "b", "c"), {"a": 1, "b": 1}, "c"),
        (("a:2", "b"), {"a": 1, "b": 1}, None),
        (("a:2", "b", "c"), {"a": 1, "c": 1}, "b"),
        # the last step of a run that has not ended
        (("a", "b:3"), {"a": 1, "b": 2}, "b"),
        # passed only by a step that is declared no more
        (("a:2", "b"), {"a": 1, "gone": 1}, "a"),
    ],
)
def test_a_step_of_another_version_executes_again_unless_it_was_passed(
    steps: tuple[str, ...], done: dict[str, int], expected: str | None
) -> None:
    """Q31."""
    found = next_step(declare(*steps), done)
    assert (found and found.name) == expected


@given(
    st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1),
    st.dictionaries(st.sampled_from("abcdefgxyz"), st.integers(1, 3)),
)
def test_every_run_comes_to_an_end_whatever_the_code_was(
    names: list[str], done: dict[str, int]
) -> None:
    pipeline = declare(*(f"{name}:2" for name in names))
    before = dict(done)
    executed = []
    while (step := next_step(pipeline, done)) is not None:
        executed.append(step.name)
        done[step.name] = step.version
        assert len(executed) <= len(names)
    assert len(set(executed)) == len(executed)
    assert {name for name in executed if before.get(name) == 2} == set()
    assert set(names) <= set(done)


def test_a_segment_ends_at_another_queue_and_before_a_throttle() -> None:
    pipeline = declare("a", "b", "c@gpu", "d@gpu", "e@taskplatform")
    a, b, c, d, e = pipeline.steps
    assert same_segment(pipeline, a, b, "taskplatform")
    assert not same_segment(pipeline, b, c, "taskplatform")
    assert same_segment(pipeline, c, d, "taskplatform")
    assert not same_segment(pipeline, d, e, "taskplatform")
    assert same_segment(pipeline, a, e, "taskplatform")
    assert not same_segment(pipeline, a, e, "other")

    own = Declaration("own", input=Nothing, queue="gpu")
    own.step(name="first", throttle=Throttle("x", 1, 1))(body)
    own.step(name="second")(body)
    own.step(name="third", throttle=Throttle("x", 1, 1))(body)
    first, second, third = own.steps
    assert same_segment(own, first, second, "taskplatform")
    assert not same_segment(own, second, third, "taskplatform")


def test_the_table_of_transitions_is_complete() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {status for status in Status if is_final(status)} == FINAL
    assert TRANSITIONS[Status.FAILED] == {Status.QUEUED}
    assert not TRANSITIONS[Status.SUCCEEDED] | TRANSITIONS[Status.CANCELLED]
    for status in set(Status) - FINAL:
        assert Status.CANCELLED in TRANSITIONS[status]
        assert Status.SCHEDULED not in TRANSITIONS[status]


def test_every_state_is_reached_from_the_first_ones() -> None:
    reached = {Status.SCHEDULED}
    while more := {to for status in reached for to in TRANSITIONS[status]} - reached:
        reached |= more
    assert reached == set(Status)
