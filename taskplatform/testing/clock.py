"""Let time pass in a test: delays become due without waiting for them."""

from taskplatform.client.session import call
from taskplatform.core import duration
from taskplatform.core.duration import Duration
from taskplatform.storage import clock
from taskplatform.storage.connection import Session, connect


def advance(delta: Duration, *, connection: Session | None = None, url: str | None = None) -> None:
    """Make `delta` pass for the whole database, also for workers in other processes.

    All stored moments move into the past, in one transaction: what is due within `delta` is due
    now, idempotency and throttle windows shorten, history looks older. Leases and executing
    bodies are left alone. Without a connection or a URL, in the database in force.

    For tests only: it rewrites history, and after more than a day `list_runs(until=...)` may
    miss runs, whose ids keep their time.
    """
    seconds = duration.seconds(delta)
    if connection is not None:
        clock.advance(connection, seconds)
    elif url is not None:
        with connect(url, pinned=False) as own:
            clock.advance(own, seconds)
    else:
        call(lambda session, _: clock.advance(session, seconds))
