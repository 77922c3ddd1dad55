"""Waiting for a fact, with an end."""

from collections.abc import Callable
from time import monotonic, sleep

# How often the client looks whether the last body has executed; the same for all. Looking has its
# price on a small machine; a body notes its time itself, so it adds nothing to a contender whose
# last body is the end, and less than a commit takes to the platform.
LOOK = 0.0005


class Broken(Exception):
    """A contender did not do its work; there is no result of it."""


def wait_for(fact: Callable[[], bool], seconds: float, what: str, pause: float = LOOK) -> None:
    """Wait until it is so. Raises Broken after `seconds`."""
    deadline = monotonic() + seconds
    while not fact():
        if monotonic() > deadline:
            raise Broken(f"{what} within {seconds:g} s")
        sleep(pause)
