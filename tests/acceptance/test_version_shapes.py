"""Pipelines of all shapes change between two starts of a worker, while runs are on their way."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskplatform import Run, get_run, send_event
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import ROOT, wait_for, worker

Env = dict[str, str]
BEFORE = "tests.acceptance.versions.shapes_before"
AFTER = "tests.acceptance.versions.shapes_after"
ENQUEUE = """
import json, sys
from importlib import import_module
from taskplatform.core import registry
module, ledger, *names = sys.argv[1:]
import_module(module)
made = {name: str(registry.get(name).enqueue({"ledger": ledger, "id": name}).id) for name in names}
print(json.dumps(made))
"""
RETRY = """
import sys
from taskplatform import get_run
for id in sys.argv[1:]:
    get_run(id).retry()
"""


def _python(env: Env, code: str, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **env},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def _begin(env: Env, ledger: Ledger, log: Path, names: Sequence[str]) -> dict[str, Run]:
    """Enqueue with the old code, and let each run come to where it waits for a retry."""
    with worker({**env, "TASKPLATFORM_PIPELINES": BEFORE}, log):
        made = json.loads(_python(env, ENQUEUE, BEFORE, ledger.path, *names))
        runs = {name: get_run(id) for name, id in made.items()}
        for name, run in runs.items():
            wait_for(lambda run=run: _waits(run), 30, f"{name} waits")  # type: ignore[misc]
    return runs


def _waits(run: Run) -> bool:
    view = run.view()
    opened = [one.status for one in view.steps if one.status in ("running", "pending")]
    return view.status == "waiting" and "running" not in opened


def _plans(env: Env) -> dict[str, Any]:
    """What the new code would do, by pipeline."""
    done = subprocess.run(
        [sys.executable, "-m", "taskplatform", "pipelines", "plan", "-o", "jsonl"],
        env={**os.environ, **env, "TASKPLATFORM_PIPELINES": AFTER},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    plans = [json.loads(line) for line in done.stdout.splitlines()]
    return {plan["pipeline"]: plan for plan in plans}


def _deploy(
    env: Env, ledger: Ledger, log: Path, names: Sequence[str]
) -> tuple[dict[str, Run], dict[str, Counter[str]]]:
    """Go on with the new code; the runs, and how often which step's body started from then on.

    What the plan said that would execute is compared with what did.
    """
    runs = _begin(env, ledger, log, names)
    plans = _plans(env)
    seen = len(ledger.lines())
    _python(env, RETRY, *(run.id for run in runs.values()))
    with worker({**env, "TASKPLATFORM_PIPELINES": AFTER}, log):
        for name, run in runs.items():
            what = f"{name} succeeded; the worker said\n{log.read_text()[-3000:]}"
            wait_for(lambda run=run: run.refresh().status == "succeeded", 30, what)  # type: ignore[misc]
    executed: dict[str, Counter[str]] = {name: Counter() for name in names}
    for order, what, *_ in ledger.lines()[seen:]:
        if what.startswith("start:"):
            executed[order][what.removeprefix("start:")] += 1
    for name in names:
        steps = {step.partition("[")[0] for step in executed[name]}
        assert set(plans[name]["execute"]) == steps, name
        assert plans[name]["park"] == []
    return runs, executed


def test_steps_added_removed_renamed_reordered_and_raised(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """Q19: what is stored under a name that still exists is reused, all else is executed once."""
    names = ["added", "removed", "renamed", "reordered", "raised", "passed"]
    _, executed = _deploy(env, ledger, log, names)
    assert executed == {
        "added": {"zero": 1, "middle": 1, "gate": 1},
        "removed": {"gate": 1},
        "renamed": {"new": 1, "gate": 1},
        "reordered": {"c": 1},
        "raised": {"first": 1, "gate": 1},
        "passed": {"gate": 1},
    }


def test_groups_that_become_sequences_and_others(env: Env, ledger: Ledger, log: Path) -> None:
    """Members that are done stay done; new ones are executed; removed ones are not waited for."""
    names = ["to-group", "to-sequence", "member-added", "member-removed"]
    runs, executed = _deploy(env, ledger, log, names)
    assert executed == {
        "to-group": {"right": 1},
        "to-sequence": {"right": 1, "last": 1},
        "member-added": {"right": 1, "extra": 1, "end": 1},
        "member-removed": {"end": 1},
    }
    assert set(runs["to-group"].output) == {"left", "right"}


def test_maps_that_become_plain_steps_and_others(env: Env, ledger: Ledger, log: Path) -> None:
    """Items that are done stay done; an item that fails is treated by the new code."""
    names = ["to-plain", "to-map", "to-map-done", "options"]
    runs, executed = _deploy(env, ledger, log, names)
    assert executed == {
        "to-plain": {"each": 1},
        "to-map": {"each[0]": 1, "each[1]": 1, "each[2]": 1},
        "to-map-done": {"gate": 1},
        "options": {"each[1]": 1, "each[2]": 1, "end": 1},
    }
    assert runs["to-map"].output == ["x", "y", "z"]
    assert runs["to-map-done"].output == ["whole"]
    error = {"index": 1, "type": "ValueError", "message": "never good enough"}
    assert runs["options"].output == ["x", error, "z"]


def test_an_item_that_new_code_cannot_read(env: Env, ledger: Ledger, log: Path) -> None:
    """It is parked with the reason; with code that fits it is executed, and no other."""
    runs = _begin(env, ledger, log, ["items"])
    _python(env, RETRY, runs["items"].id)
    unreadable = "tests.acceptance.versions.shapes_unreadable"
    with worker({**env, "TASKPLATFORM_PIPELINES": unreadable}, log):
        wait_for(lambda: runs["items"].refresh().reason == "parked", 30, "it is parked")
    parked = next(one for one in runs["items"].view().steps if one.name == "each[1]")
    assert (parked.status, parked.reason) == ("waiting", "parked")
    assert "a stored item does not fit" in (parked.waiting_for or "")
    _python(env, RETRY, runs["items"].id)
    with worker({**env, "TASKPLATFORM_PIPELINES": AFTER}, log):
        wait_for(lambda: runs["items"].refresh().status == "succeeded", 30, "it succeeded")
    assert runs["items"].output == ["x", "y", "z"]
    counts = [ledger.count(f"start:each[{number}]")["items"] for number in range(3)]
    assert counts == [1, 2, 1]


def test_a_wait_that_is_gone_still_needs_its_event(env: Env, ledger: Ledger, log: Path) -> None:
    """The plan says so; when the event has come, the run goes on by the new code."""
    run = _begin(env, ledger, log, ["wait-removed"])["wait-removed"]
    note = "it stands at approval, and goes on when the event comes"
    assert _plans(env)["wait-removed"]["note"] == note
    with worker({**env, "TASKPLATFORM_PIPELINES": AFTER}, log):
        send_event("parts.approved", {"id": "wait-removed"})
        wait_for(lambda: run.refresh().status == "succeeded", 30, "it succeeded")
    assert ledger.count("start:begin") == ledger.count("start:end") == {"wait-removed": 1}
