"""What `doctor` looks at, one check after the other."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from taskplatform.cli import place
from taskplatform.cli.broker_checks import broker
from taskplatform.cli.finding import Finding, bad, good, odd
from taskplatform.cli.pauses import told
from taskplatform.core import registry
from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.core.redaction import redact
from taskplatform.core.sealing import vault
from taskplatform.endpoints import Endpoints
from taskplatform.errors import TaskPlatformError, Unavailable
from taskplatform.settings import PREFIX, get_settings
from taskplatform.storage import health, pauses, revision, workers
from taskplatform.storage.connection import Session, connect
from taskplatform.storage.health import Facts

_OLDEST = 150000
_CLOCK = 2.0
_NO_SLOT = re.compile("too many|connection slots")
_WORKER = "celery -A taskplatform worker"
_UPGRADE = "taskplatform db upgrade"


def findings() -> Iterator[Finding]:
    """Check everything; what stands on something that failed is left out."""
    try:
        settings = get_settings()
    except TaskPlatformError as error:
        yield bad("settings", str(error), "correct it; `taskplatform config show` lists them")
        return
    unset = [name for name in ("database_url", "broker_url") if getattr(settings, name) is None]
    embedded = f", {' and '.join(unset)} not set: embedded" if unset else ""
    yield good("settings", f"read{embedded}; `taskplatform config show` lists them")
    yield _pipelines()
    yield from _keys()
    try:
        servers = place.servers()
    except Unavailable as error:
        name = "embedded servers" if unset else "database"
        yield bad(name, str(error), "set TASKPLATFORM_DATABASE_URL and TASKPLATFORM_BROKER_URL")
        return
    yield from broker(servers.broker_url)
    yield from _database(servers)


def _pipelines() -> Finding:
    try:
        place.pipelines()
    except TaskPlatformError as error:
        return bad("pipelines", str(error), "correct the declaration")
    found = [one for one in registry.names() if not one.startswith(HANDLER_PREFIX)]
    if not found:
        modules = get_settings().pipelines
        remedy = f"declare one in the module {modules!r}, or set TASKPLATFORM_PIPELINES"
        return odd("pipelines", "none is declared", remedy)
    return good("pipelines", f"{len(found)} declared: {', '.join(found)}")


def _keys() -> Iterator[Finding]:
    wanting = [one.name for one in registry.all() if one.declares_secrets]
    try:
        # Sealed and opened, so that keys and cipher are known to work.
        key, sealed = vault().seal(b"0")
        vault().open(key, sealed)
    except TaskPlatformError as error:
        if wanting or get_settings().secret_keys is not None:
            what = f"secrets of {', '.join(wanting)} cannot be stored" if wanting else "unusable"
            yield bad("secrets", f"{what}: {error}", f"set {PREFIX}SECRET_KEYS")
    else:
        yield good("secrets", f"new ones are sealed with key {key}")


def _database(servers: Endpoints) -> Iterator[Finding]:
    url = servers.database_url
    try:
        with (
            connect(url, pinned=False, name="taskplatform doctor") as one,
            connect(url, pinned=False, name="taskplatform doctor") as other,
        ):
            facts = health.facts(one)
            yield version(url, facts)
            yield clock(health.facts(one).now, datetime.now(UTC))
            yield durability(facts)
            yield pooling(*health.backends(one, other), health.announced_backend(one))
            current, newest = revision.current(one), revision.head()
            yield migration(current, newest)
            if current == newest:
                yield from _workers(one)
                yield from paused(one)
    except Unavailable as error:
        yield unreachable(url, error)


def unreachable(url: str, error: Unavailable) -> Finding:
    """Nobody can connect, or nobody else."""
    remedy = "start it, or correct TASKPLATFORM_DATABASE_URL"
    if _NO_SLOT.search(str(error)):
        remedy = "end sessions that are not needed (pg_stat_activity), or raise max_connections"
    return bad("database", f"{redact(url)} cannot be reached: {error}", remedy)


def version(url: str, facts: Facts) -> Finding:
    """PostgreSQL 15 or newer, and writable."""
    said = f"PostgreSQL {facts.version} at {redact(url)}"
    if facts.version_number < _OLDEST:
        return bad("database", f"{said} is too old", "use PostgreSQL 15 or newer")
    if facts.read_only:
        return bad("database", f"{said} is read-only", "give the URL of the primary server")
    return good("database", f"{said} answers")


def clock(there: datetime, here: datetime) -> Finding:
    """Delays and retries go by the database's clock."""
    apart = abs((there - here).total_seconds())
    if apart > _CLOCK:
        what = f"this machine and the database are {apart:.1f} s apart"
        return odd("clock", what, "synchronize both by NTP; due times are by the database's")
    return good("clock", f"this machine and the database are {apart * 1000:.0f} ms apart")


def durability(facts: Facts) -> Finding:
    """An accepted run must survive a crash of the database."""
    if not (facts.fsync and facts.full_page_writes):
        off = "fsync" if not facts.fsync else "full_page_writes"
        what = f"{off} is off: a crash of the machine may lose everything"
        return odd("durability", what, f"turn it on in postgresql.conf: {off} = on")
    if facts.synchronous_commit == "off":
        what = "synchronous_commit is off: a crash may lose runs that were accepted"
        return odd("durability", what, "ALTER DATABASE ... SET synchronous_commit = on")
    return good("durability", "a commit is on disk when it returns")


def pooling(one: set[int], other: set[int], announced: int) -> Finding:
    """Settings of a session must stay with it: a pooler by transaction takes them away."""
    if len(one) > 1 or len(other) > 1 or one & other:
        what = "a pooler in between pools by transaction (PgBouncer's pool_mode)"
        return bad("pooling", what, "use pool_mode = session, or the database's own port")
    if announced not in one:
        return good("pooling", "a pooler is in between, and it pools by session")
    return good("pooling", "no pooler in between")


def migration(current: str | None, newest: str) -> Finding:
    """The schema is that of this version."""
    if current == newest:
        return good("migration", f"the schema is at {current}, the newest")
    if current is None:
        return bad("migration", "the database has no schema of the platform yet", _UPGRADE)
    return bad("migration", f"the schema is at {current}, the newest is {newest}", _UPGRADE)


def paused(connection: Session) -> Iterator[Finding]:
    """Pipelines that nobody claims."""
    for one in pauses.pauses(connection):
        what = f"{one.pipeline} is {told(one)}"
        resume = f"taskplatform pipelines resume {one.pipeline}"
        if one.reason == "breaker":
            yield bad("breaker", what, f"mend it, then: {resume}")
        else:
            yield odd("paused", what, resume)


def _workers(connection: Session) -> Iterator[Finding]:
    alive = workers.live(connection)
    if alive:
        names = ", ".join(f"{one.name} ({one.concurrency})" for one in alive)
        yield good("workers", f"{len(alive)} alive: {names}")
    else:
        yield odd("workers", "none is alive, runs wait", _WORKER)
    for queue, count in workers.unserved(connection).items():
        what = f"{count} open runs wait on queue {queue!r}, which no worker serves with their code"
        yield odd("queues", what, f"{_WORKER} -Q {queue}")
