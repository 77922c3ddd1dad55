"""The control: Celery's own chain of five tasks, under kills and an emptied Redis.

Judged like the platform, by what its tasks wrote down; what it knows of its runs in the end is
what their last task said. It has to lose some.
"""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

from celery import Celery, chain
from redis import Redis

from taskplatform.verify.client_log import ClientLog
from taskplatform.verify.faults.nemesis import Nemesis
from taskplatform.verify.judge.fingerprint import fingerprint
from taskplatform.verify.judge.verdict import Verdict, judge
from taskplatform.verify.ledger import Ledger
from taskplatform.verify.rig.bench import bench

STEPS = ("collect", "clean", "score", "publish", "notify")
FOLDER = "PLAIN_CHAIN_LEDGER"
RUNS = 150

app = Celery("plain", broker=os.environ.get("TASKPLATFORM_BROKER_URL"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)


@app.task(name="plain.step")
def step(_: object, run: str, name: str) -> str:
    """Write down the start, work for a moment, write down the end."""
    book = Ledger(os.environ[FOLDER])
    ctx = SimpleNamespace(
        run_id=UUID(run), step=name, attempt=1, epoch=1, idempotency_key=f"{run}:{name}"
    )
    book.start(ctx, "plain")
    time.sleep(0.05)
    book.end(ctx, "plain", name)
    return name


def plain_chain(folder: Path, seed: int) -> Verdict:
    """Ask for chains while workers are killed and Redis is emptied; the judge's verdict."""
    ledger = folder / "ledger"
    env = {FOLDER: str(ledger), "PYTHONPATH": str(Path(__file__).parents[2])}
    with bench(folder, "tests.chaos.five", env=env, app="tests.chaos.plain_chain") as rig:
        app.conf.broker_url = rig.direct.broker_url
        book = ClientLog(folder / "clients", "plain")
        runs = [str(uuid4()) for _ in range(RUNS)]
        for run in runs:
            book.write("invoke", run, "enqueue", request=run)
            chain(*(step.si(None, run, name) for name in STEPS)).apply_async()
            book.write("ok", run, "enqueue", request=run, run=run)
        nemesis = Nemesis(rig, seed, {"kill-child": 6, "kill-worker": 1, "flush-redis": 1})
        nemesis.rage(0.6, most=30.0)
        _until_quiet(rig.direct.broker_url, ledger)
    _dump(folder, ledger, runs)
    return judge(folder)


def _until_quiet(url: str, ledger: Path) -> None:
    """Wait until nothing is queued and nobody has written for some seconds."""
    until = time.monotonic() + 40
    with Redis.from_url(url) as redis:
        while time.monotonic() < until:
            newest = max((one.stat().st_mtime for one in ledger.glob("*.jsonl")), default=0.0)
            if not redis.llen("celery") and time.time() - newest > 5:
                return
            time.sleep(0.2)


def _dump(folder: Path, ledger: Path, runs: list[str]) -> None:
    lines = [
        json.loads(line)
        for path in ledger.glob("*.jsonl")
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
    ended = {(one["run"], one["step"]): one for one in lines if one["event"] == "end"}
    done = {run for run in runs if (run, STEPS[-1]) in ended}
    results = [
        {"run": run, "step": name, "fingerprint": fingerprint(name), "attempt": 1, "epoch": 1,
         "reused": True}
        for run, name in ended
    ]  # fmt: skip
    row = {"pipeline": "plain", "key": None, "owns_key": False, "reason": None, "made_by": None}
    anchor = {"mono": time.monotonic_ns(), "wall": time.time()}
    dump = {
        "anchors": [anchor, anchor],
        "plans": {"plain": [[name] for name in STEPS]},
        "runs": [
            {**row, "id": run, "request": run, "status": "succeeded" if run in done else "queued"}
            for run in runs
        ],
        "results": results,
        # It commits nothing: what a task wrote down in the end stands for that.
        "commits": [
            {**one, "n": place, "wall": ended[one["run"], one["step"]]["wall"]}
            for place, one in enumerate(results)
        ],
        "attempts": [], "grants": [], "states": [], "stuck": [],
        "held": 0, "refused": 0, "deadlocks": 0,
    }  # fmt: skip
    (folder / "dump.json").write_text(json.dumps(dump))
