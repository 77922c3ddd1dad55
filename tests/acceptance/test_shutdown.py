"""Workers are asked to end while bodies run."""

import time
from pathlib import Path

import pytest

from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import Worker, wait_for, worker

Env = dict[str, str]
ORDER = {"id": "a", "seconds": 10, "do": "sleep:second"}


@pytest.mark.parametrize("ask", [Worker.term, Worker.term_group])
def test_a_body_ends_within_the_grace(env: Env, ledger: Ledger, log: Path, ask: object) -> None:
    """The body ends on the same worker, in one attempt; the run goes on elsewhere."""
    with worker({**env, "TASKPLATFORM_SHUTDOWN_GRACE": "15"}, log, "-c", "2") as one:
        run = pipelines.three.enqueue({**ORDER, "ledger": ledger.path})
        wait_for(lambda: ledger.has("start:second"), 20, "the second step started")
        ask(one)  # type: ignore[operator]
        one.process.wait(30)
    assert ledger.count("end:second") == {"a": 1}
    assert not ledger.has("start:third")
    view = run.refresh().view()
    assert view.status == "queued"
    assert [attempt.outcome for attempt in view.steps[1].attempts] == ["succeeded"]


@pytest.mark.parametrize("ask", [Worker.term, Worker.term_group])
def test_a_body_is_handed_back_after_the_grace(
    env: Env, ledger: Ledger, log: Path, ask: object
) -> None:
    """Handed back at once, as interrupted, which is not counted as a failure."""
    order = {**ORDER, "ledger": ledger.path}
    with worker({**env, "TASKPLATFORM_SHUTDOWN_GRACE": "2"}, log, "-c", "2") as one:
        run = pipelines.three.enqueue(order)
        wait_for(lambda: ledger.has("start:second"), 20, "the second step started")
        ask(one)  # type: ignore[operator]
        asked = time.monotonic()
        wait_for(lambda: run.refresh().status == "queued", 8, "the run is queued again")
        assert time.monotonic() - asked > 1.9
        one.process.wait(20)
    assert not ledger.has("end:second")
    view = run.refresh().view()
    assert [attempt.outcome for attempt in view.steps[1].attempts] == ["interrupted"]
