"""What a message of a canvas carries, and what becomes of it while the database is away."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import orjson
import pytest
from celery import Celery
from celery.exceptions import Retry
from pydantic import BaseModel

from taskplatform import Pipeline
from taskplatform.celery import messages, tails
from taskplatform.celery.canvas import canvas
from taskplatform.core import registry
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import DeclarationError, InvalidInput, Unavailable

APP = Celery("some", set_as_current=False, broker="memory://")


class Nothing(BaseModel):
    """An input."""


@pytest.fixture
def declared() -> Any:
    """A pipeline of a step, a group, a sleep and a step on a queue of its own."""
    known = dict(registry._declared)
    made = Pipeline("messages.tried", input=Nothing)

    @made.step
    def first(input: Nothing) -> int:
        return 1

    @made.step(group="both")
    def left(first: int) -> int:
        return 1

    @made.step(group="both")
    def right(first: int) -> int:
        return 1

    made.sleep("a-while", "1h")

    @made.step(queue="far")
    def last(left: int, right: int) -> int:
        return 1

    yield made
    registry._declared.clear()
    registry._declared.update(known)


def names(signatures: Any) -> list[str]:
    return [one["task"] for one in signatures]


def task_of(following: list[Any]) -> Any:
    request = SimpleNamespace(chain=following[::-1], root_id="root", id="this")
    return SimpleNamespace(app=APP, request=request)


def test_a_canvas_has_an_immutable_message_for_each_stage_with_a_body(
    declared: Declaration[Any, Any],
) -> None:
    run = uuid4()
    made = canvas(APP, declared, run)
    assert names(made.tasks) == [f"messages.tried.{name}" for name in ("first", "left", "last")]
    assert all(one.immutable and one.kwargs == {"run_id": str(run)} for one in made.tasks)
    assert [one.options["queue"] for one in made.tasks] == ["taskplatform", "taskplatform", "far"]


def test_a_pipeline_without_a_body_has_no_canvas() -> None:
    known = dict(registry._declared)
    try:
        made = Pipeline("messages.asleep", input=Nothing)
        made.sleep("a-while", "1h")
        with pytest.raises(DeclarationError, match="no step with a body"):
            canvas(APP, made, uuid4())
    finally:
        registry._declared.clear()
        registry._declared.update(known)


def test_what_follows_the_run_is_told_from_its_own_signatures(
    declared: Declaration[Any, Any],
) -> None:
    run, other = uuid4(), uuid4()
    following = [
        *canvas(APP, declared, run).tasks,
        APP.signature("after", args=(1,)),
        *canvas(APP, declared, other).tasks,
    ]
    own, tail = tails.split(task_of(following), declared.name, run)
    assert names(own[::-1]) == names(following[:3])
    assert tail is not None
    kept = orjson.loads(tail)
    assert names(kept["chain"][::-1]) == names(following[3:])
    assert (kept["app"], kept["root"], kept["parent"]) == ("some", "root", "this")
    assert tails.split(task_of(own[::-1]), declared.name, run) == (own, None)


def test_a_message_that_cannot_store_what_follows_comes_back_with_it(
    declared: Declaration[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uuid4()
    task = task_of([APP.signature("after")])

    def again(*, exc: Exception, countdown: float, max_retries: None) -> Retry:
        assert isinstance(exc, Unavailable)
        return Retry()

    task.retry = again
    monkeypatch.setattr(messages, "current_child", lambda _: Away())
    with pytest.raises(Retry):
        messages.receive(task, declared.name, "first", run)
    assert names(task.request.chain) == ["after"]


class Away:
    """A child without a database."""

    lock = nullcontext()

    @property
    def connection(self) -> Any:
        """Not to be had."""
        raise Unavailable("away")


def test_hold_goes_with_no_other_time(declared: Any) -> None:
    with pytest.raises(InvalidInput, match="hold=True"):
        declared.enqueue({}, hold=True, delay="1m")
