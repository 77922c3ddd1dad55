"""Middlewares of the application, which stand outside of the platform's, in order."""

import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from taskplatform.core.fields import text_of
from taskplatform.core.outcome import Outcome, outcome_of
from taskplatform.errors import (
    DeclarationError,
    MiddlewareError,
    Permanent,
    RetryAfter,
    TaskPlatformError,
)
from taskplatform.middleware.chain import AroundStep, Proceed, StepAttempt
from taskplatform.middleware.enqueuing import AroundEnqueue, Enqueuing, Entered

OwnStep = Callable[[StepAttempt], Generator[None, Outcome, None]]
_Enqueue = TypeVar("_Enqueue", bound=AroundEnqueue)
_Step = TypeVar("_Step", bound=Callable[[StepAttempt], Generator[None, Any, None]])

_enqueue: dict[str, Entered] = {}
_step: dict[str, AroundStep] = {}


def around_enqueue(function: _Enqueue) -> _Enqueue:
    """Put a generator function with one `yield`, where the runs are stored, around each enqueue.

    It is given an Enqueuing. To refuse, it raises: InvalidInput and the like as they are, anything
    else as a MiddlewareError that names it. Raises DeclarationError.
    """
    name = _named(function)
    _enqueue[name] = lambda call: _around_enqueue(name, function, call)
    return function


def around_step(function: _Step) -> _Step:
    """Put a generator function with one `yield`, where the body executes, around each attempt.

    It is given a StepAttempt, and the `yield` the outcome. What it raises is the attempt's
    failure: RetryAfter and Permanent as if the body had raised them, anything else as a
    MiddlewareError that names it. Raises DeclarationError.
    """
    name = _named(function)
    _step[name] = lambda attempt, proceed: _around_step(name, function, attempt, proceed)
    return function


def own_enqueue() -> tuple[Entered, ...]:
    """The application's middlewares around an enqueue, in order of declaration."""
    return tuple(_enqueue.values())


def own_step() -> tuple[AroundStep, ...]:
    """The application's middlewares around a step, in order of declaration."""
    return tuple(_step.values())


def forget() -> None:
    """Forget them all; for tests."""
    _enqueue.clear()
    _step.clear()


def _named(function: Callable[..., Any]) -> str:
    name = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"
    if not inspect.isgeneratorfunction(function):
        raise DeclarationError(
            f"middleware '{name}': give a generator function that yields once, where what it "
            "stands around happens"
        )
    return name


@contextmanager
def _around_enqueue(name: str, function: AroundEnqueue, call: Enqueuing) -> Iterator[None]:
    manager = contextmanager(function)(call)
    with _told(name, call):
        manager.__enter__()
    try:
        yield
    except BaseException as error:
        with _told(name, call, inner=error):
            manager.__exit__(type(error), error, error.__traceback__)
        # Nothing was stored, so there is nothing that the caller could be given.
        raise
    with _told(name, call):
        manager.__exit__(None, None, None)


@contextmanager
def _told(name: str, call: Enqueuing, inner: BaseException | None = None) -> Iterator[None]:
    try:
        yield
        if not call.stored and inner is None:
            _check(name, call)
    except TaskPlatformError:
        raise
    except Exception as error:
        what = "nothing was enqueued"
        if call.stored:
            ids = ", ".join(str(one.id) for one in call.stored[:3])
            what = f"it was enqueued all the same: {ids}{', ...' if call.stored[3:] else ''}"
        raise MiddlewareError(
            f"middleware '{name}' around an enqueue of '{call.pipeline}' raised "
            f"{type(error).__name__}: {error}; {what}"
        ) from error


def _check(name: str, call: Enqueuing) -> None:
    if len(call.runs) != len(call.inputs):
        raise ValueError("it changed how many runs there are: raise to refuse them all")
    for run in call.runs:
        run.key = text_of(run.key, f"middleware '{name}': key")
        run.owner = text_of(run.owner, f"middleware '{name}': owner")
        if type(run.priority) is not int or not -(2**31) <= run.priority < 2**31:
            raise ValueError(f"priority={run.priority!r} is no whole number of 32 bits")


def _around_step(name: str, function: OwnStep, attempt: StepAttempt, proceed: Proceed) -> Outcome:
    running = function(attempt)
    where = f"middleware '{name}' around step '{attempt.step.task_name}'"
    try:
        next(running)
    except StopIteration:
        return outcome_of(MiddlewareError(f"{where} did not yield: yield once, or raise to refuse"))
    except Exception as error:
        return _judged(where, error)
    try:
        outcome = proceed()
    except BaseException as error:
        # The body did not start, by no fault of anybody here.
        _unwind(running, error)
        raise
    try:
        running.send(outcome)
    except StopIteration:
        return outcome
    except Exception as error:
        return _judged(where, error)
    running.close()
    return outcome_of(MiddlewareError(f"{where} yielded twice: yield once"))


def _unwind(running: Generator[None, Outcome, None], error: BaseException) -> None:
    try:
        running.throw(error)
    except (Exception, StopIteration):
        return
    running.close()


def _judged(where: str, error: Exception) -> Outcome:
    if isinstance(error, RetryAfter | Permanent):
        return outcome_of(error)
    named = MiddlewareError(f"{where} raised {type(error).__name__}: {error}")
    named.__cause__ = error
    return outcome_of(named)
