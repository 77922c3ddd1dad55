"""Limits as the outside API sees them, with real workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskplatform import enqueue_many
from taskplatform.client.session import call
from taskplatform.storage.workers import live
from tests.acceptance import limited
from tests.acceptance.called import called
from tests.acceptance.processes import Worker, wait_for, worker
from tests.chaos.outside import outside

Env = dict[str, str]
SHORT = {"ten": (10, limited.SHORT), "hundred": (100, limited.SHORT)}


@contextmanager
def supervised(env: Env, log: Path, *options: str) -> Iterator[Worker]:
    """A worker whose supervisor has come up, too."""
    with worker(env, log, *options) as started:
        wait_for(lambda: bool(call(lambda session, _: live(session))), 60, "supervised")
        yield started


@pytest.fixture(autouse=True)
def pipelines(env: Env) -> None:
    env["TASKPLATFORM_PIPELINES"] = "tests.acceptance.limited"


def test_many_runs_at_once_keep_the_limit_and_use_it(
    env: Env, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q8, Q22, G8: 30 runs at 10 and 300 at 100 in a window, side by side."""
    with outside(tmp_path) as api, supervised(env, log, "-c", "4"):
        runs = enqueue_many(limited.ten, [{"api": api}] * 30)
        runs += enqueue_many(limited.hundred, [{"api": api}] * 300)
        for run in runs:
            assert run.wait(timeout=60).status == "succeeded"
    for seen in called(tmp_path, SHORT).values():
        with capsys.disabled():
            print(f"\n{seen}", end="")
        assert seen.over == 0
        assert seen.utilisation >= 0.95
