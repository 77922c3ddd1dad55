"""Throttle: a step starts only with a grant of each of its limits, taken just before the body."""

import logging
from dataclasses import replace
from time import monotonic

import psycopg

from taskplatform.core.failure import Failure
from taskplatform.core.lessons import LESSONS, Lesson
from taskplatform.core.outcome import Failed, Outcome, PutOff, Withheld
from taskplatform.errors import Unavailable
from taskplatform.middleware.chain import Proceed, StepAttempt
from taskplatform.storage.throttles import KIND, VALID_SHARE, Refusal, Wanted, ask, close, give_back

logger = logging.getLogger(__name__)


def throttle(attempt: StepAttempt, proceed: Proceed) -> Outcome:
    """Let the body start if every throttle of the step grants it; otherwise stand in line.

    The grants are one decision: a refusal by the last limit uses nothing of the others. A
    grant that came too late to be used within its validity is given back, and asked for again.
    """
    if not attempt.step.throttles:
        return proceed()
    try:
        wanted = _wanted(attempt)
    except Exception as error:
        return Failed(Failure.of(error))
    if heavy := next((one for one in wanted if one.weight > one.limit), None):
        message = f"{shown(heavy)} grants {heavy.limit} in all, less than the weight {heavy.weight}"
        return Failed(Failure("TooHeavy", message, ""), permanent=True)
    wanted = [one for one in wanted if one.weight]
    shortest = min((one.window for one in wanted), default=0.0)
    for _ in range(3 if wanted else 0):
        asked = monotonic()
        try:
            with attempt.session() as connection:
                answer = ask(connection, wanted, work_id=attempt.work_id)
        except psycopg.DataError as error:
            return Failed(Failure.of(error))
        if isinstance(answer, Refusal):
            return _in_line(answer)
        if monotonic() - asked - answer.waited < shortest * VALID_SHARE:
            return _taught(attempt, wanted, proceed)
        with attempt.session() as connection:
            give_back(connection, wanted, answer)
    if not wanted:
        return proceed()
    return Withheld(KIND, shortest * VALID_SHARE, f"{shown(wanted[0])}: grants came too late")


def _taught(attempt: StepAttempt, wanted: list[Wanted], proceed: Proceed) -> Outcome:
    """Execute the body, and hold everybody back for as long as it was told to."""
    lessons: list[Lesson] = []
    token = LESSONS.set(lessons)
    try:
        outcome = proceed()
    finally:
        LESSONS.reset(token)
    if isinstance(outcome, PutOff) and not lessons:
        # Of several limits nobody knows whose it was; the first that is declared.
        first = attempt.step.throttles[0].name
        lessons.append(Lesson(first, None, outcome.seconds, outcome.failure.message))
    if lessons:
        _hold_back(attempt, {one.name: one for one in wanted}, lessons)
    return outcome


def _hold_back(attempt: StepAttempt, asked: dict[str, Wanted], lessons: list[Lesson]) -> None:
    try:
        with attempt.session() as connection:
            for lesson in lessons:
                known = asked.get(lesson.name)
                if known is not None and lesson.scope is not None:
                    known = replace(known, scope=lesson.scope)
                if known is not None:
                    close(connection, known, lesson.seconds, lesson.why)
    except (psycopg.Error, Unavailable) as error:
        # The outcome counts all the same; who calls next is told so by the API itself.
        logger.warning("what a step learnt of its limit is lost: %s", error)


def shown(one: Wanted) -> str:
    """A limit in words."""
    return f"throttle {one.name}[{one.scope}]" if one.scope else f"throttle {one.name}"


def _wanted(attempt: StepAttempt) -> list[Wanted]:
    # The users' functions are called before the transaction begins.
    return sorted(
        Wanted(
            one.name,
            one.scope(attempt.input),
            one.limit,
            one.per,
            one.weight_of(attempt.input),
            one.pause_at,
        )
        for one in attempt.step.throttles
    )


def _in_line(refused: Refusal) -> Withheld:
    wanted = refused.wanted
    return Withheld(
        KIND,
        refused.seconds,
        shown(wanted),
        gate=wanted.gate,
        weight=wanted.weight,
        share=wanted.share,
    )
