"""Runs in process: steps, what can happen to them, and the time that passes (no server)."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from taskplatform import Context, Event, Permanent, Pipeline, Retry, RetryAfter, on, testing
from taskplatform.core import registry
from taskplatform.core.context import Context as CoreContext
from taskplatform.errors import Interrupted, InvalidInput, RunFailed


class Track(BaseModel):
    track_id: str


class Lyrics(BaseModel):
    text: str
    at: datetime | None = None


class Names:
    """What the bodies were called with."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, what: str) -> None:
        self.seen.append(what)


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


@pytest.fixture
def seen() -> Names:
    """What happened."""
    return Names()


@pytest.fixture
def enrich(seen: Names) -> Pipeline[Track]:
    """Two steps, the second of which needs the first."""
    pipeline = Pipeline("enrich", input=Track, retry=Retry(delays=["1m", "5m"]))

    @pipeline.step
    def find_lyrics(input: Track, ctx: Context) -> Lyrics:
        seen(ctx.idempotency_key)
        ctx.progress(ctx.attempt, 3)
        return Lyrics(text=f"la {input.track_id}")

    @pipeline.step(timeout="30s")
    async def count(find_lyrics: Lyrics) -> int:
        await asyncio.sleep(0)
        return len(find_lyrics.text)

    return pipeline


def test_a_run_in_process_gives_the_typed_output_of_each_step(enrich: Pipeline[Track]) -> None:
    run = testing.run(enrich, {"track_id": "x"})

    assert (run.status, run.output, run.elapsed) == ("succeeded", 4, 0)
    assert run["find-lyrics"] == run["find_lyrics"] == Lyrics(text="la x")
    assert [step.name for step in run.steps] == ["find-lyrics", "count"]
    assert [step.outcomes for step in run.steps] == [["succeeded"], ["succeeded"]]
    assert run.progress == [(1, 3)]
    assert run.raise_for_status() is run


def test_failures_are_injected_by_step_and_attempt_and_delays_pass_at_once(
    enrich: Pipeline[Track], seen: Names
) -> None:
    failures: Any = {"find_lyrics": [RetryAfter(30), ValueError("away"), None], "count": [OSError]}
    run = testing.run(enrich, Track(track_id="x"), failures=failures)

    found, counted = run.steps
    assert run.status == "succeeded"
    assert [(one.number, one.outcome, one.delay) for one in found.attempts] == [
        (1, "put-off", 30),
        (2, "failed", 60),
        (3, "succeeded", None),
    ]
    assert counted.outcomes == ["failed", "succeeded"]
    assert run.elapsed == 30 + 60 + 60
    assert seen.seen == [f"{run.id}:find-lyrics"]
    assert run.progress == [(3, 3)]


def test_a_run_out_of_retries_fails_with_the_exception_as_its_cause(
    enrich: Pipeline[Track],
) -> None:
    away = ValueError("away")
    run = testing.run(enrich, Track(track_id="x"), failures={"count": away})

    assert run.status == "failed"
    assert run.step("count").outcomes == ["failed"] * 3
    assert run.failed_step == "count"
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("ValueError", "away")
    assert run.elapsed == 360
    with pytest.raises(
        RunFailed, match="'enrich' is failed in step 'count': ValueError: away"
    ) as e:
        run.raise_for_status()
    assert e.value.__cause__ is away
    with pytest.raises(KeyError):
        run["count"]


def test_permanent_is_not_retried(enrich: Pipeline[Track]) -> None:
    run = testing.run(enrich, Track(track_id="x"), failures={"count": [Permanent("no")]})
    assert (run.status, run.step("count").outcomes) == ("failed", ["failed"])


def test_time_outs_use_the_time_and_a_retry(enrich: Pipeline[Track]) -> None:
    run = testing.run(enrich, Track(track_id="x"), failures={"count": [testing.TimedOut]})
    assert (run.status, run.step("count").outcomes) == ("succeeded", ["timed-out", "succeeded"])
    assert run.elapsed == 30 + 60


def test_crashes_use_no_retry_and_park_at_three(enrich: Pipeline[Track], seen: Names) -> None:
    crash = testing.Crash(after_body=True)
    once = testing.run(enrich, Track(track_id="x"), failures={"find-lyrics": [crash]})
    assert (once.status, once.steps[0].outcomes) == ("succeeded", ["crashed", "succeeded"])
    assert seen.seen == [f"{once.id}:find-lyrics"] * 2

    always = testing.run(enrich, Track(track_id="x"), failures={"find-lyrics": testing.Crash()})
    assert (always.status, always.reason) == ("waiting", "parked")
    assert always.steps[0].outcomes == ["crashed"] * 3
    with pytest.raises(RunFailed, match=r"is waiting \(parked\): step find-lyrics crashed 3 times"):
        always.raise_for_status()


def test_an_interrupted_attempt_is_executed_again(enrich: Pipeline[Track]) -> None:
    run = testing.run(enrich, Track(track_id="x"), failures={"count": [Interrupted()]})
    assert run.step("count").outcomes == ["interrupted", "succeeded"]


def test_a_cancelled_run_starts_no_further_step(seen: Names) -> None:
    pipeline = Pipeline("p", input=Track)

    @pipeline.step
    def a(input: Track, ctx: Context) -> None:
        seen(f"cancelled: {ctx.cancelled}")

    @pipeline.step
    def b(input: Track) -> None:
        seen("b")

    run = testing.run(pipeline, Track(track_id="x"), failures={"a": [testing.Cancelled]})
    assert (run.status, [step.status for step in run.steps]) == (
        "cancelled",
        ["cancelled", "pending"],
    )
    assert seen.seen == ["cancelled: True"]


def test_what_production_would_refuse_is_refused() -> None:
    """Q12: every value goes through JSON."""
    pipeline = Pipeline("p", input=Track, retry=Retry(0))

    @pipeline.step
    def a(input: Track) -> dict[str, Any]:
        return {"number": float("nan")}

    run = testing.run(pipeline, Track(track_id="x"))
    assert run.error is not None
    assert (run.status, run.error.type) == ("failed", "taskplatform.core.step.InvalidOutput")
    with pytest.raises(InvalidInput, match="track_id"):
        testing.run(pipeline, {})


def test_an_output_that_the_next_step_cannot_read_parks_the_run() -> None:
    pipeline = Pipeline("p", input=Track)

    @pipeline.step
    def a(input: Track) -> str:
        return "three"

    @pipeline.step
    def b(a: int) -> int:
        return a

    run = testing.run(pipeline, Track(track_id="x"))
    assert (run.status, run.reason) == ("waiting", "parked")
    assert run.waiting_for is not None
    assert "the stored output of step 'a' does not fit" in run.waiting_for


def test_the_runs_own_time_limit_holds() -> None:
    pipeline = Pipeline("p", input=Track, run_timeout="2m", retry=Retry(delays=["1m", "5m"]))

    @pipeline.step
    def a(input: Track) -> None:
        raise ValueError

    run = testing.run(pipeline, Track(track_id="x"))
    assert (run.status, run.elapsed) == ("failed", 120)
    assert run.error is not None
    assert run.error.type == "RunTimeLimitExceeded"
    assert run.step("a").outcomes == ["failed", "failed"]


def test_handlers_are_executed_when_they_are_asked_for(
    enrich: Pipeline[Track], seen: Names
) -> None:
    @on("enrich/task.failed", retry=Retry(1))
    def tell(event: Event) -> str:
        return str(event.data["result"]["message"])

    quiet = testing.run(enrich, Track(track_id="x"), failures={"count": Permanent("no")})
    told = testing.run(
        enrich, Track(track_id="x"), failures={"count": Permanent("no")}, handlers=True
    )
    assert [event.name for event in quiet.events] == ["enrich/task.failed"]
    assert quiet.handlers == []
    assert [one.output for one in told.handlers] == ["no"]


def test_mistyped_failures_name_the_nearest_step(enrich: Pipeline[Track]) -> None:
    with pytest.raises(ValueError, match=r"failures= names 'cuont'.*did you mean 'count'\?"):
        testing.run(enrich, Track(track_id="x"), failures={"cuont": [None]})
    with pytest.raises(ValueError, match="give exceptions"):
        testing.run(enrich, Track(track_id="x"), failures={"count": "x"})  # type: ignore[dict-item]


def test_async_steps_share_one_loop_also_inside_of_an_async_test() -> None:
    pipeline = Pipeline("p", input=Track)
    loops = []

    @pipeline.step
    async def a(input: Track) -> None:
        loops.append(asyncio.get_running_loop())

    @pipeline.step
    async def b(input: Track) -> None:
        loops.append(asyncio.get_running_loop())

    async def inside() -> testing.TestRun:
        return testing.run(pipeline, Track(track_id="x"))

    assert testing.run(pipeline, Track(track_id="x")).status == "succeeded"
    assert asyncio.run(inside()).status == "succeeded"
    assert loops[0] is loops[1]
    assert loops[2] is loops[3]


def test_a_transactional_step_asks_for_a_connection() -> None:
    pipeline = Pipeline("p", input=Track)

    @pipeline.step(transactional=True)
    def a(input: Track, ctx: Context) -> None:
        return None

    with pytest.raises(testing.NotGiven, match=r"'p.a' is transactional: give connection="):
        testing.run(pipeline, Track(track_id="x"))
    with pytest.raises(ValueError, match="connection= is a str: give a psycopg Connection"):
        testing.run(pipeline, Track(track_id="x"), connection="postgresql://")


def test_pytests_own_outcomes_pass_through_a_body() -> None:
    pipeline = Pipeline("p", input=Track)

    @pipeline.step
    def a(input: Track) -> None:
        pytest.skip("no need")

    with pytest.raises(pytest.skip.Exception, match="no need"):
        testing.run(pipeline, Track(track_id="x"))


def test_the_names_are_lazy_and_pytest_collects_none_of_them() -> None:
    found = [getattr(testing, name) for name in testing.__all__]
    assert CoreContext is Context
    assert not [one for one in found if getattr(one, "__test__", False) is True]
    with pytest.raises(AttributeError):
        _ = testing.nothing
