"""The scenes: the main job, a failure and its retry, a killed worker, real pages."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from taskplatform.cli.tour.stage import Stage
from taskplatform.client.pipeline import Pipeline
from taskplatform.client.view import RunView
from taskplatform.core import registry
from taskplatform.core.run import FINAL

STEPS = ("initialize", "process", "simulate-delay", "call-api", "finalize")


def main_job(stage: Stage, stamp: str) -> UUID:
    """A run of five steps; each output is stored before the next step starts."""
    stage.scene("1  A run of five steps")
    run = _pipeline("demo").enqueue({"task_id": f"demo-{stamp}"})
    view = stage.follow(run, _ended, 30)
    for step in view.steps:
        stage.say(f"{step.name.ljust(18)} → {_short(step.output)}")
    stored = sum(1 for step in view.steps if step.output is not None)
    took = (view.finished_at - view.started_at).total_seconds() if _timed(view) else 0.0  # type: ignore[operator]
    stage.check(f"five outputs are stored; the run took {took * 1000:.0f} ms", stored == 5)
    return run.id


def failure(stage: Stage, stamp: str, api_url: str) -> str:
    """A step fails; the retry goes on from there."""
    stage.scene("2  A step fails, and is retried")
    stage.say("Step 4 calls an interface that is down. `demo` would try again after 5 min, 15 min,")
    stage.say("1 h, 4 h and 14 h; this pipeline's delays are shortened to 2 s, to be watched.")
    task = f"failing-{stamp}"
    run = _pipeline("tour").enqueue(
        {"task_id": task, "ledger": str(stage.ledger), "api_url": api_url}
    )
    waiting = stage.follow(run, lambda view: view.status == "waiting", 30)
    error = waiting.steps[3].attempts[-1].error
    stage.say(f"step 4 failed: {error.message if error else ''}")
    stage.say("the interface is up again; the run goes on by itself when its delay has passed")
    view = stage.follow(run, _ended, 30)
    done = stage.executed(task)
    stage.check("the run succeeded", view.status == "succeeded")
    stage.check("steps 1 to 3 were executed once", [done[s] for s in STEPS[:3]] == [1, 1, 1])
    stage.check("step 4 was executed twice", done["call-api"] == 2)
    return task


def crash(stage: Stage, stamp: str) -> str:
    """A worker is killed in the middle of a step; another one goes on."""
    stage.scene("3  A worker is killed with -9 in the middle of a run")
    task = f"killed-{stamp}"
    run = _pipeline("tour").enqueue({"task_id": task, "ledger": str(stage.ledger), "seconds": 120})
    stage.follow(run, lambda view: stage.began(task) and bool(view.steps[2].attempts), 30)
    worker = (run.view().steps[2].attempts[-1].worker or "").partition("@")[0]
    killed = time.monotonic()
    stage.kill_worker(worker)
    stage.say(f"killed worker {worker} and all its processes in step 3; nobody is told")
    stage.say("its lease runs out after 15 s; then the other worker goes on from step 3")
    view = stage.follow(run, _ended, 45)
    took = time.monotonic() - killed
    done = stage.executed(task)
    stage.check("the run succeeded on the other worker", view.status == "succeeded")
    stage.check(f"it was done {took:.1f} s after the kill (promised: resumed in 20 s)", took < 21)
    stage.check("steps 1 and 2 were not executed again", [done[s] for s in STEPS[:2]] == [1, 1])
    return task


def scrape(stage: Stage, page_url: str, feed_url: str) -> None:
    """A real page and a real feed, each document stored once."""
    stage.scene("4  Real work: a web page and a feed from a local server")
    for kind, url in (("page", page_url), ("feed", feed_url)):
        for again in (False, True):
            run = _pipeline("scrape").enqueue({"url": url, "kind": kind}, force=True)
            view = stage.follow(run, _ended, 60) if not again else _quietly(run)
            output = view.output if isinstance(view.output, Mapping) else {}
            new, known = output.get("new", 0), output.get("known", 0)
            if again:
                stage.check(f"the {kind} again: nothing stored twice ({known} known)", new == 0)
            else:
                stage.check(f"the {kind}: {new} new document(s), {known} known", new + known > 0)


def _quietly(run: Any) -> RunView:
    view: RunView = run.wait(timeout=60).view()
    return view


def _pipeline(name: str) -> Pipeline[Any]:
    found = registry.get(name)
    assert isinstance(found, Pipeline)
    return found


def _ended(view: RunView) -> bool:
    return view.status in FINAL


def _timed(view: RunView) -> bool:
    return view.started_at is not None and view.finished_at is not None


def _short(output: object) -> str:
    text = str(output)
    return text if len(text) <= 76 else text[:75] + "…"
