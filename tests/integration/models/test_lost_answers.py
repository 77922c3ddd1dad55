"""Runs under a database that loses calls, before they are sent and after they are committed.

LOSSY_SEED=7 repeats what a failure has printed.
"""

import itertools
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from taskplatform.celery.ringer import Ringer
from taskplatform.client import ringer
from taskplatform.core import registry
from taskplatform.endpoints import endpoints
from taskplatform.executor import impatience
from taskplatform.executor.costs import Costs
from taskplatform.settings import get_settings
from taskplatform.storage.connection import close_pools
from taskplatform.supervisor import session
from tests.integration.models import journal, load, lossy
from tests.integration.models.storm import RUNS, Storm
from tests.integration.races import shape_facts
from tests.integration.races.stage import Stage

SEEDS = [int(one) for one in os.environ.get("LOSSY_SEED", "1 2").split()]
RATE = 0.03


_FACTS = {
    "a step was committed twice": "SELECT run, step FROM public.journal WHERE what = 'result'"
    " GROUP BY run, step HAVING count(*) > 1",
    "a request has two runs": "SELECT request_id FROM taskplatform.runs"
    " WHERE request_id IS NOT NULL GROUP BY request_id HAVING count(*) > 1",
    "a run paid other than once": "SELECT s.run_id FROM taskplatform.step_results s"
    " WHERE s.step_name = 'pay' AND 1 <> (SELECT count(*) FROM public.paid WHERE run = s.run_id)",
    "somebody paid without a result": "SELECT run FROM public.paid p WHERE NOT EXISTS (SELECT"
    " FROM taskplatform.step_results s WHERE s.run_id = p.run AND s.step_name = 'pay')",
}


@pytest.fixture
def stage(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The front door and an empty registry; only the judge's own session is safe."""
    alarm = signal.getsignal(signal.SIGALRM)
    stage = Stage(database_url)
    monkeypatch.delenv("TASKPLATFORM_RACES_EXAMPLES", raising=False)
    monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", database_url)
    monkeypatch.setenv("TASKPLATFORM_BROKER_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()
    endpoints.cache_clear()
    registry.clear()

    def silent(_: Mapping[str, int]) -> None:
        """Every ring is lost."""

    monkeypatch.setattr(ringer, "RINGER", Ringer(silent))
    # What depends on how fast the machine is would make each walk another one.
    monkeypatch.setattr(impatience, "PATIENCE", 1000.0)
    monkeypatch.setattr(Costs, "observe", lambda *_: None)
    yield stage
    close_pools()
    stage.close()
    monkeypatch.undo()
    get_settings.cache_clear()
    endpoints.cache_clear()
    registry.clear()
    signal.signal(signal.SIGALRM, alarm)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("seed", SEEDS)
def test_calls_are_lost_before_and_after_their_commit(
    stage: Stage, seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """G1-G5, L12, F20: nothing is lost, each step is committed once, and a yes is a yes."""
    journal.keep(stage)
    stage.connection.execute(load.LEDGER)
    pipeline = load.declare()
    fate = lossy.Fate(seed, RATE)
    lossy.rule(monkeypatch, fate)
    storm = Storm(stage, pipeline, fate, seed)
    monkeypatch.setattr(session, "monotonic", lambda: storm.now)
    storm.blow()
    in_the_storm = storm.rescued
    storm.calm()

    with capsys.disabled():
        print(
            f"\nseed {seed}: {fate.calls} calls, lost {dict(fate.lost)}, not known or refused:"
            f" {dict(storm.refused)}, {len(storm.acknowledged)} runs"
            f" rescued {in_the_storm} + {storm.rescued - in_the_storm}"
        )
    for what, query in _FACTS.items():
        assert not (found := stage.rows(query)), f"{what}: {found}"
    assert not shape_facts.wrong(stage)
    status = dict(stage.rows("SELECT id, status FROM taskplatform.runs"))
    assert {*storm.acknowledged.values(), *storm.replayed} <= set(status)
    assert {status[run] for run in storm.cancelled} <= {"cancelled"}
    assert Counter(status.values())["succeeded"] > RUNS / 2
    assert min(fate.lost.values()) > 20
    assert in_the_storm > 20
    recorded = Counter(
        (str(run), step)
        for run, step in itertools.chain(
            stage.rows("SELECT run_id, step_name FROM taskplatform.step_results"),
            stage.rows("SELECT run_id, step_name FROM taskplatform.step_attempts"),
        )
    )
    unrecorded = [what for what, times in load.executed.items() if times > recorded[what]]
    assert not unrecorded, f"I5: executed and not recorded: {unrecorded}"
    storm.close()
