"""A trial: a user's own pipeline, on a bench of its own, under faults."""

import os
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from taskplatform import endpoints as places
from taskplatform import settings
from taskplatform.celery import bell
from taskplatform.client.pipeline import Pipeline
from taskplatform.client.ringer import RINGER
from taskplatform.errors import Unavailable
from taskplatform.storage import audit
from taskplatform.storage.connection import close_pools, connect
from taskplatform.verify import dump, findings
from taskplatform.verify.client_log import ClientLog
from taskplatform.verify.faults.failpoints import armed
from taskplatform.verify.faults.nemesis import Nemesis
from taskplatform.verify.judge.verdict import Verdict, judge
from taskplatform.verify.recording import FOLDER
from taskplatform.verify.rig.bench import Bench, bench

# Of ten faults: what happens to a worker, to Redis, and to connections, in a bad hour.
MIX = (
    "kill-child",
    "failpoint",
    "duplicate-messages",
    "flush-redis",
    "kill-worker",
    "cut-after-commit",
    "failpoint",
    "restart-redis",
    "end-sessions",
    "pause-child",
)
_PAUSE = 0.7


@dataclass(frozen=True)
class Report:
    """The judge's verdict, and by step and kind what was noticed about bodies."""

    verdict: Verdict
    steps: dict[str, dict[str, list[str]]]
    errors: dict[str, int]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or done twice, and no step was caught."""
        return self.verdict.verdict == "pass" and not self.faulty

    @property
    def faulty(self) -> list[str]:
        """The steps that cannot be executed twice."""
        caught = ("unstable", "not-idempotent")
        return [step for step, kinds in self.steps.items() if any(one in kinds for one in caught)]


def trial(
    pipeline: Pipeline[Any, Any], data: bytes, *, runs: int, faults: int, seed: int, settle: float
) -> Report:
    """Execute that many runs on this input under that many faults; `settle` in seconds.

    Raises InvalidInput and Unavailable.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="taskplatform-trial-") as name:
        folder = Path(name)
        env = {FOLDER: str(folder), "TASKPLATFORM_FAILPOINT": armed(folder)}
        modules = f"{settings.get_settings().pipelines},taskplatform.verify.recording"
        with bench(folder, modules, env=env) as rig:
            _storm(rig, pipeline, data, runs=runs, faults=faults, seed=seed, settle=settle)
            with closing(connect(rig.direct.database_url, pinned=False)) as session:
                errors = Counter(audit.errors(session))
        seconds = time.monotonic() - began
        return Report(judge(folder), findings.found(folder / "findings"), dict(errors), seconds)


def _storm(
    rig: Bench,
    pipeline: Pipeline[Any, Any],
    data: bytes,
    *,
    runs: int,
    faults: int,
    seed: int,
    settle: float,
) -> None:
    _be_its_client(rig)
    with closing(connect(rig.direct.database_url, pinned=False)) as session:
        audit.install(session)
        anchor = dump.anchor(session)
        log = ClientLog(rig.folder / "clients", pipeline.name)
        seconds = faults * _PAUSE
        load = threading.Thread(target=_enqueue, args=(log, pipeline, data, runs, seed, seconds))
        load.start()
        Nemesis(rig, seed, Counter(MIX[place % len(MIX)] for place in range(faults))).rage(
            _PAUSE, most=10 * seconds + 60
        )
        load.join()
        rig.wait_ready()
    with closing(connect(rig.direct.database_url, pinned=False)) as session:
        until = time.monotonic() + settle
        while audit.open_runs(session) and time.monotonic() < until:
            time.sleep(0.1)
        dump.write(session, rig.folder, anchor)
    RINGER.flush()
    close_pools()


def _enqueue(
    log: ClientLog, pipeline: Pipeline[Any, Any], data: bytes, runs: int, seed: int, seconds: float
) -> None:
    for number in range(runs):
        request = f"{seed}-{number}"
        for _ in range(30):
            op = str(uuid4())
            log.write("invoke", op, "enqueue", request=request)
            try:
                run = pipeline.enqueue(data, key=None, request_id=request)
            except Unavailable as error:
                log.write("unknown", op, "enqueue", request=request, error=str(error))
                time.sleep(0.3)
            else:
                log.write("ok", op, "enqueue", request=request, run=str(run.id))
                break
        time.sleep(seconds / runs)


def _be_its_client(rig: Bench) -> None:
    """Let this process enqueue on the bench."""
    for name in ("TASKPLATFORM_DATABASE_URL", "TASKPLATFORM_BROKER_URL"):
        os.environ[name] = rig.env[name]
    settings.get_settings.cache_clear()
    places.endpoints.cache_clear()
    bell.forget()
