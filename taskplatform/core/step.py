"""One step of a pipeline, ready to be called."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter, ValidationError

from taskplatform.core.batching import Batch
from taskplatform.core.binding import Bound, Source
from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.context import Context
from taskplatform.core.json import Codec, describe
from taskplatform.core.retry import Retry
from taskplatform.core.shapes import Child, Kind, Mapped, Wait
from taskplatform.core.throttle import Throttle
from taskplatform.errors import CannotOpen

_ANYTHING = Codec(Any)
# An enumeration looks its members up.
_OUTPUT = Source.OUTPUT


class InvalidOutput(ValueError):
    """What the body returned does not fit its annotation or cannot be stored."""


class Unreadable(ValueError):
    """The run's input or an earlier output cannot be read by the code, or with the keys, here."""


@dataclass(frozen=True)
class Step:
    """A named unit of a pipeline; its output is stored once per run. Times in seconds."""

    name: str
    function: Callable[..., Any] = field(repr=False)
    pipeline: str
    retry: Retry
    timeout: float
    queue: str | None
    throttles: tuple[Throttle, ...]
    version: int
    bound: Bound = field(repr=False)
    input: Codec = field(repr=False)
    kind: Kind = Kind.BODY
    group: str | None = None
    transactional: bool = False
    heartbeat: float | None = None
    mapped: Mapped | None = field(default=None, repr=False)
    sleep: float | None = None
    wait: Wait | None = field(default=None, repr=False)
    child: Child | None = field(default=None, repr=False)
    compensation: "Step | None" = field(default=None, repr=False)
    batch: Batch | None = None
    concurrency: tuple[Concurrency, ...] = ()
    breakers: tuple[Breaker, ...] = ()

    @cached_property
    def task_name(self) -> str:
        """The name of its Celery task."""
        return f"{self.pipeline}.{self.name}"

    @cached_property
    def is_body(self) -> bool:
        """Whether it is a function that is executed once, as most steps are."""
        return self.kind is Kind.BODY

    @cached_property
    def is_limited(self) -> bool:
        """Whether a body may have to wait for something outside of its run."""
        return bool(self.throttles or self.concurrency or self.breakers)

    @property
    def has_body(self) -> bool:
        """Whether there is a function of the application to execute."""
        return self.kind not in (Kind.SLEEP, Kind.WAIT)

    def surround(self, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put something around the function, for what watches or disturbs bodies from outside."""
        vars(self)["function"] = around(self.function)

    @cached_property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The function's parameters in order."""
        return tuple(binding.name for binding in self.bound.bindings)

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The steps whose outputs it is given."""
        return tuple(one.step for one in self.bound.bindings if one.source is Source.OUTPUT)

    @cached_property
    def wants_context(self) -> bool:
        """Whether the body is told of its attempt."""
        return any(one.source is Source.CONTEXT for one in self.bound.bindings)

    @property
    def output_adapter(self) -> TypeAdapter[Any]:
        """The adapter of its return annotation."""
        return self.bound.output.adapter

    @cached_property
    def output(self) -> Codec:
        """How its stored output is read: of a map the list, of a child that of its last step."""
        step, seen = self, {self.pipeline}
        while step.child is not None:
            last = step.child.declaration.stages[-1]
            if len(last) > 1 or last[0].pipeline in seen:
                return Codec(Any)
            step = last[0]
            seen.add(step.pipeline)
        collected = step.mapped and step.mapped.collected
        return collected or step.bound.output

    def bind(
        self,
        input_value: Any,
        results: Mapping[str, bytes],
        ctx: Context,
        item: bytes | None = None,
        index: int | None = None,
        fresh: "Fresh | None" = None,
    ) -> dict[str, Any]:
        """The arguments of a call, every one read anew from what is stored.

        The input may be given as its stored bytes; then this step cannot see what an earlier
        one did to the object. `item` and `index` are those of a map. `fresh` is an output that was
        read when it was stored, and that nobody else is given. Raises Unreadable.
        """
        arguments: dict[str, Any] = {}
        for binding in self.bound.bindings:
            source, codec = binding.source, binding.codec
            if source is _OUTPUT and codec is not None:
                if fresh is not None and fresh.step.name == binding.step and fresh.suits(codec):
                    arguments[binding.name] = fresh.value
                else:
                    arguments[binding.name] = self._read(codec, binding.step, results)
            elif source is Source.CONTEXT:
                arguments[binding.name] = ctx
            elif source is Source.ITEM and codec is not None:
                arguments[binding.name] = self._read_item(codec, item)
            elif source is Source.INDEX:
                arguments[binding.name] = index
            elif isinstance(input_value, bytes):
                arguments[binding.name] = self.read_input(input_value)
            else:
                arguments[binding.name] = input_value
        return arguments

    def call(
        self,
        input_value: Any,
        results: Mapping[str, bytes],
        ctx: Context,
        item: bytes | None = None,
        index: int | None = None,
    ) -> Any:
        """Call the body with its arguments; a coroutine if it is async.

        Raises Unreadable before the body starts, and whatever the body raises.
        """
        return self.function(**self.bind(input_value, results, ctx, item, index))

    def encode(self, value: Any) -> bytes:
        """Validate what the body returned and write it as canonical JSON.

        That is one element of a map's list, a child's input, or the data of the event that was
        waited for, which may be JSON.
        Raises InvalidOutput, NoSecretKey, and Unreadable for an event that cannot be opened.
        """
        return self.write(value)[0]

    def write(self, value: Any) -> tuple[bytes, Any]:
        """Like `encode`; also what a reader of those bytes gets."""
        try:
            if not self.is_body and self.kind is Kind.WAIT:
                value = self._read_event(value)
            return self.bound.output.round_trip(value)
        except CannotOpen as error:
            raise Unreadable(f"the output of step '{self.task_name}': {error}") from None
        except ValueError as error:
            raise InvalidOutput(f"the output of step '{self.task_name}': {error}") from None

    def _read(self, codec: Codec, step: str, results: Mapping[str, bytes]) -> Any:
        stored = results.get(step)
        if stored is None:
            raise Unreadable(
                f"step '{self.task_name}' needs the output of '{step}': none is stored"
            )
        what = f"the stored output of step '{step}'"
        return _decoded(codec, stored, what, f"step '{self.task_name}'")

    def _read_item(self, codec: Codec, stored: bytes | None) -> Any:
        if stored is None:
            raise Unreadable(f"step '{self.task_name}' needs an item: none is stored")
        return _decoded(codec, stored, "a stored item", f"step '{self.task_name}'")

    def _read_event(self, data: Any) -> Any:
        # As JSON, so that a date may be text in a strict model too.
        stored = data if isinstance(data, bytes) else _ANYTHING.encode(data)
        try:
            return self.bound.output.decode(stored)
        except ValidationError as error:
            raise InvalidOutput(describe(error, self.bound.output.declared)) from None

    def read_input(self, stored: bytes) -> Any:
        """The run's input from what is stored. Raises Unreadable."""
        what = f"the stored input of pipeline '{self.pipeline}'"
        return _decoded(self.input, stored, what, "its model")


class Fresh:
    """An output as it was read when it was stored, for the one that is given it first."""

    __slots__ = ("step", "value")

    def __init__(self, step: Step, value: Any) -> None:
        self.step = step
        self.value = value

    def suits(self, codec: Codec) -> bool:
        """Whether who reads by this codec would get the same."""
        return codec.model is not None and codec.model is self.step.bound.output.model


def _decoded(codec: Codec, stored: bytes, what: str, reader: str) -> Any:
    try:
        return codec.decode(stored)
    except CannotOpen as error:
        raise Unreadable(f"{what} cannot be read here: {error}") from None
    except ValidationError as error:
        raise Unreadable(f"{what} does not fit {reader}: {describe(error)}") from None
    except ValueError as error:
        raise Unreadable(f"{what} does not fit {reader}: {error}") from error
