"""The storm with limits on: throttle, slots, keys, bursts and batches under faults.

CHAOS_SEED repeats one; without it each storm is a new one.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from taskplatform.verify.judge.reading import read
from taskplatform.verify.judge.verdict import PASS
from tests.chaos.load import Load
from tests.chaos.storm import Storm, storm

FAULTS = {
    "kill-child": 6,
    "failpoint": 3,
    "pause-child-beyond-lease": 2,
    "kill-worker": 2,
    "flush-redis": 1,
    "restart-redis": 1,
    "restart-postgres": 1,
}


@pytest.mark.timeout(400)
def test_limits_in_a_storm(tmp_path: Path) -> None:
    """Q22, G8, G7, Q8, Q14, W13: no limit is passed, and each caller gets what is his."""
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(10**6)))
    load = Load(
        folder="", api="", seed=seed, many=250, rate=10.0, most=150.0, on=True, pipeline="scarce"
    )
    folder = tmp_path / "history"
    verdict, seconds = storm(folder, Storm(seed, FAULTS, load, pause=0.6, settle=60.0, least=12))
    history = read(folder)
    runs = Counter(one.pipeline for one in history.runs.values())
    shared = len(history.operations) - len({one.run for one in history.operations})
    members = sum(one.member for one in history.executions)
    counts = ", ".join(f"{name} {many}" for name, many in sorted(runs.items()))
    print(f"{verdict.text()}\nof which    {counts}; {len(history.calls)} calls")
    print(f"shared      {shared} calls joined a run, {members} executions in company")
    print(f"took        {seconds:.0f} s")
    assert verdict.verdict == PASS, verdict.text()
    # Of these most calls find a run that has their key.
    assert min(runs["lone"], runs["burst"]) >= 3
    assert min(runs["scarce"], runs["pack"]) >= 50
    assert shared > 10
    assert members > 10
    assert len(history.calls) > 50
