"""Shapes: what a stage of a pipeline can be besides the body of one step."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from taskplatform.core.json import Codec

if TYPE_CHECKING:
    from taskplatform.core.pipeline import Declaration


class Kind(StrEnum):
    """What a step is."""

    BODY = "body"
    MAP = "map"
    SLEEP = "sleep"
    WAIT = "wait"
    CHILD = "child"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A step that is executed once per item of `over`: a field of the input, or a step's output.

    At most `max_parallel` items are open at once (None: all). `codec` reads one item, `collected`
    the list of all outputs.
    """

    over: str
    from_input: bool
    codec: Codec | None
    max_parallel: int | None = None
    on_item_error: Literal["fail", "collect"] = "fail"
    collected: Codec | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """A step whose output is the data of an event.

    `match` is a field that the input and the event's data have in common, or a function of the
    input that gives (field of the data, value). `timeout` in seconds; None waits for ever.
    """

    event: str
    match: str | Callable[[Any], tuple[str, object]] | None
    timeout: float | None
    on_timeout: Literal["none", "fail"]


@dataclass(frozen=True, slots=True)
class Child:
    """A step whose output is that of a run of another pipeline.

    The step's function makes that run's input.
    """

    declaration: "Declaration[Any]"
