"""Two workers under a load of runs, while processes are killed and paused and servers cut off."""

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taskplatform import enqueue_many
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.nemesis import Nemesis
from tests.acceptance.processes import wait_for, worker

BATCHES, BATCH = 24, 25
OPEN = "SELECT count(*) FROM taskplatform.runs WHERE status <> 'succeeded'"
EXECUTED_AFTER_ITS_COMMIT = """
SELECT count(*) FROM taskplatform.step_attempts a
JOIN taskplatform.step_results s USING (run_id, step_name)
WHERE a.started_at > s.finished_at
"""


@pytest.mark.timeout(240)
def test_nothing_is_lost(env: dict[str, str], ledger: Ledger, log: Path, tmp_path: Path) -> None:
    """Q1, Q3, Q23, W10, G1, G3-G5: all runs succeed; no step is executed after its commit."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    other = tmp_path / "other.log"
    other.touch()
    with (
        worker(env, log, "-c", "4", name="one") as one,
        worker(env, other, "-c", "4", name="two") as two,
        psycopg.connect(env["TASKPLATFORM_DATABASE_URL"], autocommit=True) as database,
    ):
        runs: list[Any] = []
        load = threading.Thread(target=_load, args=(runs, ledger, seed))
        load.start()
        nemesis = Nemesis([one, two], env, seed)
        nemesis.rage(seconds=12)
        load.join()
        print(dict(nemesis.done))
        wait_for(lambda: database.execute(OPEN).fetchone() == (0,), 90, "all runs succeeded")
        stored = database.execute("SELECT count(*) FROM taskplatform.step_results").fetchone()
        late = database.execute(EXECUTED_AFTER_ITS_COMMIT).fetchone()
    assert len(runs) == BATCHES * BATCH
    assert stored == (3 * len(runs),)
    assert late == (0,)
    ended = Counter((line[0], line[1]) for line in ledger.lines() if line[1].startswith("end"))
    assert len(ended) == 3 * len(runs)
    assert set(nemesis.done) == set(Nemesis.KINDS)


def _load(runs: list[Any], ledger: Ledger, seed: int) -> None:
    durations = random.Random(seed)
    for batch in range(BATCHES):
        orders = [
            {
                "ledger": ledger.path,
                "id": f"{batch}-{number}",
                "seconds": durations.choice([0, 0, 0, 0.05, 0.3]),
                "do": "sleep:second",
            }
            for number in range(BATCH)
        ]
        runs.extend(enqueue_many(pipelines.three, orders))
        time.sleep(0.5)
