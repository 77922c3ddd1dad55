"""Found by Python before all else, in workers of a bench: their wall clock can be shifted.

By as many seconds as VERIFY_CLOCK's file says, a double. Monotonic clocks are left as they are, as
they are by whoever sets the time of a machine. (libfaketime breaks time.sleep of newer Pythons.)
"""

import datetime
import mmap
import os
import struct
import time
from typing import Any

_now, _now_ns = time.time, time.time_ns
_real = datetime.datetime


def _shift(path: str) -> None:
    with open(path, "rb") as file:
        seconds = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def shift() -> float:
        return float(struct.unpack_from("d", seconds)[0])

    time.time = lambda: _now() + shift()
    time.time_ns = lambda: _now_ns() + int(shift() * 1e9)

    class OfEither(type):
        def __instancecheck__(cls, one: object) -> bool:
            return isinstance(one, _real)

        def __subclasscheck__(cls, one: type) -> bool:
            return issubclass(one, _real)

    class Shifted(_real, metaclass=OfEither):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return _real.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return _real.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    Shifted.__name__ = Shifted.__qualname__ = "datetime"
    Shifted.__module__ = "datetime"
    datetime.datetime = Shifted  # type: ignore[misc]


if path := os.environ.get("VERIFY_CLOCK"):
    _shift(path)
