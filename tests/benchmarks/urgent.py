"""An urgent run before a backlog, and a pause of that: `python -m tests.benchmarks.urgent`.

When bodies of urgent runs start while 100,000 runs of priority -300 are ready, how long enqueues
and claims take meanwhile, and what the server has to do when that pipeline is paused. Exit code 1:
a bar is missed.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, perf_counter, sleep

from taskplatform import enqueue_many
from taskplatform.client import pausing
from taskplatform.core.ids import uuid7
from taskplatform.executor.batch import Batch
from taskplatform.executor.child import Child
from taskplatform.executor.slots import SlotTable
from taskplatform.storage.connection import Session, connect
from taskplatform.testing import servers
from tests.benchmarks.naps import Nap, backlog, urgent
from tests.benchmarks.waiting import wait_for

BIN = Path(sys.executable).parent
# Rows a second, written by leases and reports.
QUIET = 20


@dataclass
class Load:
    """What a server did in a second: transactions, rows that were written, share of a core."""

    transactions: float
    rows: float
    busy: float


@dataclass
class Seen:
    """What was measured; times in seconds."""

    starts: list[float] = field(default_factory=list)
    enqueues: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)
    pause: float = 0.0
    while_paused: list[Load] = field(default_factory=list)
    quiet: Load | None = None


def measure(url: str, environment: dict[str, str], low: int, many: int, settle: float) -> Seen:
    """Measure with a worker of two children and one child of this process."""
    seen = Seen()
    for start in range(0, low, 10_000):
        enqueue_many(backlog, [Nap()] * min(10_000, low - start), priority=-300)
    with connect(url) as database, _worker(environment), _child(url) as child:
        wait_for(lambda: _count(database, "runs WHERE status = 'succeeded'") > 5, 60, "it works")
        for _ in range(many):
            began = perf_counter()
            run = urgent.enqueue(Nap(), priority=300)
            seen.enqueues.append(perf_counter() - began)
            _claim(child, seen)
            run.wait(timeout=30)
            (row,) = database.execute(
                "SELECT extract(epoch FROM s.started_at - r.created_at)::double precision"
                " FROM taskplatform.step_results s JOIN taskplatform.runs r ON r.id = s.run_id"
                " WHERE r.id = %s",
                (run.id,),
            ).fetchall()
            seen.starts.append(row[0])
        began = perf_counter()
        pausing.pause("backlog", "to see what that costs")
        seen.pause = perf_counter() - began
        until = monotonic() + settle
        # All of it may be set aside before one looks for the first time.
        seen.while_paused.append(_load(database, 1.0))
        while monotonic() < until and _count(database, f"work WHERE {_READY}"):
            seen.while_paused.append(_load(database, 1.0))
        wait_for(lambda: not _count(database, f"work WHERE {_READY}"), 600, "all is set aside")
        # A session that rests tells what it has done up to ten seconds later.
        for _ in range(5):
            seen.quiet = _load(database, 5.0)
            if seen.quiet.rows < QUIET:
                break
    return seen


_READY = "pipeline = 'backlog' AND holder IS NULL AND due_at IS NULL"


def _claim(child: Child, seen: Seen) -> None:
    began = perf_counter()
    claimed, _ = child.claim(["taskplatform"])
    seen.claims.append(perf_counter() - began)
    child.remember(claimed)
    Batch(child, lambda _: None).execute(claimed)


def _count(database: Session, what: str) -> int:
    row = database.execute(f"SELECT count(*) FROM taskplatform.{what}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def _load(database: Session, seconds: float) -> Load:
    first = _counters(database)
    sleep(seconds)
    second = _counters(database)
    each = [
        (after - before) / (second[0] - first[0])
        for before, after in zip(first, second, strict=True)
    ]
    return Load(each[1], each[2], each[3])


def _counters(database: Session) -> list[float]:
    database.execute("SELECT pg_stat_force_next_flush()")
    (row,) = database.execute(
        "SELECT extract(epoch FROM clock_timestamp())::double precision, xact_commit,"
        " tup_inserted + tup_updated + tup_deleted, active_time / 1000"
        " FROM pg_stat_database WHERE datname = current_database()"
    ).fetchall()
    return [float(one) for one in row]


@contextmanager
def _child(url: str) -> Iterator[Child]:
    child = Child(
        url=url,
        worker=uuid7(),
        worker_name="urgent",
        table=SlotTable.create(),
        default_queue="taskplatform",
        put_off_limit=60.0,
    )
    try:
        yield child
    finally:
        child.close()


@contextmanager
def _worker(environment: dict[str, str]) -> Iterator[None]:
    given = {**os.environ, **environment, "TASKPLATFORM_PIPELINES": "tests.benchmarks.naps"}
    process = subprocess.Popen(
        [BIN / "celery", "-A", "taskplatform", "worker", "-c", "2", "-l", "ERROR"],
        env=given,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100)[98]


def main() -> int:
    """Measure, print; return the exit code."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-urgent-"))
    where = servers.servers(home, 0)
    with (
        servers.template(where.database_url, "urgent_template") as template,
        servers.database(where, "urgent", template) as url,
    ):
        seen = measure(url, {}, low=100_000, many=200, settle=120)
    _tell("a run starts after", seen.starts)
    _tell("an enqueue takes", seen.enqueues)
    _tell("a claim takes", seen.claims)
    print(f"the command to pause    {seen.pause * 1e3:9.1f} ms")
    print(f"all is set aside after  {len(seen.while_paused):9d} s; a second of the server's is,")
    _tell_load("while it is", seen.while_paused)
    _tell_load("afterwards", [seen.quiet] if seen.quiet else [])
    kept = median(seen.starts) < 1 and p99(seen.enqueues) < 0.05 and p99(seen.claims) < 0.05
    print("all bars are kept" if kept else "a bar is missed")
    return 0 if kept else 1


def _tell(what: str, values: list[float]) -> None:
    print(f"{what:23} {median(values) * 1e3:9.1f} ms, p99 {p99(values) * 1e3:.1f} ms")


def _tell_load(when: str, loads: list[Load]) -> None:
    for name in ("transactions", "rows", "busy"):
        values = [getattr(one, name) for one in loads]
        if values:
            print(f"  {when:12} {name:12} {median(values):9.2f}, at most {max(values):.2f}")


if __name__ == "__main__":
    sys.exit(main())
