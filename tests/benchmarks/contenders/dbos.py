"""DBOS: workflows and steps in its own Postgres tables, started from a queue by a client.

Tuned: two processes, and a poll of the queue every 20 ms instead of every second. `python -m` of
this module is one of its processes.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions

from tests.benchmarks.contender import Contender, Pace
from tests.benchmarks.jobs import ASLEEP, FIVE, ONE, SLEEP, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import DATABASE, READY
from tests.benchmarks.waiting import wait_for

_QUEUE = "benchmark"
_POLL = 0.02
_IN_A_TRANSACTION = 100


@DBOS.step()
def step(number: int, place: int) -> int:
    mark(number, place)
    return number


@DBOS.step()
def blocking_step(number: int) -> int:
    time.sleep(SLEEP_SECONDS)
    mark(number, 0)
    return number


@DBOS.step()
async def async_step(number: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    mark(number, 0)
    return number


@DBOS.workflow(name="five")
def five(number: int) -> int:
    for place in range(5):
        number = step(number, place)
    return number


@DBOS.workflow(name="one")
def one(number: int) -> int:
    done: int = step(number, 0)
    return done


@DBOS.workflow(name="sleep")
def sleep(number: int) -> int:
    done: int = blocking_step(number)
    return done


@DBOS.workflow(name="asleep")
async def asleep(number: int) -> int:
    done: int = await async_step(number, SLEEP_SECONDS)
    return done


@DBOS.workflow(name="second")
async def second(number: int) -> int:
    done: int = await async_step(number, 1.0)
    return done


class Dbos(Contender):
    """`DBOSClient.enqueue`; many at a time in one transaction, as there is no bulk call."""

    title = "DBOS (2 processes, poll 20 ms)"
    package = "dbos"
    durable = True
    shapes = frozenset({Shape.RATE, Shape.THREADS, Shape.ASYNC})
    jobs = frozenset({FIVE, ONE, SLEEP, ASLEEP})
    pace = Pace(bulk=45, one=160, stream=42, enqueue=600, enqueue_bulk=650, lone=12)

    def install(self) -> None:
        _launch(0)
        DBOS.destroy()

    def open(self) -> None:
        self._client = DBOSClient(system_database_url=self.place.database_url)
        url = sqlalchemy.make_url(self.place.database_url).set(drivername="postgresql+psycopg")
        self._engine = sqlalchemy.create_engine(url)

    def close(self) -> None:
        self._client.destroy()
        self._engine.dispose()

    def workers(self, shape: Shape) -> list[list[str]]:
        processes = 2 if shape is Shape.RATE else 1
        slots = "0" if shape is Shape.RATE else "100"
        self._processes = processes
        return [[sys.executable, "-m", __name__, slots] for _ in range(processes)]

    def started(self) -> None:
        ready = self.place.ready
        wait_for(
            lambda: len(list(ready.iterdir())) >= self._processes, 60.0, "DBOS was not ready", 0.05
        )

    def one(self, number: int, job: Job) -> None:
        self._client.enqueue(_options(job), number)

    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        rest, options = list(numbers), _options(job)
        while rest:
            now, rest = rest[:_IN_A_TRANSACTION], rest[_IN_A_TRANSACTION:]
            with self._engine.begin() as connection:
                for number in now:
                    self._client.enqueue_in_transaction(connection, options, number)


def _options(job: Job) -> EnqueueOptions:
    return {"workflow_name": job.name, "queue_name": _QUEUE}


def _launch(slots: int) -> None:
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": os.environ[DATABASE],
        "application_version": "1",
        "log_level": "WARNING",
    }
    if slots:
        config["sys_db_pool_size"] = 40
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(_QUEUE, worker_concurrency=slots or None, polling_interval_sec=_POLL)


def main() -> None:
    """Work until SIGTERM."""
    _launch(int(sys.argv[1]))
    (Path(os.environ[READY]) / str(os.getpid())).touch()
    signal.sigwait({signal.SIGTERM})
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
