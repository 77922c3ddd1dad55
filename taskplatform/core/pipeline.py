"""The declaration of a pipeline: its input, its steps in order, its options."""

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from taskplatform.core import registry
from taskplatform.core.batching import Batch
from taskplatform.core.completing import complete
from taskplatform.core.concurrency import Concurrency
from taskplatform.core.debounce import Debounce
from taskplatform.core.declaring import Declaring
from taskplatform.core.dedup import Dedup, Singleton
from taskplatform.core.draft import Draft
from taskplatform.core.duration import Duration
from taskplatform.core.inputs import Inputs, Key
from taskplatform.core.names import is_pipeline_name
from taskplatform.core.options import above_zero, at_most, concurrency_of, queue_of, retry_of
from taskplatform.core.retry import Retry
from taskplatform.core.sealing import vault
from taskplatform.core.stages import Stage, staged
from taskplatform.core.step import Step

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", default=Any)

DEFAULT_TIMEOUT = "5m"
_PLATFORM = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Declaration(Declaring, Generic[In, Out]):
    """A named, typed chain of stages."""

    def __init__(
        self,
        name: str,
        *,
        input: type[In],
        output: type[Out] | None = None,
        key: Key | None = None,
        idempotency: Duration | None = None,
        retry: Retry | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        run_timeout: Duration | None = None,
        queue_timeout: Duration | None = None,
        queue: str | None = None,
        owner: str | None = None,
        priority: str | None = None,
        force: str | None = None,
        singleton: Singleton = "return",
        debounce: Debounce | None = None,
        batch: Batch | None = None,
        fair_key: Key | bool | None = None,
        concurrency: Concurrency | Sequence[Concurrency] | None = None,
        input_names: Sequence[str] = ("input",),
    ) -> None:
        """Declare and register a pipeline.

        `output` is what the last step returns, for type checkers; it is compared with that.
        `key` is a field of the input or a function of it; `owner`, `priority` and `force` are
        fields. `singleton` says what an enqueue does whose key an active run owns; `debounce`
        makes one run of a burst, `batch` executes the first step once for many runs. Runs with an
        owner share a queue fairly with those of other owners; `fair_key` is another field or
        function to share by, or False for the order of their ranks alone. A run that lasts longer
        than `run_timeout` fails, and one that has not started
        `queue_timeout` after it was ready. `concurrency` limits the runs that have begun and not
        ended. Raises DeclarationError.
        """
        super().__init__()
        self.name = name
        self.place = _caller()
        self.input = input
        self.output = output
        self.input_names = tuple(input_names)
        self._steps: tuple[Step, ...] | None = None
        self._stages: tuple[Stage, ...] | None = None
        if not is_pipeline_name(name):
            raise self.error(
                "a name has small letters, digits, dots, dashes and underscores, at most 100"
            )
        if not (isinstance(input, type) and issubclass(input, BaseModel)):
            raise self.error(f"input={input!r}: give a class derived from pydantic.BaseModel")
        try:
            self.retry = Retry() if retry is None else retry_of(retry)
            self.timeout = above_zero("timeout", timeout)
            self.run_timeout = at_most("run_timeout", run_timeout)
            self.queue_timeout = at_most("queue_timeout", queue_timeout)
            self.idempotency = at_most("idempotency", idempotency)
            self.queue = queue_of(queue)
            limits = concurrency_of(concurrency, of_runs=True)
            self.concurrency = tuple(one.named(name) for one in limits)
        except ValueError as error:
            raise self.error(str(error)) from None
        dedup = Dedup(
            name, key, self.idempotency, singleton, debounce, batch, bool(self.concurrency)
        )
        if problem := dedup.problem():
            raise self.error(problem)
        self.singleton, self.debounce, self.batch = singleton, debounce, batch
        self.dedups = singleton != "return" or debounce is not None or batch is not None
        self.inputs = Inputs(
            name,
            input,
            key=dedup.key,
            owner=owner,
            priority=priority,
            force=force,
            fair_key=fair_key,
        )
        registry.register(self)

    @property
    def first_draft(self) -> Draft | None:
        """The step that was declared first."""
        return self._drafts[0] if self._drafts else None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order; finalizes the pipeline."""
        if self._steps is None:
            self.finalize()
        assert self._steps is not None
        return self._steps

    @property
    def is_final(self) -> bool:
        """Whether its steps are complete and checked."""
        return self._steps is not None

    def check_keys(self) -> None:
        """Raise NoSecretKey if it declares secrets, in an output too, and there is no key."""
        if self.declares_secrets:
            vault()

    @cached_property
    def declares_secrets(self) -> bool:
        """Whether its input or an output of a step has a secret by type, or a field named so."""
        codecs = [self.inputs.codec, *(step.bound.output for step in self.steps)]
        return any(codec.declared.secret or codec.declared.types for codec in codecs)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps in order, those that execute side by side together; finalizes the pipeline."""
        if self._stages is None:
            self._stages = staged(self.steps)
        return self._stages

    def find(self, name: str) -> Step | None:
        """The step of that name, or the compensation."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Step]:
        undoing = (step.compensation for step in self.steps)
        both = (*self.steps, *(one for one in undoing if one is not None))
        return {one.name: one for one in reversed(both)}

    def finalize(self) -> None:
        """Check the pipeline as a whole; after that no step can be added.

        Raises one DeclarationError that says all that is wrong.
        """
        if self._steps is not None:
            return
        self._steps = complete(self, self._drafts)
        self._closed = True

    def validate(self, value: object, *, stored: bool = False) -> In:
        """An input from a model, a mapping, or JSON as bytes; always a fresh, valid one.

        `stored` bytes were written by the platform. Raises InvalidInput naming the fields, and
        CannotOpen.
        """
        return self.accept(value, stored=stored)[0]

    def accept(self, value: object, *, stored: bool = False) -> tuple[In, bytes]:
        """Like `validate`; also the canonical JSON to store.

        Raises NoSecretKey, too.
        """
        data, model = self.inputs.accept(value, stored=stored)
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

    def fair_key_of(self, input: In, owner: str | None) -> str | None:
        """Who shares a queue by a run of that owner, fairly with others; raises InvalidInput."""
        return self.inputs.fair_key_of(input, owner)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _caller() -> str:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_PLATFORM):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
