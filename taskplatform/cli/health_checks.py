"""What `health` looks at in the database: is it working now?"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg

from taskplatform.cli import words
from taskplatform.cli.checks import clock, migration, paused, unreachable, version
from taskplatform.cli.finding import Finding, bad, good, odd
from taskplatform.errors import Unavailable
from taskplatform.storage import health, revision, workers
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.workers import Worker

# A supervisor reports every three seconds.
_SILENT = 8.0
_WAITED = 300.0
_LONG_SNAPSHOT = 60.0
_CLOCK = 2.0
_WORKER = "celery -A taskplatform worker"
_STATEMENT_SECONDS = 2


def database(url: str) -> Iterator[Finding]:
    """Reachable, writable, migrated, and executing what it is asked for."""
    try:
        with connect(url, pinned=False, name="taskplatform health") as one:
            health.hurry(one, _STATEMENT_SECONDS)
            facts = health.facts(one)
            yield version(url, facts)
            yield clock(facts.now, datetime.now(UTC))
            yield disk(one)
            current, newest = revision.current(one), revision.head()
            yield migration(current, newest)
            if current == newest:
                for look in (_workers, _queues, paused, _oldest, _stuck, _snapshots):
                    yield from _bounded(look, one)
    except Unavailable as error:
        yield unreachable(url, error)
    except psycopg.Error as error:
        yield unreachable(url, Unavailable(str(error).strip()))


def _bounded(look: Callable[[Session], Iterator[Finding]], one: Session) -> Iterator[Finding]:
    try:
        yield from look(one)
    except psycopg.errors.QueryCanceled:
        name = look.__name__.strip("_")
        what = f"the database took longer than {_STATEMENT_SECONDS} s to tell"
        yield odd(name, what, "it is busy: look at pg_stat_activity and the size of the backlog")


def disk(connection: Session) -> Finding:
    """The server can write to its disk."""
    try:
        health.spill(connection)
    except psycopg.errors.DiskFull as error:
        return bad("disk", f"the database's disk is full: {error}", "free space on it")
    except psycopg.errors.ConfigurationLimitExceeded as error:
        return odd(
            "disk", f"the database cannot write a temporary file: {error}", "raise its limit"
        )
    return good("disk", "the database can write to its disk")


def _workers(connection: Session) -> Iterator[Finding]:
    alive = workers.live(connection)
    if not alive:
        yield bad("workers", "none is alive, runs wait", _WORKER)
        return
    busy, room = sum(one.busy for one in alive), sum(one.concurrency for one in alive)
    last = max(one.silent_for for one in alive)
    yield good("workers", f"{len(alive)} alive, {busy}/{room} busy, last seen {last:.0f} s ago")
    for one in alive:
        yield from worker(one)


def worker(one: Worker) -> Iterator[Finding]:
    """A worker's supervisor speaks, and its clock is right."""
    if one.silent_for > _SILENT:
        what = f"the supervisor of {one.name} has been silent for {one.silent_for:.0f} s"
        yield odd("workers", what, f"look at process {one.pid} on {one.host}")
    if one.clock_ahead is not None and abs(one.clock_ahead) > _CLOCK:
        what = f"the clock of {one.host} and the database's are {abs(one.clock_ahead):.1f} s apart"
        yield odd("clock", what, "synchronize both by NTP; due times are by the database's")


def _queues(connection: Session) -> Iterator[Finding]:
    for queue, count in workers.unserved(connection).items():
        what = f"no worker for queue {queue}: {count} open runs wait that none can execute"
        yield bad("queues", what, f"{_WORKER} -Q {queue}")


def _oldest(connection: Session) -> Iterator[Finding]:
    oldest = health.oldest_queued(connection)
    if oldest is None:
        yield good("backlog", "nothing is queued")
        return
    age = (health.facts(connection).now - oldest).total_seconds()
    what = f"the oldest queued run was enqueued {words.length(age)} ago"
    if age > _WAITED:
        yield odd("backlog", what, "more workers, or a look at what they are doing")
    else:
        yield good("backlog", what)


def _stuck(connection: Session) -> Iterator[Finding]:
    held, lost = health.stuck(connection)
    if held:
        what = f"{held} branches are held by nobody who lives, and nobody gives them back"
        yield odd("stuck", what, f"supervisors do, so start a worker: {_WORKER}")
    if lost:
        what = f"{lost} open runs have no work left: this is a defect, please report it"
        yield bad("stuck", what, "replay them: taskplatform runs replay ID")
    if not (held or lost):
        yield good("stuck", "nothing is stuck")


def _snapshots(connection: Session) -> Iterator[Finding]:
    for one in health.long_transactions(connection, _LONG_SNAPSHOT):
        who = f"{one.user} ({one.application or 'no application_name'}), pid {one.pid}, {one.state}"
        what = (
            f"a transaction of {who}, has been open for {words.length(one.age)}: claims slow down"
        )
        yield odd("snapshots", what, f"SELECT pg_terminate_backend({one.pid})")
