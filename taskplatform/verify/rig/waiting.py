"""Waiting for facts, never for time."""

import time
from collections.abc import Callable


def wait_for(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `fact` holds; `seconds` bound it.

    Raises AssertionError that names `what`.
    """
    until = time.monotonic() + seconds
    while not fact():
        if time.monotonic() >= until:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
