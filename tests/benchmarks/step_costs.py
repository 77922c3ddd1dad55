"""Where the CPU time of a durable step goes: `python -m tests.benchmarks.step_costs`.

One child in this process works off runs of five steps that do nothing, so that its time, its
backend's and that of the client can be read from the kernel; then the parts of an attempt, each by
itself. Microseconds of CPU, the least of several rounds: what other processes do to the caches can
only add to it.
"""

import os
import tempfile
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import psycopg
from pydantic import BaseModel

from taskplatform import Pipeline, app, enqueue_many
from taskplatform.celery.identity import current_child
from taskplatform.celery.steps import register_steps
from taskplatform.client.session import connection as client_connection
from taskplatform.core import registry
from taskplatform.core.outcome import Succeeded
from taskplatform.embedded import endpoints, erase
from taskplatform.endpoints import database_url
from taskplatform.executor import verdict
from taskplatform.executor.attempt import attempt, context
from taskplatform.executor.batch import Batch
from taskplatform.executor.branch import Branch, open_branch
from taskplatform.executor.child import Child
from taskplatform.storage.connection import close_pools
from taskplatform.storage.migrations import upgrade
from taskplatform.storage.settle_rows import encode, result
from taskplatform.storage.settlement import Settlement

RUNS, ROUNDS, CALLS = 2_000, 7, 2_000


class Number(BaseModel):
    """Which run it is."""

    number: int


five = Pipeline("step-costs", input=Number)


@five.step(name="first")
def _first(input: Number) -> Number:
    return input


@five.step(name="second")
def _second(first: Number) -> Number:
    return first


@five.step(name="third")
def _third(second: Number) -> Number:
    return second


@five.step(name="fourth")
def _fourth(third: Number) -> Number:
    return third


@five.step(name="fifth")
def _fifth(fourth: Number) -> Number:
    return fourth


@dataclass(frozen=True)
class Totals:
    """Of one round, in microseconds a run."""

    enqueue: float
    enqueue_backend: float
    child: float
    backend: float
    wal_bytes: float


def main() -> None:
    """Measure and print."""
    with _home(), psycopg.connect(database_url(), autocommit=True) as admin:
        registry.finalize_all()
        register_steps(app)
        child = current_child(app)
        rounds = [_round(child, admin) for _ in range(ROUNDS + 1)][1:]
        print(f"{'microseconds of CPU':44}{'a run of 5':>12}{'a step':>10}")
        for title, field in (
            ("enqueue_many: client", "enqueue"),
            ("enqueue_many: Postgres", "enqueue_backend"),
            ("claim, execute, settle: child", "child"),
            ("claim, execute, settle: Postgres", "backend"),
        ):
            _print(title, min(getattr(one, field) for one in rounds))
        print(f"bytes of WAL for claim and settle: {min(one.wal_bytes for one in rounds):.0f}")
        for title, seconds in _parts(child).items():
            print(f"{title:44}{'':12}{seconds * 1e6:>10.1f}")
        child.close()


@contextmanager
def _home() -> Iterator[None]:
    """Servers of its own, erased at the end."""
    home = Path(tempfile.mkdtemp(prefix="taskplatform-step-costs-"))
    try:
        found = endpoints(home)
        upgrade(found.database_url)
        os.environ["TASKPLATFORM_DATABASE_URL"] = found.database_url
        os.environ["TASKPLATFORM_BROKER_URL"] = found.broker_url
        yield
        close_pools()
    finally:
        erase(home)


def _round(child: Child, admin: psycopg.Connection[tuple[object, ...]]) -> Totals:
    admin.execute("TRUNCATE taskplatform.runs, taskplatform.work, taskplatform.step_results")
    inputs = [Number(number=number) for number in range(RUNS)]
    with client_connection() as one:
        client = one.info.backend_pid
    began, backend = process_time(), _cpu(client)
    enqueue_many(five, inputs)
    enqueued = process_time() - began, _cpu(client) - backend
    pid, wal = child.connection.info.backend_pid, _wal(admin)
    began, backend = process_time(), _cpu(pid)
    while claimed := child.claim([child.default_queue])[0]:
        child.remember(claimed)
        Batch(child, lambda _: None).execute(claimed)
    drained = process_time() - began, _cpu(pid) - backend
    spent = [one / RUNS * 1e6 for one in (*enqueued, *drained)]
    return Totals(spent[0], spent[1], spent[2], spent[3], (_wal(admin) - wal) / RUNS)


def _parts(child: Child) -> dict[str, float]:
    """Seconds of the parts of an attempt."""
    enqueue_many(five, [Number(number=0)])
    (claimed,), _ = child.claim([child.default_queue])
    branch = open_branch(claimed, five)
    assert branch is not None
    step, value = branch.step, Number(number=0)
    arguments, output = step.bind(claimed.input, {}, context(child, branch)), step.encode(value)
    settled = _judged(child, branch, output)
    made = settled.result
    assert made is not None

    def instrument() -> None:
        token = child.instrument.started(step, branch.run, 1, step.name)
        child.instrument.ended(token, step, Succeeded(output), None)

    def limit() -> None:
        child.time_limit.arm(300)
        child.time_limit.armed = False

    def note() -> None:
        child.slot.begin(1, 1, 1)
        child.slot.end()

    def body() -> None:
        step.function(**arguments)

    parts: dict[str, Callable[[], object]] = {
        "an attempt, with the parts below": lambda: attempt(child, branch, arguments),
        "  body, which does nothing": body,
        "  output: validate, encode, read back": lambda: step.encode(value),
        "  current_task, request, signals": instrument,
        "  note of the body in shared memory": note,
        "  time limit": limit,
        "bind: read what is stored": lambda: step.bind(claimed.input, {}, context(child, branch)),
        "judge, and what is to be settled": lambda: _judged(child, branch, output),
        "one row for settle, as JSON": lambda: encode([result(settled, made)]),
    }
    return {
        title: min(timeit.repeat(part, number=CALLS, repeat=ROUNDS, timer=process_time)) / CALLS
        for title, part in parts.items()
    }


def _judged(child: Child, branch: Branch, output: bytes) -> Settlement:
    return verdict.advance(
        branch,
        output,
        child.default_queue,
        child.costs,
        verdict.Room(),
        go_on=not child.must_yield(),
    )


def _print(title: str, run: float) -> None:
    print(f"{title:44}{run:>12.0f}{run / len(five.steps):>10.1f}")


def _cpu(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _wal(admin: psycopg.Connection[tuple[object, ...]]) -> int:
    row = admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(str(row[0]))


if __name__ == "__main__":
    main()
