"""Memory that a large message took: given back to the system, where the C library would keep it."""

import ctypes
from contextlib import suppress

# Below this it is not worth the call, which takes about a millisecond.
LARGE = 1024 * 1024

_trim = None
# Only glibc keeps it, and only glibc has the call.
with suppress(OSError, AttributeError):
    _trim = ctypes.CDLL(None).malloc_trim


def give_back() -> None:
    """Give back what is free."""
    if _trim is not None:
        _trim(0)
