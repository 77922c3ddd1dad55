"""The user's own tasks beside a backlog of runs."""

import time
from pathlib import Path

import pytest
from kombu.connection import Connection

from taskplatform import enqueue_many
from taskplatform.storage.connection import connect
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]
BACKLOG = 20_000


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.3])
def test_plain_tasks_start_within_a_second_plus_the_step_in_hand(
    env: Env, ledger: Ledger, log: Path, seconds: float
) -> None:
    """With 20,000 runs waiting and all children in shifts; on a second queue likewise."""
    enqueue_many(pipelines.napping, ({"seconds": seconds} for _ in range(BACKLOG)))
    with (
        worker(
            {**env, "TASKPLATFORM_SHIFT_SECONDS": "60"}, log, "-c", "2", "-Q", "taskplatform,a,b"
        ),
        Connection(env["TASKPLATFORM_BROKER_URL"]) as connection,  # type: ignore[no-untyped-call]
        connect(env["TASKPLATFORM_DATABASE_URL"]) as database,
    ):

        def waiting() -> int:
            answer = database.execute("SELECT count(*) FROM taskplatform.work").fetchone()
            assert answer
            return int(answer[0])

        wait_for(lambda: waiting() < BACKLOG, 20, "the backlog is being executed")
        sent: dict[str, int] = {}
        for number in range(10):
            for queue in ("a", "b", "taskplatform"):
                id = f"{queue}{number}"
                sent[id] = time.monotonic_ns()
                pipelines.plain.apply_async(
                    [str(ledger.path), id], connection=connection, queue=queue
                )
                wait_for(lambda id=id: ledger.has("start:plain", id), 10, f"{id} started")  # type: ignore[misc]
        still = waiting()
    assert still > 0, "the backlog was over too soon to show anything"
    started = {line[0]: int(line[3]) for line in ledger.lines()}
    delays = sorted((started[id] - at) / 1e9 for id, at in sent.items())
    assert delays[-1] < 1 + seconds
