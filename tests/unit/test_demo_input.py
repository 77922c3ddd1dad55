"""Q26: the input of the demo."""

import pytest
from pydantic import ValidationError

from pipelines.demo import STEPS, DemoTask
from pipelines.scrape import Source


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({}, None),
        ({"simulate_failure": True}, "simulate-api-call"),
        ({"fail_at_step": None}, None),
        ({"fail_at_step": 2, "simulate_failure": True}, "process"),
        *(({"fail_at_step": number}, name) for number, name in enumerate(STEPS, start=1)),
        *(({"fail_at_step": name}, name) for name in STEPS),
    ],
)
def test_the_step_that_is_to_fail(fields: dict[str, object], step: str | None) -> None:
    task = DemoTask.model_validate({"task_id": "t"} | fields)
    assert task.failing_step == step
    assert DemoTask.model_validate_json(task.model_dump_json()).failing_step == step


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task_id": ""}, "task_id"),
        ({"priority": 100}, "-300, 0 or 300"),
        ({"priority": "300"}, "-300, 0 or 300"),
        ({"fail_at_step": 0}, "1 to 5 or one of initialize"),
        ({"fail_at_step": 6}, "1 to 5"),
        ({"fail_at_step": True}, "1 to 5"),
        ({"fail_at_step": "nonsense"}, "1 to 5"),
        ({"delay_ms": -1}, "delay_ms"),
        ({"delay_ms": 600_001}, "delay_ms"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_input_is_named(fields: dict[str, object], message: str) -> None:
    """W12."""
    with pytest.raises(ValidationError, match=message):
        DemoTask.model_validate({"task_id": "t"} | fields)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://", "http://u:p@h/", "nonsense", "http://h/\n", "http://[x"],
)
def test_a_source_that_cannot_be_fetched_is_refused_at_the_door(url: str) -> None:
    """W12."""
    with pytest.raises(ValidationError, match="url"):
        Source(url=url)


def test_two_owners_may_scrape_one_page() -> None:
    keys = {Source(url="http://site.example/", owner=owner).key for owner in (None, "a", "b")}
    assert len(keys) == 3
