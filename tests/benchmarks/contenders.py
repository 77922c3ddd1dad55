"""The two contenders: what each enqueues by, how its worker starts, and when it is done."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, monotonic_ns, sleep
from typing import Protocol

import psycopg
from celery import chain
from redis import Redis

from taskplatform import Pipeline, enqueue_many
from tests.benchmarks import chain_app, noop
from tests.benchmarks.servers import FIVE, Servers

CONCURRENCY = 2
_STOP_SECONDS = 30.0
# How often the client looks whether the last body has executed; the same for both. Looking has its
# price on a small machine; a body notes its time itself, so it adds nothing to a chain, and less
# than a commit takes to the platform.
LOOK = 0.0005
# How often it asks, after that, whether the run's end is committed: on the platform's account.
ASK = 0.0002


class Broken(Exception):
    """A contender did not do its work; the benchmark has no result."""


class Contender(Protocol):
    """What is measured. Runs are numbered from 0 within a measurement."""

    name: str

    def worker(self) -> list[str]:
        """The command line of its worker."""

    def one(self, number: int, steps: int) -> None:
        """Enqueue one run."""

    def bulk(self, numbers: Iterable[int], steps: int) -> None:
        """Enqueue many, by the fastest way there is."""

    def finished_ns(self) -> int:
        """When the last of all runs was done; called as soon as its last body has started."""

    def problem(self, runs: int, steps: int) -> str | None:
        """What is wrong with what the runs left behind, beyond the marks."""

    def clear(self) -> None:
        """Forget everything about earlier runs; nothing may be executing."""


class Platform:
    """taskplatform: durable, typed, validated."""

    name = "platform"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._connection = psycopg.connect(servers.database_url, autocommit=True)

    def worker(self) -> list[str]:
        return _celery("taskplatform")

    def one(self, number: int, steps: int) -> None:
        _pipeline(steps).enqueue(noop.Number(number=number))

    def bulk(self, numbers: Iterable[int], steps: int) -> None:
        enqueue_many(_pipeline(steps), [noop.Number(number=number) for number in numbers])

    def finished_ns(self) -> int:
        # Done is what another connection sees as committed; before the last body nobody asks.
        # Not runs.finished_at: that is taken before the commit.
        while True:
            row = self._connection.execute("SELECT EXISTS (SELECT FROM taskplatform.work)")
            if row.fetchone() == (False,):
                return monotonic_ns()
            sleep(ASK)

    def problem(self, runs: int, steps: int) -> str | None:
        row = self._connection.execute(
            "SELECT (SELECT count(*) FROM taskplatform.runs WHERE status = 'succeeded'),"
            " (SELECT count(*) FROM taskplatform.runs),"
            " (SELECT count(*) FROM taskplatform.step_results WHERE attempt = 1)"
        ).fetchone()
        if row == (runs, runs, runs * steps):
            return None
        return f"(succeeded, runs, results) are {row}, not {(runs, runs, runs * steps)}"

    def clear(self) -> None:
        # The supervisor's own duties go on, and lock tables in another order.
        for left in reversed(range(5)):
            try:
                self._connection.execute(
                    "TRUNCATE taskplatform.runs, taskplatform.work, taskplatform.step_results"
                )
                return
            except psycopg.errors.DeadlockDetected:
                if not left:
                    raise

    def commits(self) -> int:
        """Transactions committed in the database, reading ones too."""
        self._connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        return self._number("SELECT xact_commit FROM pg_stat_database WHERE datname = "
                            "current_database()")  # fmt: skip

    def wal_bytes(self) -> int:
        """Where the write-ahead log ends."""
        return self._number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")

    def _number(self, statement: str) -> int:
        row = self._connection.execute(statement.encode()).fetchone()
        assert row is not None
        return int(row[0])


class Chain:
    """Celery's own chain: a message a step, nothing stored."""

    name = "chain"

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def worker(self) -> list[str]:
        return _celery("tests.benchmarks.chain_app")

    def one(self, number: int, steps: int) -> None:
        self._canvas(number, steps).apply_async()

    def bulk(self, numbers: Iterable[int], steps: int) -> None:
        with chain_app.app.producer_or_acquire() as producer:
            for number in numbers:
                self._canvas(number, steps).apply_async(producer=producer)

    def _canvas(self, number: int, steps: int) -> chain:
        tasks = chain_app
        if steps == FIVE:
            rest = (tasks.second.s(), tasks.third.s(), tasks.fourth.s(), tasks.fifth.s())
            return chain(tasks.first.s(number), *rest)
        return tasks.only.s(number)

    def finished_ns(self) -> int:
        # Nothing is committed: the last body is the end.
        return self._servers.marks.last_ns()

    def problem(self, runs: int, steps: int) -> str | None:
        return None

    def clear(self) -> None:
        with Redis.from_url(self._servers.chain_broker) as client:
            left = client.llen("celery")
        if left:
            raise Broken(f"the chain left {left} messages")


def _pipeline(steps: int) -> Pipeline[noop.Number]:
    return noop.five if steps == FIVE else noop.single


def _celery(app: str) -> list[str]:
    options = ["-c", str(CONCURRENCY), "--loglevel=WARNING"]
    return [sys.executable, "-m", "celery", "-A", app, "worker", *options]


@contextmanager
def working(contender: Contender) -> Iterator[None]:
    """The contender's worker, as a process of its own, from ready to ended."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            contender.worker(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield
        except BaseException:
            log.seek(0)
            sys.stderr.buffer.write(log.read())
            raise
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(fact: Callable[[], bool], seconds: float, what: str, pause: float = LOOK) -> None:
    """Wait until it is so. Raises Broken after `seconds`."""
    deadline = monotonic() + seconds
    while not fact():
        if monotonic() > deadline:
            raise Broken(f"{what} within {seconds:g} s")
        sleep(pause)
