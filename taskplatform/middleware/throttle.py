"""Throttle: a step starts only with a grant of each of its limits, taken just before the body."""

from time import monotonic

from taskplatform.core.outcome import Outcome, Withheld
from taskplatform.middleware.chain import Proceed, StepAttempt
from taskplatform.storage.connection import Session
from taskplatform.storage.throttles import VALID_SHARE, grant


class _Refused(Exception):
    def __init__(self, withheld: Withheld) -> None:
        self.withheld = withheld


def throttle(attempt: StepAttempt, proceed: Proceed) -> Outcome:
    """Let the body start if every throttle of the step grants it; otherwise say when to ask again.

    The grants are one transaction: a refusal by the last limit uses nothing of the others. A
    grant that came too late to be used within its validity is void, and asked for again.
    """
    if not attempt.step.throttles:
        return proceed()
    shortest = min(one.per for one in attempt.step.throttles)
    for _ in range(3):
        asked = monotonic()
        try:
            with attempt.transaction() as connection:
                _grant_all(connection, attempt)
        except _Refused as refused:
            return refused.withheld
        if monotonic() - asked < shortest * VALID_SHARE:
            return proceed()
    name = attempt.step.throttles[0].name
    return Withheld("throttle", shortest * VALID_SHARE, f"throttle {name}: grants came too late")


def _grant_all(connection: Session, attempt: StepAttempt) -> None:
    for one in attempt.step.throttles:
        scope = one.scope(attempt.input)
        given = grant(connection, name=one.name, scope=scope, limit=one.limit, window=one.per)
        if given.slot is None:
            shown = f"{one.name}[{scope}]" if scope else one.name
            raise _Refused(Withheld("throttle", given.seconds, f"throttle {shown}"))
