"""What follows a run in a user's canvas, when others than its messages ended the run."""

from time import monotonic

from taskplatform.celery import tails
from taskplatform.celery.installed import platform_app
from taskplatform.storage.canvases import any_open
from taskplatform.supervisor.session import Database

EVERY = 0.25
_NOTHING_OPEN = 1.0
# However many are open, looking at them may take so much of the time.
_SHARE = 0.05


def sweep(database: Database) -> float:
    """Publish what is ready; return in how many seconds to look again."""
    if not database.ask(any_open, False):
        return _NOTHING_OPEN
    began = monotonic()
    database.ask(lambda connection: tails.publish(connection, platform_app()), 0)
    return max(EVERY, (monotonic() - began) / _SHARE)
