"""Identifiers that sort by the time they were made."""

import os
import threading
import time
from random import Random
from uuid import UUID, SafeUUID

_COUNTER_BITS = 42
_new, _set = object.__new__, object.__setattr__


class _Last:
    """The last identifier of this process, so that the next one is greater."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        # Its own, with a seed from the system: nobody else's seed is to make two processes alike.
        self.bits = Random().getrandbits
        self.lock = threading.Lock()
        self.millisecond = -1
        self.counter = 0


_last = _Last()
# A child must not go on with its parent's counter and bits, nor with a lock held at the fork.
os.register_at_fork(after_in_child=_last.forget)


def uuid7() -> UUID:
    """Make a version 7 UUID, greater than every earlier one of this process."""
    now = time.time_ns() // 1_000_000
    with _last.lock:
        tail = _last.bits(32)
        if now > _last.millisecond:
            _last.millisecond = now
            # The top bit stays free: room to count up within one millisecond.
            _last.counter = _last.bits(_COUNTER_BITS - 1)
        else:
            _last.counter += 1
            if _last.counter >> _COUNTER_BITS:
                _last.millisecond += 1
                _last.counter = 0
        millisecond, counter = _last.millisecond, _last.counter
    value = (millisecond & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= (counter >> 30) << 64
    value |= 0b10 << 62
    value |= (counter & ((1 << 30) - 1)) << 32
    value |= tail
    # As UUID(int=value), which first looks at all the other ways in which it may be asked.
    made = _new(UUID)
    _set(made, "int", value)
    _set(made, "is_safe", SafeUUID.unknown)
    return made
