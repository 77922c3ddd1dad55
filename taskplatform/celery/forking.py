"""What pool children share with the worker that forks them: memory that none of them writes to."""

import gc
from typing import Any


def share_memory(**_: Any) -> None:
    """Take what is loaded out of the collector's sight, before the first child is forked.

    A collection writes to every object that it looks at. In a child it would copy the pages of
    nearly all of them; in the worker, before the next fork, it would part those that it shares
    with earlier children. Only once: what is hidden stays, garbage or not.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
