"""The declaration of a pipeline: its input, its steps in order, its options."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

from pydantic import BaseModel

from taskplatform.core import registry
from taskplatform.core.binding import RESERVED_FOR_MAPS, Surroundings, bind
from taskplatform.core.draft import Draft, above_zero, retry_of, throttles_of, version_of
from taskplatform.core.duration import Duration
from taskplatform.core.inputs import Inputs, Key
from taskplatform.core.names import (
    is_pipeline_name,
    is_queue_name,
    is_step_name,
    parameter_name,
    step_name,
)
from taskplatform.core.retry import Retry
from taskplatform.core.stages import Stage, staged
from taskplatform.core.step import Step
from taskplatform.core.throttle import Throttle
from taskplatform.errors import DeclarationError

In = TypeVar("In", bound=BaseModel)
Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_TIMEOUT = "5m"
_RESERVED = ("input", "ctx", *RESERVED_FOR_MAPS)
_PLATFORM = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Declaration(Generic[In]):
    """A named, typed chain of steps."""

    def __init__(
        self,
        name: str,
        *,
        input: type[In],
        key: Key | None = None,
        idempotency: Duration | None = None,
        retry: Retry | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        run_timeout: Duration | None = None,
        queue: str | None = None,
        owner: str | None = None,
        priority: str | None = None,
        force: str | None = None,
        input_names: Sequence[str] = ("input",),
    ) -> None:
        """Declare and register a pipeline.

        `key` is a field of the input or a function of it; `owner`, `priority` and `force` are
        fields. Raises DeclarationError.
        """
        self.name = name
        self.place = _caller()
        self.input = input
        self.queue = queue
        self._input_names = tuple(input_names)
        self._drafts: list[Draft] = []
        self._steps: tuple[Step, ...] | None = None
        self._stages: tuple[Stage, ...] | None = None
        if not is_pipeline_name(name):
            raise self._error(
                "a name has small letters, digits, dots, dashes and underscores, at most 100"
            )
        if not (isinstance(input, type) and issubclass(input, BaseModel)):
            raise self._error(f"input={input!r}: give a class derived from pydantic.BaseModel")
        try:
            self.retry = Retry() if retry is None else retry_of(retry)
            self.timeout = above_zero("timeout", timeout)
            self.run_timeout = (
                None if run_timeout is None else above_zero("run_timeout", run_timeout)
            )
            self.idempotency = (
                None if idempotency is None else above_zero("idempotency", idempotency)
            )
        except ValueError as error:
            raise self._error(str(error)) from None
        if queue is not None and not is_queue_name(queue):
            raise self._error(f"queue={queue!r}: give the name of a Celery queue")
        self.inputs = Inputs(name, input, key=key, owner=owner, priority=priority, force=force)
        registry.register(self)

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
        version: int = 1,
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
        version: int = 1,
    ) -> Any:
        """Add a step, as a decorator that leaves the function as it is.

        Raises DeclarationError.
        """

        def add(function: Function) -> Function:
            unwrapped = inspect.unwrap(function) if callable(function) else function
            if not inspect.isfunction(unwrapped):
                raise self._error(f"a step is a function, not {function!r}: wrap it in a def")
            step = step_name(function.__name__) if name is None else name
            self._check_new(step)
            try:
                draft = Draft(
                    step,
                    function,
                    None if retry is None else retry_of(retry),
                    None if timeout is None else above_zero("timeout", timeout),
                    queue,
                    throttles_of(throttle),
                    version_of(version),
                )
            except (ValueError, TypeError) as error:
                raise self._error(str(error), step) from None
            if queue is not None and not is_queue_name(queue):
                raise self._error(f"queue={queue!r}: give the name of a Celery queue", step)
            self._drafts.append(draft)
            return function

        return add if function is None else add(function)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order; finalizes the pipeline."""
        if self._steps is None:
            self.finalize()
        assert self._steps is not None
        return self._steps

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps in order, those that execute side by side together; finalizes the pipeline."""
        if self._stages is None:
            self._stages = staged(self.steps)
        return self._stages

    def find(self, name: str) -> Step | None:
        """The step of that name."""
        return next((step for step in self.steps if step.name == name), None)

    def finalize(self) -> None:
        """Check the pipeline as a whole; after that no step can be added.

        Raises one DeclarationError that says all that is wrong.
        """
        if self._steps is not None:
            return
        problems = [str(self._error(problem)) for problem in self.inputs.problems()]
        if not self._drafts:
            problems.append(str(self._error("it has no step: decorate a function with .step")))
        names = [draft.name for draft in self._drafts]
        steps = []
        for position, draft in enumerate(self._drafts):
            wrong = [
                problem
                for throttle in draft.throttles
                for problem in self.inputs.field_problems(
                    f"throttle '{throttle.name}' key", throttle.key
                )
            ]
            around = Surroundings(self.input, self._input_names, names, position)
            bound = bind(draft.function, around, wrong)
            problems += [str(self._error(problem, draft.name)) for problem in wrong]
            if bound is not None:
                steps.append(
                    Step(
                        name=draft.name,
                        function=draft.function,
                        pipeline=self.name,
                        retry=draft.retry or self.retry,
                        timeout=self.timeout if draft.timeout is None else draft.timeout,
                        queue=draft.queue or self.queue,
                        throttles=draft.throttles,
                        version=draft.version,
                        bound=bound,
                        input=self.inputs.codec,
                    )
                )
        if problems:
            raise DeclarationError("\n".join(problems))
        self._steps = tuple(steps)

    def validate(self, value: object) -> In:
        """An input from a model, a mapping, or JSON as bytes; always a fresh, valid one.

        Raises InvalidInput naming the fields.
        """
        return self.accept(value)[0]

    def accept(self, value: object) -> tuple[In, bytes]:
        """Like `validate`; also the canonical JSON to store.

        Raises InvalidInput naming the fields.
        """
        data, model = self.inputs.accept(value)
        return model, data

    def key_of(self, input: In) -> str | None:
        """The run's business key; raises InvalidInput."""
        return self.inputs.key_of(input)

    def owner_of(self, input: In) -> str | None:
        """The user or organization that the run belongs to; raises InvalidInput."""
        return self.inputs.owner_of(input)

    def priority_of(self, input: In) -> int:
        """The run's priority, 0 by default; raises InvalidInput."""
        return self.inputs.priority_of(input)

    def force_of(self, input: In) -> bool:
        """Whether the input asks for a run in spite of its key."""
        return self.inputs.force_of(input)

    def _check_new(self, step: str) -> None:
        if self._steps is not None:
            raise self._error(
                "it is added after the pipeline was put to use: declare all "
                "steps in the pipeline's module",
                step,
            )
        if not is_step_name(step):
            raise self._error(
                "a name has small letters, digits, dashes and underscores, at most "
                "100: give one with .step(name=...)",
                step,
            )
        parameter = parameter_name(step)
        if parameter in _RESERVED or parameter in self._input_names:
            raise self._error(
                f"'{parameter}' is a reserved parameter, so no step could use its "
                "output: give another with .step(name=...)",
                step,
            )
        for draft in self._drafts:
            if draft.name == step:
                raise self._error(
                    "it is declared twice: rename one, or give it another with .step(name=...)",
                    step,
                )
            if parameter_name(draft.name) == parameter:
                raise self._error(
                    f"it and step '{draft.name}' are both the parameter '{parameter}': rename one",
                    step,
                )

    def _error(self, problem: str, step: str | None = None) -> DeclarationError:
        where = f"pipeline '{self.name}'" + (f", step '{step}'" if step is not None else "")
        return DeclarationError(f"{where}: {problem}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _caller() -> str:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_PLATFORM):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
