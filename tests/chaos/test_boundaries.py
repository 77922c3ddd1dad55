"""A pool child is killed at each boundary of a step's life, again and again.

CHAOS_ROUNDS says how often at each (15); recovery is from the kill to the next start.
"""

import os
from pathlib import Path

import pytest

from taskplatform.executor.failpoints import POINTS
from tests.acceptance.processes import wait_for, worker
from tests.chaos.five import Order, five
from tests.chaos.percentile import percentile
from tests.chaos.seen import Seen

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "15"))
STEPS = ("collect", "clean", "score", "publish", "notify")
# How often the body at the boundary may start: before it began once, in it twice, after it once.
MOST = {"b1": 1, "b2": 1, "b3": 2, "b4": 2, "b5": 1, "b6": 1, "b7": 1}


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_a_child_is_killed_at_each_boundary(
    env: dict[str, str], seen: Seen, log: Path, tmp_path: Path
) -> None:
    """G2-G5, Q3, Q23, W10: each run goes on within 5 s; no finished step is executed again."""
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    env["TASKPLATFORM_FAILPOINT"] = ",".join(f"{point}:kill@{tokens}" for point in POINTS)
    recoveries: list[float] = []
    with worker(env, log, "-c", "2"):
        for round in range(ROUNDS):
            for point in POINTS:
                recovery = _kill_once(seen, tokens, point, round)
                if recovery is not None:
                    recoveries.append(recovery)
    p50, p99 = percentile(recoveries, 50), percentile(recoveries, 99)
    print(f"{ROUNDS * len(POINTS)} children killed; recovery p50 {p50:.2f} s, p99 {p99:.2f} s")
    assert p99 < 5


def _kill_once(seen: Seen, tokens: Path, point: str, round: int) -> float | None:
    # b7 is reached once a run, the others anywhere: so they are to be met at the first step.
    (tokens / point).touch()
    run = five.enqueue(Order(folder=str(seen.folder), number=round, plan={"clean": (0.02, "")}))
    wait_for(lambda: not (tokens / point).exists(), 20, f"{point} is reached")
    (taken,) = tokens.iterdir()
    _, pid, at = taken.name.split(".")
    taken.unlink()
    run.wait(timeout=30)
    assert run.status == "succeeded"
    starts = seen.starts(run.id)
    counts = {step: len([one for one in starts if one["step"] == step]) for step in STEPS}
    killed = [one["step"] for one in starts if one["pid"] == int(pid)]
    victim = killed[-1] if killed else STEPS[0]
    assert all(counts[step] == 1 for step in STEPS if step != victim), (point, counts)
    assert 1 <= counts[victim] <= MOST[point], (point, victim, counts)
    after = [one["mono"] for one in starts if one["mono"] > int(at)]
    assert after or point == "b7" or victim == STEPS[-1]
    return (min(after) - int(at)) / 1e9 if after else None
