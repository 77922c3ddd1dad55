"""The dump: what the platform has stored in the end, in the judge's words."""

import json
from pathlib import Path
from time import monotonic_ns
from typing import Any

from taskplatform.core import registry
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step
from taskplatform.storage import audit
from taskplatform.storage.connection import Session
from taskplatform.verify.judge.fingerprint import fingerprint

Anchor = dict[str, float]
_TRIES = 20
_BODIES = (Kind.BODY, Kind.MAP)


def anchor(connection: Session) -> Anchor:
    """One moment on both clocks: of twenty readings the one that took the least time."""
    best = None
    for _ in range(_TRIES):
        before = monotonic_ns()
        wall = audit.now(connection)
        after = monotonic_ns()
        if best is None or after - before < best[0]:
            best = after - before, {"mono": (before + after) // 2, "wall": wall}
    assert best is not None
    return best[1]


def write(connection: Session, folder: Path, began: Anchor) -> None:
    """Write dump.json; `began` is the anchor from before the first run."""
    rows = {name: audit.rows(connection, name) for name in audit.PARTS}
    for one in (*rows["results"], *rows["commits"]):
        one["fingerprint"] = fingerprint(json.loads(one.pop("output")))
    dump: dict[str, Any] = {
        "anchors": [began, anchor(connection)],
        "plans": plans(),
        "limits": limits(),
        "held": audit.held(connection),
        "stuck": audit.stuck(connection),
        "refused": audit.refused(connection),
        "deadlocks": audit.deadlocks(connection),
        **rows,
    }
    (folder / "dump.json").write_text(json.dumps(dump))


def plans() -> dict[str, list[list[str]]]:
    """The stages of all pipelines of this process, those without a body left out."""
    return {
        one.name: [
            [_named(step) for step in stage if step.kind in _BODIES]
            for stage in one.stages
            if any(step.kind in _BODIES for step in stage)
        ]
        for one in registry.all()
    }


def _named(step: Step) -> str:
    return f"{step.name}[]" if step.kind is Kind.MAP else step.name


def limits() -> dict[str, dict[str, float]]:
    """The throttles of all pipelines of this process."""
    return {
        throttle.name: {"limit": throttle.limit, "per": throttle.per}
        for one in registry.all()
        for step in one.steps
        for throttle in step.throttles
    }
