"""Children that sleep through the end of their lease, in the middle of a body, and then go on.

CHAOS_PAUSES says how many (200).
"""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from taskplatform import Run, enqueue_many
from tests.acceptance.processes import Worker, wait_for, worker
from tests.chaos.five import Order, five
from tests.chaos.seen import Seen

PAUSES = int(os.environ.get("CHAOS_PAUSES", "200"))
AT_ONCE = 100
REFUSED = "SELECT coalesce(sum(stale_writes_refused), 0) FROM taskplatform.workers"
EPOCHS = """
SELECT run_id, epoch FROM taskplatform.step_results WHERE step_name = 'clean'
"""


@pytest.mark.timeout(120 + PAUSES * 2)
def test_the_paused_commit_nothing(env: dict[str, str], seen: Seen, log: Path) -> None:
    """G3, G4: no write of a paused child is accepted; each is refused, and counted."""
    paused: dict[UUID, int] = {}
    with (
        worker(env, log, "-c", str(AT_ONCE + 4)) as one,
        psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database,
    ):
        while len(paused) < PAUSES:
            paused |= _a_round(one, seen, len(paused), min(AT_ONCE, PAUSES - len(paused)))

        def refused() -> int:
            row = database.execute(REFUSED).fetchone()
            return int(row[0]) if row else 0

        wait_for(lambda: refused() >= PAUSES, 30, f"{PAUSES} refused, not {refused()}")
        committed: dict[UUID, int] = dict(database.execute(EPOCHS).fetchall())
        late = refused()
    stale = [run for run, epoch in paused.items() if committed[run] <= epoch]
    print(f"{PAUSES} pauses: {late} late writes refused and counted, {len(stale)} committed")
    assert stale == []
    assert late == PAUSES


def _a_round(one: Worker, seen: Seen, first: int, many: int) -> dict[UUID, int]:
    """Pause that many children in their bodies until others have done their work."""
    plan = {"clean": (1.5, "")}
    orders = [
        Order(folder=str(seen.folder), number=first + place, plan=plan) for place in range(many)
    ]
    runs = enqueue_many(five, orders)
    ids = {str(run.id) for run in runs}

    def bodies() -> list[dict[str, Any]]:
        found = seen.lines(event="start", step="clean")
        return [line for line in found if line["run"] in ids]

    stopped: dict[UUID, int] = {}
    pids: set[int] = set()
    try:
        # Each in its body as soon as it is there: they do not all start at once.
        def all_stopped() -> bool:
            for line in bodies():
                if line["pid"] not in pids and UUID(line["run"]) not in stopped:
                    os.kill(line["pid"], signal.SIGSTOP)
                    pids.add(line["pid"])
                    stopped[UUID(line["run"])] = line["epoch"]
            return len(stopped) == many

        wait_for(all_stopped, 60, f"{many} children are stopped in their bodies")
        for run in runs:
            run.wait(timeout=90)
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    _all_succeeded(runs)
    return stopped


def _all_succeeded(runs: list[Run[Any]]) -> None:
    assert {run.status for run in runs} == {"succeeded"}
