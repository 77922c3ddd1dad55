"""What is shown of a run of all shapes while it rests and when it has ended."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from taskplatform import Run, get_run
from taskplatform.testing import advance
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import ROOT, wait_for, worker
from tests.acceptance.shapes import shaped

Env = dict[str, str]
MODULE = "tests.acceptance.shapes"


def _call(env: Env, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "taskplatform", *arguments],
        env={**os.environ, **env, "TASKPLATFORM_PIPELINES": MODULE},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def _show(env: Env, run: Run) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    view = json.loads(_call(env, "runs", "show", str(run.id), "-o", "json"))
    return view, {step["name"]: step for step in view["steps"]}


def _rests(run: Run) -> bool:
    view = run.view()
    # Two of the group may rest while nobody has come to the third.
    return view.status == "waiting" and sum(step.status == "waiting" for step in view.steps) == 2


def test_a_run_of_all_shapes_is_shown_at_rest_and_at_its_end(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """Items, members of a group that rest, the child, the group's output; the event is sent."""
    with worker({**env, "TASKPLATFORM_PIPELINES": MODULE}, log):
        run = shaped.enqueue({"ledger": ledger.path, "id": "a"})
        wait_for(lambda: _rests(run), 30, "it rests")
        view, steps = _show(env, run)
        assert view["status"] == "waiting"
        assert [steps[f"each[{n}]"]["status"] for n in range(3)] == [
            "succeeded",
            "failed",
            "succeeded",
        ]
        assert [steps[f"each[{n}]"]["input"] for n in range(3)] == [0, 1, 2]
        assert "item 2" in steps["each[2]"]["log"]
        assert steps["each"]["output"][1]["message"] == "one is none"
        assert (steps["nap"]["reason"], steps["approval"]["reason"]) == ("sleep", "event")
        assert steps["nap"]["due_at"] is not None
        assert "order.approved" in steps["approval"]["waiting_for"]
        page = _call(env, "runs", "show", str(run.id))
        assert "2 done, 1 failed" in page
        assert "events send order.approved" in page
        _call(env, "events", "send", "order.approved", "--data", '{"id": "a", "by": "ada"}')
        advance("3d")
        run.wait(timeout=30)
        view, steps = _show(env, run)
        assert view["output"] == {"one": "ada", "two": 2}
        assert view["children"] == [steps["enrich"]["child_run"]]
        again = run.replay("one")
        again.wait(timeout=30)
        view_again, reused = _show(env, again)
        assert view_again["output"] == view["output"]
        assert {reused[name]["status"] for name in ("listed", "each", "nap", "enrich")} == {
            "reused"
        }
        assert "each[0]" not in reused
        child = get_run(view["children"][0]).view()
        assert (child.parent_run, child.status) == (run.id, "succeeded")
        assert {step["status"] for name, step in steps.items() if name != "each[1]"} == {
            "succeeded"
        }


def test_a_compensated_run_shows_what_was_undone(env: Env, ledger: Ledger, log: Path) -> None:
    """And is not replayed from behind it."""
    with worker({**env, "TASKPLATFORM_PIPELINES": MODULE}, log):
        run = shaped.enqueue({"ledger": ledger.path, "id": "a", "do": "fail"})
        wait_for(lambda: _rests(run), 30, "it rests")
        _call(env, "events", "send", "order.approved", "--data", '{"id": "a", "by": "ada"}')
        advance("3d")
        run.wait(timeout=30)
    view, steps = _show(env, run)
    assert (view["status"], view["error"]["step"]) == ("failed", "one")
    assert (steps["one"]["status"], steps["listed:compensate"]["status"]) == ("failed", "succeeded")
    page = _call(env, "runs", "show", str(run.id))
    assert "RuntimeError: no" in page
    assert "runs retry" not in page
    assert "--from" not in page


def test_a_run_of_thousands_of_items_is_shown_in_a_moment(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """The page counts them, the JSON has them all."""
    many = 5000
    with worker({**env, "TASKPLATFORM_PIPELINES": MODULE}, log):
        run = shaped.enqueue({"ledger": ledger.path, "id": "a", "many": many})
        wait_for(lambda: _rests(run), 90, "it rests")
    began = time.monotonic()
    view = run.view()
    assert len([step for step in view.steps if step.item_of == "each"]) == many
    assert time.monotonic() - began < 5
    page = _call(env, "runs", "show", str(run.id))
    assert f"{many - 1:,} done, 1 failed" in page
    assert len(page.splitlines()) < 80
