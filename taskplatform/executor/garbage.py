"""How often the garbage collector looks while a batch of short steps is under way."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# A collection looks at all that is new. What a batch makes lives until its commit, so looking at it
# every few hundred objects finds nothing, and costs as much as a tenth of the batch.
_SELDOM = 10_000


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Collect after more new objects than otherwise; for the process's main thread.

    Only for as long as bodies are short: one that takes its time may leave little that is large.
    """
    ordinary = gc.get_threshold()
    if 0 < ordinary[0] < _SELDOM:
        gc.set_threshold(_SELDOM, *ordinary[1:])
    try:
        yield
    finally:
        gc.set_threshold(*ordinary)
