"""A storm: a bench, a load in a process of its own, the nemesis, and the judge in the end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path

from taskplatform.core import registry
from taskplatform.storage import audit
from taskplatform.storage.connection import Session, connect
from taskplatform.verify import dump
from taskplatform.verify.faults.failpoints import armed
from taskplatform.verify.faults.nemesis import Nemesis
from taskplatform.verify.judge.verdict import Verdict, judge
from taskplatform.verify.rig.bench import Bench, bench
from tests.chaos.load import ENQUEUED, Load
from tests.chaos.mutants import VARIABLE
from tests.chaos.outside import outside

# By the load's pipeline: what workers import, who enqueues, and settings. That a pipeline is
# paused which kills its children is proven elsewhere, and here all that is killed has to go on.
Cast = tuple[str, str, dict[str, str]]
_FIVE: Cast = ("tests.chaos.five", "tests.chaos.load", {})
CASTS: dict[str, Cast] = {
    "five": _FIVE,
    "fan": _FIVE,
    "scarce": (
        "tests.chaos.scarce",
        "tests.chaos.scarce_load",
        {"TASKPLATFORM_BREAKER_CRASHES": "0"},
    ),
}
ROOT = Path(__file__).parents[2]


class LoadBroke(Exception):
    """The load raised: what is left proves nothing."""


@dataclass(frozen=True)
class Storm:
    """How much of what; times in seconds.

    `settle` is how long the rest may take in the end, `least` how many faults prove something.
    """

    seed: int
    faults: Mapping[str, int]
    load: Load
    pause: float = 1.0
    most: float = 300.0
    settle: float = 90.0
    least: int = 0
    mutant: str = ""


def storm(folder: Path, wanted: Storm) -> tuple[Verdict, float]:
    """Let it come, and judge what is left; also how long it took. Raises LoadBroke."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    env = {"TASKPLATFORM_FAILPOINT": armed(folder), "PYTHONPATH": str(ROOT)}
    pipelines, _, more = CASTS[wanted.load.pipeline]
    env |= more
    import_module(pipelines)
    if wanted.mutant:
        env[VARIABLE] = wanted.mutant
        pipelines += ",tests.chaos.mutants.loaded"
    with outside(folder) as api, bench(folder, pipelines, env=env, own_disk=True) as rig:
        url = rig.direct.database_url
        with closing(connect(url, pinned=False, name="judge")) as session:
            audit.install(session)
            anchor = dump.anchor(session)
        _rage(rig, wanted, replace(wanted.load, folder=str(folder), api=api))
        rig.wait_ready()
        with closing(connect(url, pinned=False, name="judge")) as session:
            _settle(session, wanted.settle)
            registry.finalize_all()
            dump.write(session, folder, anchor)
    return judge(folder), time.monotonic() - began


def _rage(rig: Bench, wanted: Storm, load: Load) -> None:
    """Load and faults side by side; the load goes on until both have done their part."""
    client = subprocess.Popen(
        [sys.executable, "-m", CASTS[load.pipeline][1], json.dumps(asdict(load))],
        env={**os.environ, **rig.env},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    assert client.stdin is not None
    try:
        # Before the first call there is nobody to harm.
        _wait_for_calls(rig.folder, client)
        nemesis = Nemesis(rig, wanted.seed, wanted.faults, wanted.least)
        nemesis.rage(wanted.pause, wanted.most)
        rig.wait_ready()
        client.stdin.write("calm\n")
        client.stdin.flush()
        if client.stdout.readline().strip() != ENQUEUED:
            raise LoadBroke(f"the load ended with code {client.wait(30)} before all was asked for")
        # What failed for good is looked after until nothing is left.
        with closing(connect(rig.direct.database_url, pinned=False, name="judge")) as session:
            _settle(session, wanted.settle)
        client.stdin.close()
        if code := client.wait(30):
            raise LoadBroke(f"the load ended with code {code}")
    finally:
        client.kill()
        client.wait()
        client.stdout.close()


def _wait_for_calls(folder: Path, client: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not any(one.stat().st_size for one in (folder / "clients").glob("*")):
        if client.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the load does not start")
        time.sleep(0.02)


def _settle(session: Session, seconds: float) -> None:
    """Wait until all runs have ended; whether they have is for the judge to say."""
    until = time.monotonic() + seconds
    while audit.unfinished(session) and time.monotonic() < until:
        time.sleep(0.1)
