"""Pipeline code changes between two starts of a worker, while a run is on its way."""

import os
import subprocess
import sys
from pathlib import Path

from taskplatform import Run, get_run
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import ROOT, wait_for, worker

Env = dict[str, str]
ENQUEUE = """
import sys
from tests.acceptance.versions.before import changing
print(changing.enqueue({"ledger": sys.argv[1], "id": "a"}).id)
"""


def _begin(env: Env, ledger: Ledger, log: Path) -> Run:
    """Enqueue with the old code, in a process of its own, and let it fail at its second step."""
    with worker({**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.versions.before"}, log):
        made = subprocess.run(
            [sys.executable, "-c", ENQUEUE, ledger.path],
            env={**os.environ, **env},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        run = get_run(made.stdout.strip())
        wait_for(lambda: run.refresh().status == "waiting", 20, "the run waits for its retry")
    return run


def _retry(env: Env, run: Run) -> None:
    subprocess.run(
        [sys.executable, "-c", f"from taskplatform import get_run; get_run('{run.id}').retry()"],
        env={**os.environ, **env},
        cwd=ROOT,
        check=True,
    )


def test_added_and_renamed_steps(env: Env, ledger: Ledger, log: Path) -> None:
    """Q19: the run goes on with the new code; the output of a step of the same name is reused."""
    run = _begin(env, ledger, log)
    _retry(env, run)
    with worker({**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.versions.after"}, log):
        wait_for(lambda: run.refresh().status == "succeeded", 20, "it succeeded")
    assert ledger.count("start:first") == {"a": 1}
    assert ledger.count("start:added") == {"a": 1}
    assert ledger.count("start:renamed") == {"a": 1}


def _plan(env: Env, module: str) -> tuple[int, str]:
    """The exit code and the page of a plan by that code."""
    done = subprocess.run(
        [sys.executable, "-m", "taskplatform", "pipelines", "plan"],
        env={**os.environ, **env, "TASKPLATFORM_PIPELINES": f"tests.acceptance.versions.{module}"},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_an_output_that_new_code_cannot_read(env: Env, ledger: Ledger, log: Path) -> None:
    """Q19: the run is parked with the reason, and goes on when code that fits is back.

    The plan tells it before it is deployed.
    """
    run = _begin(env, ledger, log)
    code, page = _plan(env, "unreadable")
    assert (code, "step second cannot read the stored output of first: colour" in page) == (1, True)
    assert _plan(env, "after")[0] == 0
    _retry(env, run)
    with worker({**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.versions.unreadable"}, log):
        wait_for(lambda: run.refresh().reason == "parked", 20, "it is parked")
    assert "colour" in (run.view().waiting_for or "")
    _retry(env, run)
    with worker({**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.versions.after"}, log):
        wait_for(lambda: run.refresh().status == "succeeded", 20, "it succeeded")
    assert ledger.count("start:first") == {"a": 1}


def test_a_raised_version_goes_on_with_a_parked_run(env: Env, ledger: Ledger, log: Path) -> None:
    """The step whose output cannot be read is executed again, and makes one that can."""
    run = _begin(env, ledger, log)
    _retry(env, run)
    with worker({**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.versions.unreadable"}, log):
        wait_for(lambda: run.refresh().reason == "parked", 20, "it is parked")
    assert _plan(env, "again")[0] == 0
    _retry(env, run)
    with worker({**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.versions.again"}, log):
        wait_for(lambda: run.refresh().status == "succeeded", 20, "it succeeded")
    assert ledger.count("start:first") == {"a": 2}
    assert ledger.count("end:second") == {"a": 2}
