"""The final dump: what the tables say once the storm is over, in a form that needs no database."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskplatform.core import registry
from taskplatform.core.shapes import Kind
from taskplatform.core.step import Step
from taskplatform.storage import audit
from taskplatform.storage.connection import Session
from taskplatform.verify.judge.fingerprint import fingerprint

Anchor = dict[str, float]
_TRIES = 5
# A dump is read once, by statements that may look at every row there is.
_FREE = "SET statement_timeout = '10min'"


def anchor(connection: Session) -> Anchor:
    """One moment on both clocks: `mono` in ns, `wall` in s of the database clock."""
    best: tuple[int, Anchor] | None = None
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        wall = audit.clock(connection)
        trip = time.monotonic_ns() - before
        if best is None or trip < best[0]:
            best = trip, {"mono": before + trip // 2, "wall": wall}
    assert best is not None
    return best[1]


def dump(connection: Session, folder: Path, anchors: Sequence[Anchor]) -> dict[str, Any]:
    """Write dump.json into the folder, and answer what is in it.

    `anchors` were taken since the start; the last is taken here. The pipelines are those that
    this process has declared.
    """
    connection.execute(_FREE)
    tables = {name: [_told(row) for row in audit.rows(connection, name)] for name in audit.TABLES}
    found = {
        "plans": {one.name: _plan(one.stages) for one in registry.all()},
        "limits": _limits(),
        "concurrency": {},
        "ticks": [],
        **tables,
        "held": audit.held(connection),
        "stuck": audit.stuck(connection),
        "refused": audit.refused(connection),
        "anchors": [*anchors, anchor(connection)],
    }
    whole = folder / "dump.json.new"
    whole.write_text(json.dumps(found))
    whole.rename(folder / "dump.json")
    return found


def _told(row: dict[str, Any]) -> dict[str, Any]:
    if "output" not in row:
        return row
    output = row.pop("output")
    return {**row, "fingerprint": fingerprint(json.loads(output))}


def _plan(stages: Sequence[Sequence[Step]]) -> list[list[str]]:
    return [
        [f"{step.name}[]" if step.kind is Kind.MAP else step.name for step in stage]
        for stage in stages
    ]


def _limits() -> dict[str, dict[str, float]]:
    return {
        throttle.name: {"limit": throttle.limit, "per": throttle.per}
        for declaration in registry.all()
        for step in declaration.steps
        for throttle in step.throttles
    }
