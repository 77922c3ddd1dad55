"""Each fault can be done to a real bench and undone, and the bench works after all of them."""

import json
from pathlib import Path

import pytest

from taskplatform.storage.connection import connect
from taskplatform.verify.faults.failpoints import armed
from taskplatform.verify.faults.nemesis import KINDS, Nemesis, impossible
from taskplatform.verify.faults.processes import Pause
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.bench import bench
from tests.acceptance.processes import wait_for

# An idle worker passes no failpoint and commits nothing; a pause beyond the lease is as long as it
# says.
_BUSY = ("failpoint", "cut-after-commit", "pause-child-beyond-lease")
WANTED = [kind for kind in KINDS if kind not in _BUSY]


@pytest.mark.timeout(400)
def test_each_kind_begins_and_ends_and_the_bench_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pause, "seconds", lambda _, dice: dice.uniform(0.1, 0.5))
    env = {"TASKPLATFORM_FAILPOINT": armed(tmp_path)}
    with bench(tmp_path, "pipelines.demo", 2, 2, env=env, own_disk=True) as one:
        left_out = impossible(one)
        print("left out:", left_out)
        for kind in WANTED:
            wait_for(lambda: all(map(one.server, ("database", "broker"))), 30, f"{kind} may come")
            assert one.wait_ready(), kind
            Nemesis(one, 5, {kind: 1}).rage(0.3, 60)
        assert one.wait_ready()
        everyone = one.everyone()
        stopped = [pid for pid in everyone if processes.state(pid) == "T"]
        with connect(one.env["TASKPLATFORM_DATABASE_URL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    lines = [json.loads(line) for line in (tmp_path / "nemesis.jsonl").read_text().splitlines()]
    begun = {line["fault"]: line for line in lines if line.get("phase") == "begin"}
    ended = {line["fault"]: line for line in lines if line.get("phase") == "end"}
    assert begun.keys() == ended.keys() == set(WANTED) - left_out.keys()
    assert all(begun[kind]["mono"] <= ended[kind]["mono"] for kind in begun)
    assert all(begun[kind]["pids"] for kind in ("cut-postgres", "cut-redis", "hole-postgres"))
    assert stopped == []
