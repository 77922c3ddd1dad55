"""Functions that are executed, durably, when an event happens."""

from collections.abc import Callable
from typing import Any, TypeVar

from taskplatform.core.duration import Duration
from taskplatform.core.event import Event
from taskplatform.core.names import HANDLER_PREFIX, step_name
from taskplatform.core.pipeline import DEFAULT_TIMEOUT, Declaration
from taskplatform.core.registry import handlers
from taskplatform.core.retry import Retry

__all__ = ["handlers", "on"]

Function = TypeVar("Function", bound=Callable[..., Any])


def on(
    event: str,
    *,
    retry: Retry | None = None,
    timeout: Duration = DEFAULT_TIMEOUT,
    queue: str | None = None,
) -> Callable[[Function], Function]:
    """Declare a handler of an event: `on("demo/task.failed")(function)`, or as a decorator.

    The function is given the `event` (and `ctx`, if it asks for it) and is executed at least
    once for each, as a hidden pipeline of one step. Raises DeclarationError.
    """

    def declare(function: Function) -> Function:
        name = step_name(getattr(function, "__name__", ""))
        pipeline = Declaration(
            f"{HANDLER_PREFIX}{event}:{name}",
            input=Event,
            retry=retry,
            timeout=timeout,
            queue=queue,
            input_names=("event", "input"),
        )
        return pipeline.step(function)

    return declare
