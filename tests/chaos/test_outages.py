"""What goes on while a server is away, and what a poisonous step does to its neighbours."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from taskplatform import Run, enqueue_many
from taskplatform.errors import Unavailable
from taskplatform.storage.connection import close_pools
from taskplatform.verify.faults.fullness import FullRedis
from taskplatform.verify.rig import processes
from taskplatform.verify.rig.bench import Bench, bench
from tests.acceptance.conftest import forget
from tests.acceptance.processes import wait_for
from tests.chaos.five import Order, Part, five
from tests.chaos.percentile import percentile
from tests.chaos.seen import Seen

LONGER_THAN_A_LEASE = 20.0
REFUSED = "used memory > 'maxmemory'"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """One worker of four children, and this process as its client."""
    root = str(Path(__file__).parents[2])
    with bench(tmp_path / "rig", "tests.chaos.five", workers=1, env={"PYTHONPATH": root}) as made:
        for name, value in made.env.items():
            monkeypatch.setenv(name, value)
        forget()
        yield made
        close_pools()
        forget()


@pytest.mark.timeout(150)
def test_redis_hangs(rig: Bench, seen: Seen) -> None:
    """W11, G1, G5: enqueue does not wait for it, bodies that run commit; then all goes on."""
    before = five.enqueue(_order(seen, 0, {"collect": 1.0, "clean": 1.0}))
    wait_for(lambda: bool(seen.starts(before.id, "collect")), 20, "a body runs")
    broker = rig.server("broker")
    processes.send([broker], signal.SIGSTOP)
    try:
        took = [_timed(seen, number) for number in range(1, 101)]
        wait_for(lambda: before.refresh().status == "succeeded", 20, "the run ended meanwhile")
    finally:
        processes.send([broker], signal.SIGCONT)
    at = time.monotonic()
    wait_for(lambda: len({line["run"] for line in seen.lines(step="notify")}) == 101, 60, "all")
    p99 = percentile(took, 99)
    print(f"Redis hung: enqueue p99 {p99 * 1000:.0f} ms; all done {time.monotonic() - at:.1f} s on")
    assert p99 < 0.5


@pytest.mark.timeout(150)
def test_redis_is_full(rig: Bench, seen: Seen) -> None:
    """F16, W11, G1: a Redis that refuses all writes ends no worker, and what was asked for is done.

    A worker that connects to it anew writes first; Celery took the refusal for its end.
    """
    pid = rig.workers[0].pid
    fault = FullRedis()
    fault.begin(rig, Random(1))
    rig.broker.cut()
    runs = [five.enqueue(_order(seen, number, {})) for number in range(20)]
    wait_for(lambda: REFUSED in rig.workers[0].log.read_text(), 30, "the worker is refused")
    fault.end(rig)
    for run in runs:
        run.wait(timeout=60)
    assert rig.workers[0].pid == pid
    assert rig.workers[0].alive


@pytest.mark.timeout(180)
def test_postgres_is_away_for_longer_than_a_lease(rig: Bench, seen: Seen) -> None:
    """W11, G1-G4: a clear error in time; what bodies returned meanwhile is committed, once."""
    children = set(rig.workers[0].children())
    runs = [five.enqueue(_order(seen, number, {"clean": 2.0})) for number in range(4)]
    wait_for(lambda: len(seen.lines(event="start", step="clean")) == 4, 20, "four bodies run")
    rig.database.mode = "refuse"
    rig.database.cut()
    close_pools()
    gone = time.monotonic()
    with pytest.raises(Unavailable, match="database"):
        five.enqueue(_order(seen, 99, {}))
    answered = time.monotonic() - gone
    wait_for(lambda: len(seen.lines(event="end", step="clean")) == 4, 20, "the bodies have ended")
    wait_for(lambda: time.monotonic() - gone > LONGER_THAN_A_LEASE, 30, "a lease has passed")
    rig.database.mode = "pass"
    for run in runs:
        run.wait(timeout=60)
    print(f"Postgres away for {LONGER_THAN_A_LEASE:g} s: an error after {answered:.1f} s")
    assert answered < 10
    assert len(seen.lines(event="start", step="clean")) == 4
    assert set(rig.workers[0].children()) == children


@pytest.mark.timeout(180)
def test_poison_among_innocents(rig: Bench, seen: Seen) -> None:
    """G5: a step that kills its process is parked after three; its neighbours lose nothing."""
    orders = [_order(seen, number, {"score": 0.02}) for number in range(51)]
    orders[25].plan["clean"] = (0.0, "die")
    runs = enqueue_many(five, orders)
    poison = runs.pop(25)
    for run in runs:
        run.wait(timeout=120)
    wait_for(lambda: _parked(poison), 90, "the poisonous run is parked")
    starts = [len(seen.starts(run.id)) for run in runs]
    died = len(seen.starts(poison.id, "clean"))
    print(f"poison: died {died} times; innocents started at most {max(starts) - 5} bodies twice")
    # In company it dies once more: who of a batch is to blame shows when each is alone.
    assert 3 <= died <= 4
    assert max(starts) <= 6


def _order(seen: Seen, number: int, seconds: dict[str, float]) -> Order:
    plan = {step: (one, "") for step, one in seconds.items()}
    return Order(folder=str(seen.folder), number=number, plan=plan)


def _timed(seen: Seen, number: int) -> float:
    began = time.perf_counter()
    five.enqueue(_order(seen, number, {}))
    return time.perf_counter() - began


def _parked(run: Run[Part]) -> bool:
    return run.refresh().reason == "parked"
