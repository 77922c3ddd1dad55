"""Steps as declared, before the pipeline is complete."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.retry import Retry
from taskplatform.core.shapes import Child, Kind, Wait
from taskplatform.core.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Over:
    """What a map is declared over: a parameter's name, looked up when the pipeline is complete."""

    name: str
    max_parallel: int | None
    on_item_error: Literal["fail", "collect"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A step and its options; None: the pipeline's. Times in seconds."""

    name: str
    kind: Kind
    function: Callable[..., Any] | None = None
    retry: Retry | None = None
    timeout: float | None = None
    queue: str | None = None
    throttles: tuple[Throttle, ...] = ()
    concurrency: tuple[Concurrency, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    version: int = 1
    group: str | None = None
    compensate: Callable[..., Any] | None = None
    transactional: bool = False
    heartbeat: float | None = None
    over: Over | None = None
    sleep: float | None = None
    wait: Wait | None = None
    model: type[BaseModel] | None = None
    child: Child | None = None

    @property
    def may_time_out(self) -> bool:
        """Whether it is a wait whose output may be None."""
        wait = self.wait
        return wait is not None and wait.timeout is not None and wait.on_timeout == "none"

    @property
    def collects(self) -> bool:
        """Whether it is a map whose list may hold errors."""
        return self.over is not None and self.over.on_item_error == "collect"
