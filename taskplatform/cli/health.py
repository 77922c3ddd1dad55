"""`taskplatform health`."""

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import rich_click as click

from taskplatform.cli import place
from taskplatform.cli.broker_checks import broker
from taskplatform.cli.doctor import any_failed
from taskplatform.cli.failures import Exit
from taskplatform.cli.finding import Finding, bad
from taskplatform.cli.health_checks import database
from taskplatform.cli.output import output_option
from taskplatform.endpoints import Endpoints

# With the time that Python takes to start, five seconds.
_PATIENCE = 3.5
_REMEDIES = {
    "broker": "runs are stored and go on when it is back; look at its process and its network",
    "database": "look at its process and its network; nothing starts until it answers",
}


@click.command()
@output_option
def health(form: str) -> Exit:
    """Tell what is down or suspicious now; answers within five seconds.

    \b
    taskplatform health
    taskplatform health -o json

    For monitoring, where `doctor` is for the installation. ✓ is as it should be, ! is suspicious,
    ✗ is down. Exit 0 if nothing is down, else 69.
    """
    return Exit.UNAVAILABLE if any_failed(findings(place.servers()), form) else Exit.OK


def findings(servers: Endpoints, patience: float = _PATIENCE) -> Iterator[Finding]:
    """Look at broker and database at once; who has not answered in time is down."""
    until = monotonic() + patience
    parts = {
        "broker": _started(lambda: broker(servers.broker_url, durable=False)),
        "database": _started(lambda: database(servers.database_url)),
    }
    for name, found in parts.items():
        try:
            while (one := found.get(timeout=max(0.0, until - monotonic()))) is not None:
                yield one
        except Empty:
            yield bad(name, f"it does not answer within {patience:g} s", _REMEDIES[name])


def _started(look: Callable[[], Iterator[Finding]]) -> SimpleQueue[Finding | None]:
    found: SimpleQueue[Finding | None] = SimpleQueue()

    def work() -> None:
        for one in look():
            found.put(one)
        found.put(None)

    # A daemon: who hangs in it does not keep the command from ending.
    Thread(target=work, daemon=True).start()
    return found
