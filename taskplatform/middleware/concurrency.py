"""Concurrency: a step starts only with a slot of each of its limits, or waits in line for one."""

from math import inf
from typing import Any

import psycopg

from taskplatform.core.concurrency import Concurrency
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Failed, Outcome, Withheld
from taskplatform.middleware.chain import Proceed, StepAttempt
from taskplatform.storage import slots
from taskplatform.storage.gates import gate_of
from taskplatform.storage.slots import Full


def concurrency(attempt: StepAttempt, proceed: Proceed) -> Outcome:
    """Let the body start if each limit of the step has room; take nothing of the others if not.

    The slots are given back with what the attempt comes to, whatever that is.
    """
    limits = attempt.step.concurrency
    if not limits:
        return proceed()
    try:
        wanted = wanted_of(limits, attempt.input)
    except Exception as error:
        return Failed(Failure.of(error))
    # Before they are asked for: the answer may be lost.
    attempt.gates.update(wanted)
    try:
        with attempt.transaction() as connection:
            full = slots.take(connection, attempt.asking, wanted)
    except psycopg.DataError as error:
        return Failed(Failure.of(error))
    return proceed() if full is None else Withheld("concurrency", inf, told(full), full.gate)


def wanted_of(limits: tuple[Concurrency, ...], input: Any) -> dict[str, int]:
    """The gates of an input, with their limits as declared; raises what a key function does."""
    return {gate_of("concurrency", one.name or "", one.scope(input)): one.limit for one in limits}


def told(full: Full) -> str:
    """What is waited for, in words."""
    _, name, key = full.gate.split(":", 2)
    shown = f"{name}[{key}]" if key else name
    return f"concurrency {shown}: {full.taken} of {full.most} taken"
