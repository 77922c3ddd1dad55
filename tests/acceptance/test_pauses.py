"""Pipelines are paused, by hand and by their own crashes, while others go on."""

import time
from pathlib import Path

from taskplatform import enqueue_many
from taskplatform.client import pausing
from taskplatform.client.session import call
from taskplatform.storage import pauses
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]


def paused() -> list[pauses.Pause]:
    """What is paused now."""
    return call(lambda connection, _: pauses.pauses(connection))


def test_a_pipeline_that_kills_children_pauses_itself(env: Env, ledger: Ledger, log: Path) -> None:
    """W14, F31: after five children, not twelve times three; others go on; resumed, it ends."""
    mended = Path(f"{ledger.path}.mended")
    with worker(env, log, "-c", "2"):
        began = time.monotonic()
        looping = enqueue_many(
            pipelines.three,
            [
                {"ledger": ledger.path, "id": f"l{n}", "do": "die-until-mended:second"}
                for n in range(12)
            ],
        )
        others = enqueue_many(
            pipelines.single, [{"ledger": ledger.path, "id": f"o{n}"} for n in range(20)]
        )
        wait_for(lambda: bool(paused()), 60, "it is paused")
        assert time.monotonic() - began < 60
        (pause,) = paused()
        assert (pause.pipeline, pause.reason) == ("three", "breaker")
        for run in others:
            assert run.wait(timeout=30).status == "succeeded"
        more = pipelines.single.enqueue({"ledger": ledger.path, "id": "more"})
        assert more.wait(timeout=10).status == "succeeded"
        wait_for(
            lambda: {run.refresh().reason for run in looping} <= {"breaker", "parked"},
            20,
            "what is ready waits for the breaker",
        )
        assert "pipeline three is paused: it killed 5 pool children" in log.read_text()
        # Two that died together count as one, and two were in a body when it was paused.
        assert ledger.count("start:second").total() <= 12
        mended.touch()
        assert pausing.resume("three")
        for run in looping:
            if run.refresh().reason == "parked":
                run.retry()
            assert run.wait(timeout=30).status == "succeeded"
        assert set(ledger.count("end:third").values()) == {1}


def test_a_pause_by_hand_takes_effect_within_a_second(env: Env, ledger: Ledger, log: Path) -> None:
    """W14: no further step starts, what is enqueued waits with the reason, nobody rings for it."""
    with worker(env, log, "-c", "2"):
        runs = enqueue_many(
            pipelines.three,
            [
                {"ledger": ledger.path, "id": str(n), "seconds": 0.4, "do": "sleep:first"}
                for n in range(30)
            ],
        )
        wait_for(lambda: ledger.has("end:first"), 20, "they are under way")
        assert pausing.pause("three", "until tea")
        at = time.monotonic_ns()
        wait_for(
            lambda: (
                {run.refresh().reason for run in runs if run.status != "succeeded"} == {"paused"}
            ),
            10,
            "all wait for it",
        )
        wait_for(lambda: time.monotonic_ns() > at + 1_000_000_000, 2, "a second has passed")
        late = pipelines.three.enqueue({"ledger": ledger.path, "id": "late"})
        wait_for(lambda: late.refresh().reason == "paused", 10, "what comes later waits, too")
        assert late.view().waiting_for == "until tea"
        starts = [int(line[3]) for line in ledger.lines() if line[1].startswith("start:")]
        assert max(starts) < at + 1_000_000_000
        shifts = log.read_text().count("taskplatform.shift")
        other = pipelines.single.enqueue({"ledger": ledger.path, "id": "other"})
        assert other.wait(timeout=10).status == "succeeded"
        # Supervisors have looked eight times meanwhile.
        time.sleep(1.5)
        assert log.read_text().count("taskplatform.shift") - shifts < 8
        assert pausing.resume("three")
        for run in [*runs, late]:
            assert run.wait(timeout=30).status == "succeeded"
    assert set(ledger.count("end:third").values()) == {1}
