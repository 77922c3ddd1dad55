"""The registry, and what is checked over all pipelines."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.context import Context
from taskplatform.core.event import Event
from taskplatform.core.handlers import handlers, on
from taskplatform.core.pipeline import Declaration
from taskplatform.core.throttle import Throttle
from taskplatform.errors import DeclarationError, PipelineNotFound


class Track(BaseModel):
    track_id: str


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def declare(name: str, throttle: Throttle | None = None) -> Declaration[Track]:
    pipeline = Declaration(name, input=Track)

    @pipeline.step(throttle=throttle)
    def only(input: Track) -> None: ...

    return pipeline


def test_pipelines_are_known_by_name_in_order() -> None:
    second, first = declare("second"), declare("first")
    assert registry.names() == ("second", "first")
    assert registry.all() == (second, first)
    assert registry.get("first") is first
    registry.finalize_all()


def test_two_pipelines_of_one_name_are_an_error_that_says_where() -> None:
    declare("enrich")
    with pytest.raises(DeclarationError, match="'enrich' is declared twice") as caught:
        declare("enrich")
    assert str(caught.value).count(__file__) == 2


def test_an_unknown_name_is_an_error_with_the_nearest_one() -> None:
    declare("enrich-track")
    with pytest.raises(PipelineNotFound, match="did you mean 'enrich-track'"):
        registry.get("enrich_track")
    with pytest.raises(PipelineNotFound, match=r"no pipeline is named 'zzz'$"):
        registry.get("zzz")


def test_throttles_of_one_name_share_one_limit() -> None:
    declare("a", Throttle("api", 10, "1m"))
    declare("b", Throttle("api", 10, 60))
    registry.finalize_all()
    declare("c", Throttle("api", 100, "1m"))
    with pytest.raises(DeclarationError, match=r"pipeline 'c', step 'only': throttle 'api' is 100"):
        registry.finalize_all()


def test_an_event_handler_is_a_hidden_pipeline_of_one_step() -> None:
    """Q26: events that other code can subscribe to."""

    @on("demo/task.failed")
    def notify_owner(event: Event, ctx: Context) -> None: ...

    @on("demo/task.failed", timeout="10s", queue="mail")
    def write_down(input: Event) -> str:
        return input.name

    registry.finalize_all()
    found = handlers("demo/task.failed")
    assert [one.name for one in found] == [
        "on:demo/task.failed:notify-owner",
        "on:demo/task.failed:write-down",
    ]
    assert (found[1].timeout, found[1].queue) == (10.0, "mail")
    assert found[0].steps[0].parameters == ("event", "ctx")
    assert handlers("demo/task.completed") == ()
    assert handlers("demo/task") == ()


def test_a_handler_is_given_the_event() -> None:
    @on("demo/task.failed")
    def name(event: Event) -> str:
        return event.name

    (pipeline,) = handlers("demo/task.failed")
    event, stored = pipeline.accept(
        {
            "id": "01900000-0000-7000-8000-000000000001",
            "name": "demo/task.failed",
            "run_id": "01900000-0000-7000-8000-000000000002",
            "pipeline": "demo",
            "at": "2026-01-01T00:00:00Z",
            "data": {"error": "x"},
        }
    )
    assert pipeline.steps[0].call(stored, {}, Context()) == "demo/task.failed"
    assert pipeline.steps[0].call(event, {}, Context()) == "demo/task.failed"


def test_a_wrong_handler_is_an_error() -> None:
    def twice(event: Event) -> None: ...

    on("a/b")(twice)
    with pytest.raises(DeclarationError, match="declared twice"):
        on("a/b")(twice)
    for event in ("", "a b", "a:b"):
        with pytest.raises(DeclarationError, match="name"):
            on(event)(twice)

    on("c/d")(lambda_like)
    with pytest.raises(DeclarationError, match="bound to 'event'"):
        registry.finalize_all()


def lambda_like(message: Event) -> None: ...
