"""Reading the options of pipelines and steps; every ValueError names the option and a remedy."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.draft import Draft, Over
from taskplatform.core.duration import Duration, seconds
from taskplatform.core.names import is_event_name, is_queue_name, is_step_name
from taskplatform.core.retry import Retry
from taskplatform.core.shapes import Kind
from taskplatform.core.throttle import Throttle

_MOST_PARALLEL = 2**31 - 1

Named = TypeVar("Named", Throttle, Concurrency, Breaker)


def draft_of(
    name: str,
    function: Callable[..., Any],
    *,
    retry: Retry | None,
    timeout: Duration | None,
    queue: str | None,
    throttle: Throttle | Sequence[Throttle] | None,
    concurrency: Concurrency | Sequence[Concurrency] | None,
    breaker: Breaker | Sequence[Breaker] | None,
    version: int,
    group: str | None,
    compensate: Callable[..., Any] | None,
    transactional: bool,
    heartbeat: Duration | None,
    over: Over | None = None,
) -> Draft:
    """A step with a body and its options, or a map; raises ValueError and TypeError."""
    if transactional and over is not None:
        raise ValueError("transactional=True: the items of a map commit apart; use a plain step")
    if transactional and inspect.iscoroutinefunction(function):
        raise ValueError("transactional=True: its connection is a blocking one; use a plain def")
    return Draft(
        name,
        Kind.BODY if over is None else Kind.MAP,
        function,
        retry=None if retry is None else retry_of(retry),
        timeout=at_most("timeout", timeout),
        queue=queue_of(queue),
        throttles=throttles_of(throttle),
        concurrency=concurrency_of(concurrency),
        breakers=breakers_of(breaker),
        version=version_of(version),
        group=group_of(group),
        compensate=None if compensate is None else function_of("compensate", compensate),
        transactional=bool(transactional),
        heartbeat=at_most("heartbeat", heartbeat),
        over=over,
    )


def throttles_of(value: Throttle | Sequence[Throttle] | None) -> tuple[Throttle, ...]:
    """One throttle or several, as several; raises ValueError."""
    return _several("throttle", value, Throttle, "Throttle(name, limit=..., per=...)")


def concurrency_of(
    value: Concurrency | Sequence[Concurrency] | None, *, of_runs: bool = False
) -> tuple[Concurrency, ...]:
    """One concurrency limit or several, as several; raises ValueError."""
    several = _several("concurrency", value, Concurrency, "Concurrency(5, key=...)")
    for one in several:
        if one.overlap != "queue" and not of_runs:
            raise ValueError(
                f"concurrency overlap={one.overlap!r} is about runs: give it to the pipeline"
            )
    if len({one.overlap for one in several}) > 1:
        raise ValueError("concurrency: its limits have different overlap=; give them one")
    return several


def breakers_of(value: Breaker | Sequence[Breaker] | None) -> tuple[Breaker, ...]:
    """One breaker or several, as several; raises ValueError."""
    return _several("breaker", value, Breaker, "Breaker(name)")


def _several(option: str, value: Any, kind: type[Named], example: str) -> tuple[Named, ...]:
    several = () if value is None else (value,) if isinstance(value, kind) else tuple(value)
    for one in several:
        if not isinstance(one, kind):
            raise ValueError(f"{option}={one!r}: give {example}")
    names = [one.name for one in several]
    if len(set(names)) != len(names):
        raise ValueError(f"{option}: two have one name; keep one, or name them apart")
    return several


def above_zero(option: str, value: Duration) -> float:
    """A duration above zero, in seconds; raises ValueError."""
    try:
        result = seconds(value)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if result <= 0:
        raise ValueError(f"{option}={value!r}: give a duration above zero")
    return result


def at_most(option: str, value: Duration | None) -> float | None:
    """A limit above zero, in seconds; None: no limit. Raises ValueError."""
    return None if value is None else above_zero(option, value)


def retry_of(value: object) -> Retry:
    """A retry policy; raises ValueError."""
    if isinstance(value, Retry):
        return value
    raise ValueError(f"retry={value!r}: give Retry(3), or Retry(delays=['5m', '15m'])")


def version_of(value: object) -> int:
    """A step's version; raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31:
        return value
    raise ValueError(f"version={value!r}: give a whole number from 1")


def queue_of(value: str | None) -> str | None:
    """A queue; None: the pipeline's, or the default one. Raises ValueError."""
    if value is None or is_queue_name(value):
        return value
    raise ValueError(f"queue={value!r}: give the name of a Celery queue")


def group_of(value: str | None) -> str | None:
    """A group; None: the step executes alone. Raises ValueError."""
    if value is None or is_step_name(value):
        return value
    raise ValueError(
        f"group={value!r}: a name has small letters, digits, dashes and underscores, at most 100"
    )


def parallel_of(value: int | None) -> int | None:
    """How many items of a map are open at once; None: all. Raises ValueError."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_PARALLEL:
        return value
    raise ValueError(f"max_parallel={value!r}: give a whole number from 1, or None for all at once")


def on_item_error_of(value: Literal["fail", "collect"]) -> Literal["fail", "collect"]:
    """What a failed item does to its map; raises ValueError."""
    if value in ("fail", "collect"):
        return value
    raise ValueError(
        f"on_item_error={value!r}: give 'fail' (the run fails) or 'collect' (an ItemError takes "
        "the item's place)"
    )


def on_timeout_of(value: Literal["none", "fail"]) -> Literal["none", "fail"]:
    """What the end of a wait's time does to the run; raises ValueError."""
    if value in ("none", "fail"):
        return value
    raise ValueError(
        f"on_timeout={value!r}: give 'none' (the output is None) or 'fail' (the run fails)"
    )


def event_of(value: str) -> str:
    """The name of an event; raises ValueError."""
    if is_event_name(value):
        return value
    raise ValueError(
        f"event={value!r}: a name has no white space and no colon, and at most 150 characters"
    )


def model_of(value: type[BaseModel] | None) -> type[BaseModel] | None:
    """The model of an event's data; None: any data. Raises ValueError."""
    if value is None or (isinstance(value, type) and issubclass(value, BaseModel)):
        return value
    raise ValueError(f"model={value!r}: give a class derived from pydantic.BaseModel")


def function_of(option: str, value: Callable[..., Any]) -> Callable[..., Any]:
    """A function; raises ValueError."""
    if callable(value) and inspect.isfunction(inspect.unwrap(value)):
        return value
    raise ValueError(f"{option}={value!r}: give a function")
