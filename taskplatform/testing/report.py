"""From a run that was simulated to what its test looks at."""

import json
from datetime import timedelta
from typing import Any

from pydantic_core import from_json

from taskplatform.core.event import Event
from taskplatform.core.ids import uuid7
from taskplatform.core.sealing import opened
from taskplatform.core.segments import output_steps
from taskplatform.testing.ends import Waiting
from taskplatform.testing.record import TestRun
from taskplatform.testing.simulation import Simulation


def report(run: Simulation) -> TestRun[Any]:
    """What the run came to."""
    names = output_steps(run.declaration)
    outputs = {
        step.name: step.output.decode(run.outputs[step.name])
        for step in run.declaration.steps
        if step.name in run.outputs
    }
    end, failing = run.end, run.failing
    status = _status(run)
    result = None
    if status == "succeeded":
        result = outputs[names[0]] if len(names) == 1 else {name: outputs[name] for name in names}
    return TestRun(
        id=run.id,
        pipeline=run.declaration.name,
        status=status,
        reason=end.reason if isinstance(end, Waiting) else None,
        waiting_for=end.why if isinstance(end, Waiting) else None,
        error=failing.failure if failing else None,
        failed_step=failing.step if failing else None,
        steps=list(run.records.values()),
        outputs=outputs,
        elapsed=run.world.clock.now - run.began,
        events=events(run),
        children=run.children,
        handlers=[],
        result=result,
        cause=end.cause if end else None,
    )


def stored_output(run: Simulation) -> bytes:
    """The output of a run that has succeeded, as it would be stored."""
    names = output_steps(run.declaration)
    if len(names) == 1:
        return run.outputs[names[0]]
    parts = (b"%s:%s" % (json.dumps(name).encode(), run.outputs[name]) for name in names)
    return b"{%s}" % b",".join(parts)


def events(run: Simulation) -> list[Event]:
    """What its handlers are told when it has ended."""
    status = _status(run)
    data: dict[str, Any] = {"input": from_json(opened(run.input))}
    if status == "succeeded":
        what, data["result"] = "task.completed", from_json(opened(stored_output(run)))
    elif status == "failed" and run.failing is not None:
        what = "task.failed"
        data["result"] = json.loads(run.failing.failure.encode(run.failing.step))
    else:
        return []
    return [
        Event(
            id=uuid7(),
            name=f"{run.declaration.name}/{what}",
            run_id=run.id,
            pipeline=run.declaration.name,
            at=run.world.given.now + timedelta(seconds=run.world.clock.now),
            data=data,
        )
    ]


def _status(run: Simulation) -> str:
    return "succeeded" if run.end is None else run.end.status
