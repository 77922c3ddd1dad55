"""The ways to add a step to a pipeline."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from pydantic import BaseModel

from taskplatform.core import options
from taskplatform.core.binding import RESERVED_FOR_MAPS
from taskplatform.core.breaker import Breaker
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.draft import Draft, Over
from taskplatform.core.duration import Duration
from taskplatform.core.names import is_step_name, parameter_name, step_name
from taskplatform.core.retry import Retry
from taskplatform.core.shapes import Child, Kind, Wait
from taskplatform.core.throttle import Throttle
from taskplatform.errors import DeclarationError

if TYPE_CHECKING:
    from taskplatform.core.pipeline import Declaration

Function = TypeVar("Function", bound=Callable[..., Any])

_RESERVED = ("input", "ctx", *RESERVED_FOR_MAPS)


class Declaring:
    """Collects the steps of a pipeline until it is put to use."""

    name: str
    input_names: tuple[str, ...]

    def __init__(self) -> None:
        """Start without a step."""
        self._drafts: list[Draft] = []
        self._closed = False

    @overload
    def step(self, function: Function, /) -> Function: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        queue: str | None = None,
        throttle: Throttle | Sequence[Throttle] | None = None,
        concurrency: Concurrency | Sequence[Concurrency] | None = None,
        breaker: Breaker | Sequence[Breaker] | None = None,
        version: int = 1,
        group: str | None = None,
        compensate: Callable[..., Any] | None = None,
        transactional: bool = False,
        heartbeat: Duration | None = None,
    ) -> Callable[[Function], Function]: ...

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        queue: str | None = None,
        throttle: Throttle | Sequence[Throttle] | None = None,
        concurrency: Concurrency | Sequence[Concurrency] | None = None,
        breaker: Breaker | Sequence[Breaker] | None = None,
        version: int = 1,
        group: str | None = None,
        compensate: Callable[..., Any] | None = None,
        transactional: bool = False,
        heartbeat: Duration | None = None,
    ) -> Any:
        """Add a step, as a decorator that leaves the function as it is.

        Neighbours of one `group` execute at the same time. `compensate` undoes the step when the
        run fails for good. SQL of a `transactional` step commits with its output. `heartbeat`:
        the longest time between two signs of life of the body. Raises DeclarationError.
        """

        def add(function: Function) -> Function:
            with self._adding(function, name) as step:
                draft = options.draft_of(
                    step,
                    function,
                    retry=retry,
                    timeout=timeout,
                    queue=queue,
                    throttle=throttle,
                    concurrency=concurrency,
                    breaker=breaker,
                    version=version,
                    group=group,
                    compensate=compensate,
                    transactional=transactional,
                    heartbeat=heartbeat,
                )
                self._drafts.append(draft)
            return function

        return add if function is None else add(function)

    def map(
        self,
        *,
        over: str,
        max_parallel: int | None = None,
        on_item_error: Literal["fail", "collect"] = "fail",
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        queue: str | None = None,
        throttle: Throttle | Sequence[Throttle] | None = None,
        concurrency: Concurrency | Sequence[Concurrency] | None = None,
        breaker: Breaker | Sequence[Breaker] | None = None,
        version: int = 1,
        group: str | None = None,
        compensate: Callable[..., Any] | None = None,
        transactional: bool = False,
        heartbeat: Duration | None = None,
    ) -> Callable[[Function], Function]:
        """Add a step that is executed once per item of a list; its output is the list of theirs.

        `over` is a field of the input or an earlier step. At most `max_parallel` items are open
        at once. With `on_item_error="collect"` an ItemError takes the place of a failed item.
        The other options are those of `step`, for each item. Raises DeclarationError.
        """

        def add(function: Function) -> Function:
            with self._adding(function, name) as step:
                draft = options.draft_of(
                    step,
                    function,
                    retry=retry,
                    timeout=timeout,
                    queue=queue,
                    throttle=throttle,
                    concurrency=concurrency,
                    breaker=breaker,
                    version=version,
                    group=group,
                    compensate=compensate,
                    transactional=transactional,
                    heartbeat=heartbeat,
                    over=Over(
                        over,
                        options.parallel_of(max_parallel),
                        options.on_item_error_of(on_item_error),
                    ),
                )
                self._drafts.append(draft)
            return function

        return add

    def sleep(self, name: str, duration: Duration, *, group: str | None = None) -> None:
        """Add a step that does nothing for so long; holds no worker. Raises DeclarationError."""
        with self._naming(name):
            self._drafts.append(
                Draft(
                    name,
                    Kind.SLEEP,
                    sleep=options.above_zero("duration", duration),
                    group=options.group_of(group),
                )
            )

    def wait(
        self,
        name: str,
        *,
        event: str,
        match: str | Callable[[Any], tuple[str, object]] | None = None,
        timeout: Duration | None = None,
        model: type[BaseModel] | None = None,
        on_timeout: Literal["none", "fail"] = "none",
        group: str | None = None,
    ) -> None:
        """Add a step that waits for an event, whose data are its output; holds no worker.

        `match` is a field that the input and the data have in common, or a function of the input
        that gives (field of the data, value); None: any event of that name. Without `timeout` it
        waits for ever. Raises DeclarationError.
        """
        with self._naming(name):
            wait = Wait(
                options.event_of(event),
                match,
                options.at_most("timeout", timeout),
                options.on_timeout_of(on_timeout),
            )
            self._drafts.append(
                Draft(
                    name,
                    Kind.WAIT,
                    wait=wait,
                    model=options.model_of(model),
                    group=options.group_of(group),
                )
            )

    def child(
        self,
        name: str,
        pipeline: "Declaration[Any]",
        *,
        input: Callable[..., BaseModel | Mapping[str, Any]],
        retry: Retry | None = None,
        group: str | None = None,
    ) -> None:
        """Add a step that is a run of another pipeline, whose output is its output.

        The function `input` is bound by names like a step and returns that run's input. Without
        `retry` a child that failed is not tried again. Raises DeclarationError.
        """
        with self._naming(name):
            if not isinstance(pipeline, Declaring):
                raise ValueError(f"{pipeline!r} is no pipeline: give the pipeline to run")
            if pipeline is self:
                raise ValueError("a pipeline cannot be its own child: give another pipeline")
            self._drafts.append(
                Draft(
                    name,
                    Kind.CHILD,
                    options.function_of("input", input),
                    retry=None if retry is None else options.retry_of(retry),
                    child=Child(pipeline),
                    group=options.group_of(group),
                )
            )

    def error(self, problem: str, step: str | None = None) -> DeclarationError:
        """A mistake, with the place where it is."""
        where = f"pipeline '{self.name}'" + (f", step '{step}'" if step is not None else "")
        return DeclarationError(f"{where}: {problem}")

    @contextmanager
    def _adding(self, function: Callable[..., Any], name: str | None) -> Iterator[str]:
        unwrapped = inspect.unwrap(function) if callable(function) else function
        if not inspect.isfunction(unwrapped):
            raise self.error(f"a step is a function, not {function!r}: wrap it in a def")
        step = step_name(function.__name__) if name is None else name
        with self._naming(step):
            yield step

    @contextmanager
    def _naming(self, step: str) -> Iterator[None]:
        self._check_new(step)
        try:
            yield
        except (ValueError, TypeError) as error:
            raise self.error(str(error), step) from None

    def _check_new(self, step: str) -> None:
        if self._closed:
            raise self.error(
                "it is added after the pipeline was put to use: declare all "
                "steps in the pipeline's module",
                step,
            )
        if not is_step_name(step):
            raise self.error(
                "a name has small letters, digits, dashes and underscores, at most "
                "100: give one with .step(name=...)",
                step,
            )
        parameter = parameter_name(step)
        if parameter in _RESERVED or parameter in self.input_names:
            raise self.error(
                f"'{parameter}' is a reserved parameter, so no step could use its "
                "output: give another with .step(name=...)",
                step,
            )
        for draft in self._drafts:
            if draft.name == step:
                raise self.error(
                    "it is declared twice: rename one, or give it another with .step(name=...)",
                    step,
                )
            if parameter_name(draft.name) == parameter:
                raise self.error(
                    f"it and step '{draft.name}' are both the parameter '{parameter}': rename one",
                    step,
                )
