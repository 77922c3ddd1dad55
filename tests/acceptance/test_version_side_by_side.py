"""Old and new workers on one database, as during a rolling deployment."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from taskplatform import list_runs
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import ROOT, wait_for, worker

OLD, NEW = "tests.acceptance.versions.side_old", "tests.acceptance.versions.side_new"
MANY = 100
ENQUEUE = """
import json, sys
from importlib import import_module
from taskplatform import enqueue_many
from taskplatform.core import registry
module, ledger, many, *names = sys.argv[1:]
import_module(module)
for name in names:
    inputs = [{"ledger": ledger, "id": f"{module[-3:]}-{name}-{n}"} for n in range(int(many))]
    print(json.dumps([str(run.id) for run in enqueue_many(registry.get(name), inputs)]))
"""


def _enqueue(env: dict[str, str], ledger: Ledger, module: str, *names: str) -> list[str]:
    made = subprocess.run(
        [sys.executable, "-c", ENQUEUE, module, ledger.path, str(MANY), *names],
        env={**os.environ, **env},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [id for line in made.stdout.splitlines() for id in json.loads(line)]


def test_old_and_new_workers_lose_no_run_and_park_none(
    env: dict[str, str], ledger: Ledger, log: Path, tmp_path: Path
) -> None:
    """Each step that both declare is executed once; each worker takes what it knows."""
    other = tmp_path / "new.log"
    other.touch()
    old = {**env, "TASKPLATFORM_PIPELINES": OLD}
    new = {**env, "TASKPLATFORM_PIPELINES": NEW}
    with worker(old, log, "-c", "2", name="old"), worker(new, other, "-c", "2", name="new"):
        runs = [
            *_enqueue(env, ledger, OLD, "shared", "old-only"),
            *_enqueue(env, ledger, NEW, "shared", "new-only"),
        ]

        def open_runs() -> list[tuple[str, str | None]]:
            return [
                (one.status, one.waiting_for)
                for one in list_runs(status=["queued", "running", "waiting"], limit=500)
            ]

        wait_for(lambda: not open_runs(), 60, "all runs have ended")
    assert len(runs) == 4 * MANY
    assert len(list_runs(status="succeeded", limit=500)) == 4 * MANY
    executed = Counter((order, what) for order, what, *_ in ledger.lines() if "start:" in what)
    assert set(executed.values()) == {1}, executed.most_common(3)
    steps = Counter(what.removeprefix("start:") for _, what in executed)
    both = dict.fromkeys(("first", "each[0]", "each[1]", "each[2]", "last"), 2 * MANY)
    assert steps["beside"] <= 2 * MANY
    assert {**steps, "beside": 0} == {**both, "by-old": MANY, "by-new": MANY, "beside": 0}
