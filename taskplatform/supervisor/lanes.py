"""Lanes: forgetting what idle ones have used."""

from time import monotonic

from taskplatform.storage import lanes
from taskplatform.supervisor.session import Database

# Who comes back sooner than that has saved up no more than was used meanwhile.
EVERY, QUIET = 1.0, 5.0
# However many there are, looking at them may take so much of the time.
_SHARE = 0.05


def sweep(database: Database) -> float:
    """Sweep; return in how many seconds to sweep again."""
    began = monotonic()
    if not database.ask(lanes.sweep, False):
        return QUIET
    return max(EVERY, (monotonic() - began) / _SHARE)
