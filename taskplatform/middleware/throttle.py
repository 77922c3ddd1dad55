"""Throttle: a step starts only with a grant of each of its limits, taken just before the body."""

from dataclasses import dataclass
from time import monotonic

import psycopg

from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Failed, Outcome, Withheld
from taskplatform.middleware.chain import Proceed, StepAttempt
from taskplatform.storage.connection import Session
from taskplatform.storage.throttles import VALID_SHARE, grant


class _Refused(Exception):
    def __init__(self, withheld: Withheld) -> None:
        self.withheld = withheld


@dataclass(frozen=True, order=True, slots=True)
class _Wanted:
    name: str
    scope: str
    limit: int
    window: float

    @property
    def shown(self) -> str:
        return f"{self.name}[{self.scope}]" if self.scope else self.name


def throttle(attempt: StepAttempt, proceed: Proceed) -> Outcome:
    """Let the body start if every throttle of the step grants it; otherwise say when to ask again.

    The grants are one transaction: a refusal by the last limit uses nothing of the others. A
    grant that came too late to be used within its validity is void, and asked for again.
    """
    if not attempt.step.throttles:
        return proceed()
    try:
        wanted = _wanted(attempt)
    except Exception as error:
        return Failed(Failure.of(error))
    shortest = min(one.window for one in wanted)
    for _ in range(3):
        asked = monotonic()
        try:
            with attempt.transaction() as connection:
                _grant_all(connection, wanted)
        except _Refused as refused:
            return refused.withheld
        except psycopg.DataError as error:
            return Failed(Failure.of(error))
        if monotonic() - asked < shortest * VALID_SHARE:
            return proceed()
    why = f"throttle {wanted[0].shown}: grants came too late"
    return Withheld("throttle", shortest * VALID_SHARE, why)


def _wanted(attempt: StepAttempt) -> list[_Wanted]:
    # The users' key functions are called before the transaction begins. In one order, whatever
    # that of the declaration: making the first slots of a limit waits for others who make them.
    return sorted(
        _Wanted(one.name, one.scope(attempt.input), one.limit, one.per)
        for one in attempt.step.throttles
    )


def _grant_all(connection: Session, wanted: list[_Wanted]) -> None:
    for one in wanted:
        given = grant(
            connection, name=one.name, scope=one.scope, limit=one.limit, window=one.window
        )
        if given.slot is None:
            raise _Refused(Withheld("throttle", given.seconds, f"throttle {one.shown}"))
