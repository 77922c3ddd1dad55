"""What a person sees of a run with branches, items, children, compensations and logs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from taskplatform.cli.run_page import page
from taskplatform.cli.watching import _Lines
from taskplatform.client.view import RunView
from taskplatform.core.ids import uuid7

NOW = datetime.now(UTC)


def shown(*steps: dict[str, Any], **more: Any) -> str:
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(page(view(*steps, **more)))
    return capture.get()


def view(*steps: dict[str, Any], **more: Any) -> RunView:
    run = {
        "id": uuid7(),
        "pipeline": "p",
        "key": None,
        "owner": None,
        "status": "running",
        "reason": None,
        "due_at": None,
        "waiting_for": None,
        "priority": 0,
        "input": {},
        "output": None,
        "error": None,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": None,
        "replay_of": None,
        **more,
        "steps": [{"input": None, "output": None, "attempts": [], **step} for step in steps],
    }
    return RunView.model_validate(run)


def attempt(number: int, outcome: str, **more: Any) -> dict[str, Any]:
    error = {"type": "ValueError", "message": f"no {number}"} if outcome == "failed" else None
    return {
        "number": number,
        "started_at": NOW,
        "finished_at": NOW + timedelta(seconds=number),
        "outcome": outcome,
        "error": error,
        "worker": None,
        **more,
    }


def items(count: int, failed: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "name": f"each[{number}]",
            "status": "failed" if number < failed else "succeeded",
            "output": number,
        }
        for number in range(count)
    ]


def test_ten_thousand_items_are_a_line_and_those_that_failed() -> None:
    """The rest is in the JSON."""
    text = shown({"name": "each", "status": "succeeded"}, *items(10_000, failed=12))
    assert "succeeded: 9,988 done, 12 failed" in text
    assert text.count("each[") == 10
    assert "each[12]" not in text


def test_few_items_are_a_line_each() -> None:
    text = shown({"name": "each", "status": "succeeded"}, *items(3, failed=1))
    assert "2 done, 1 failed" in text
    assert text.count("each[") == 3


def test_each_branch_says_what_it_waits_for() -> None:
    """A group whose members wait for different things."""
    text = shown(
        {"name": "nap", "status": "waiting", "reason": "sleep", "due_at": NOW + timedelta(days=3)},
        {
            "name": "yes",
            "status": "waiting",
            "reason": "event",
            "waiting_for": "event order.approved (id=7)",
        },
        status="waiting",
        reason="event",
        waiting_for="event order.approved (id=7)",
    )
    assert "waiting (sleep, in 2 d 23 h" in text or "waiting (sleep, in 3 d" in text
    assert "waiting (event order.approved (id=7))" in text
    assert "events send order.approved --data" in text


def test_progress_is_shown_while_the_body_executes() -> None:
    progress = {"done": 40, "total": 100}
    text = shown({"name": "copy", "status": "running", "progress": progress})
    assert "running 40/100 (40 %)" in text


def test_the_runs_above_and_below_are_named_in_full() -> None:
    parent, child = uuid7(), uuid7()
    text = shown(
        {"name": "enrich", "status": "waiting", "reason": "children", "child_run": child},
        parent_run=parent,
        children=[child],
    )
    assert f"child of {parent}" in text
    assert f"{child}  enrich" in text


def test_the_end_of_a_log_is_shown() -> None:
    """Ten lines of it, and where the rest is."""
    log = "\n".join(f"line {number}" for number in range(30))
    text = shown(
        {
            "name": "one",
            "status": "succeeded",
            "log": log,
            "attempts": [attempt(2, "succeeded", log=log)],
        }
    )
    assert "one, attempt 2" in text
    assert "line 29" in text
    assert "line 19" not in text
    assert "-o json` has all" in text


def test_the_error_is_that_of_the_step_that_failed() -> None:
    """Not of its compensations, and also if no attempt was made."""
    error = {"type": "ValueError", "message": "no 1", "step": "pay"}
    undo = {
        "name": "book:compensate",
        "status": "waiting",
        "attempts": [attempt(7, "failed")],
    }
    failed = {"name": "pay", "status": "failed", "attempts": [attempt(1, "failed")]}
    text = shown({"name": "book", "status": "succeeded"}, failed, undo, error=error)
    assert "ValueError: no 1\n  in step pay, attempt 1 (failed)" in text
    assert "no 7" not in text
    assert "ValueError: no 1" in shown({**failed, "attempts": []}, error=error)


def test_a_collected_error_is_not_the_runs() -> None:
    failed = {"name": "each[0]", "status": "failed", "output": {"index": 0}}
    text = shown(
        {"name": "each", "status": "running"}, {**failed, "attempts": [attempt(1, "failed")]}
    )
    assert "no 1" not in text


def test_a_compensated_run_is_not_offered_what_is_refused() -> None:
    """Its retry, and a replay that reuses what was undone."""
    text = shown(
        {"name": "book", "status": "succeeded"},
        {"name": "pay", "status": "failed"},
        {"name": "book:compensate", "status": "succeeded"},
        status="failed",
        finished_at=NOW,
        error={"type": "ValueError", "message": "no", "step": "pay"},
    )
    assert "runs replay" in text
    assert "runs retry" not in text
    assert "--from" not in text


def test_watching_tells_progress_and_counts_instead_of_thousands_of_items() -> None:
    """A line when something changed, and none when it did not."""
    console = Console(width=200, highlight=False)
    lines = _Lines(console)
    with console.capture() as capture:
        for done in (1, 1, 2):
            progress = {"done": done, "total": 4}
            lines(view({"name": "copy", "status": "running", "progress": progress}))
        for failed in (0, 0, 7):
            lines(view({"name": "each", "status": "running"}, *items(300, failed=failed)))
    told = [line.partition("Z   ")[2] for line in capture.get().splitlines() if "Z   " in line]
    assert told == [
        "copy progress: 1/4 (25 %)",
        "copy progress: 2/4 (50 %)",
        "each items: 300 done",
        "each items: 293 done, 7 failed",
    ]
