"""PgQueuer: a queue in Postgres; each of five async jobs enqueues the next one.

Two processes over asyncpg. `python -m` of this module is one: it does what `pgq run` does, which
with some versions of its libraries fails over its own option for the level of logging.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer as Manager
from pgqueuer.adapters.cli import supervisor
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job as PgJob
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from tests.benchmarks.contender import Contender, Pace
from tests.benchmarks.jobs import ASLEEP, FIVE, ONE, SLEEP_SECONDS, Job, Shape
from tests.benchmarks.marks import mark
from tests.benchmarks.place import DATABASE

_BATCH = 100


@asynccontextmanager
async def worker() -> AsyncIterator[Manager]:
    """A consumer, as the documentation has it."""
    connection = await asyncpg.connect(os.environ[DATABASE])
    driver = AsyncpgDriver(connection)
    queuer, queries = Manager(driver), Queries(driver)

    @queuer.entrypoint("five")
    async def five(job: PgJob) -> None:
        number, place = map(int, (job.payload or b"").split())
        mark(number, place)
        if place < 4:
            await queries.enqueue("five", b"%d %d" % (number, place + 1))

    @queuer.entrypoint("one")
    async def one(job: PgJob) -> None:
        mark(int((job.payload or b"").split()[0]), 0)

    @queuer.entrypoint("asleep")
    async def asleep(job: PgJob) -> None:
        await asyncio.sleep(SLEEP_SECONDS)
        await one(job)

    yield queuer
    await connection.close()


class PgQueuer(Contender):
    """`queries.enqueue`, of one or of many."""

    title = "PgQueuer"
    package = "pgqueuer"
    durable = False
    shapes = frozenset({Shape.RATE, Shape.ASYNC})
    jobs = frozenset({FIVE, ONE, ASLEEP})
    pace = Pace(bulk=200, one=3000, stream=140, enqueue=1200, enqueue_bulk=20000)

    def install(self) -> None:
        async def install() -> None:
            connection = await asyncpg.connect(self.place.database_url)
            await Queries(AsyncpgDriver(connection)).install()
            await connection.close()

        asyncio.run(install())

    def open(self) -> None:
        self._loop = asyncio.new_event_loop()
        connect = asyncpg.connect(self.place.database_url)
        self._connection = self._loop.run_until_complete(connect)
        self._queries = Queries(AsyncpgDriver(self._connection))

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()

    def workers(self, shape: Shape) -> list[list[str]]:
        command = [sys.executable, "-m", __name__]
        # At least twice the batch, it says.
        return [command] * 2 if shape is Shape.RATE else [[*command, str(2 * _BATCH)]]

    def one(self, number: int, job: Job) -> None:
        self._loop.run_until_complete(self._queries.enqueue(job.name, b"%d 0" % number))

    def bulk(self, numbers: Iterable[int], job: Job) -> None:
        payloads: list[bytes | None] = [b"%d 0" % number for number in numbers]
        many = len(payloads)
        enqueue = self._queries.enqueue([job.name] * many, payloads, [0] * many)
        self._loop.run_until_complete(enqueue)


def main() -> None:
    """Work until SIGTERM."""
    work = supervisor.run(
        worker,
        dequeue_timeout=timedelta(seconds=30),
        batch_size=_BATCH,
        restart_delay=timedelta(seconds=5),
        restart_on_failure=False,
        mode=QueueExecutionMode.continuous,
        max_concurrent_tasks=int(sys.argv[1]) if len(sys.argv) > 1 else None,
        shutdown_on_listener_failure=False,
    )
    uvloop.run(work)


if __name__ == "__main__":
    main()
