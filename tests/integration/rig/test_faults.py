"""Each fault can be done to a real bench and undone, and the bench works after all of them."""

import json
from pathlib import Path

import pytest

from taskplatform.storage.connection import connect
from taskplatform.verify.faults.failpoints import armed
from taskplatform.verify.faults.nemesis import KINDS, Nemesis
from taskplatform.verify.faults.processes import Pause
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.bench import bench
from tests.acceptance.processes import wait_for

# Nobody passes the failpoints of an idle worker; a pause beyond the lease is as long as it says.
WANTED = {kind: 1 for kind in KINDS if kind not in ("failpoint", "pause-child-beyond-lease")}


@pytest.mark.timeout(200)
def test_each_kind_begins_and_ends_and_the_bench_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pause, "seconds", lambda _, dice: dice.uniform(0.1, 0.5))
    env = {"TASKPLATFORM_FAILPOINT": armed(tmp_path)}
    with bench(tmp_path, "pipelines.demo", 2, ("-c", "2"), env=env) as one:
        nemesis = Nemesis(one, 5, WANTED)
        nemesis.rage(0.3, 100)
        lines = [json.loads(line) for line in (tmp_path / "nemesis.jsonl").read_text().splitlines()]
        wait_for(lambda: all(map(one.server, ("database", "broker"))), 30, "both servers serve")
        assert one.wait_ready()
        everyone = [pid for worker in one.workers for pid in worker.everyone()]
        stopped = [pid for pid in everyone if processes.state(pid) == "T"]
        with connect(one.env["TASKPLATFORM_DATABASE_URL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert lines[0]["seed"] == 5
    begun = {line["id"]: line for line in lines[1:] if line["phase"] == "begin"}
    ended = {line["id"]: line for line in lines[1:] if line["phase"] == "end"}
    assert begun.keys() == ended.keys()
    assert all(begun[number]["mono"] <= ended[number]["mono"] for number in begun)
    assert {line["fault"] for line in begun.values()} >= {"cut-after-commit", "kill-worker"}
    # One may find nobody: its target is down by another.
    assert len(begun) >= len(WANTED) - 4
    assert stopped == []
