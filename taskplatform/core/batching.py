"""Batch: many runs whose first step is executed once, on the list of their inputs."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taskplatform.core.draft import Draft
from taskplatform.core.duration import Duration
from taskplatform.core.inputs import Key
from taskplatform.core.options import above_zero
from taskplatform.core.outputs import bare, returned
from taskplatform.core.shapes import Kind
from taskplatform.errors import DeclarationError

_LARGEST = 1000


@dataclass(frozen=True, init=False, slots=True)
class Batch:
    """The first step starts when `size` runs wait for it, or the first has waited `timeout` s.

    With `key`, a field of the input or a function of it, each value has its own batches.
    """

    size: int
    timeout: float
    key: Key | None

    def __init__(self, size: int, timeout: Duration, *, key: Key | None = None) -> None:
        """Raises DeclarationError."""
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _LARGEST:
            raise DeclarationError(f"Batch(size={size!r}): give a number from 1 to {_LARGEST}")
        try:
            seconds = above_zero("Batch timeout", timeout)
        except ValueError as error:
            raise DeclarationError(str(error)) from None
        for name, value in zip(self.__slots__, (size, seconds, key), strict=True):
            object.__setattr__(self, name, value)


def batch_problems(draft: Draft) -> list[str]:
    """Why a step cannot be the first one of a pipeline with a batch, with the remedies."""
    found = []
    if draft.kind is not Kind.BODY:
        found.append(
            "the pipeline has batch=, so its first step needs a body: declare it with .step"
        )
    elif draft.group is not None:
        found.append("the pipeline has batch=: take its first step out of the group")
    elif draft.transactional:
        found.append("transactional=True: the runs of a batch commit apart; use a plain step")
    elif element_in(bare(returned(draft.function))) is None:
        found.append(
            "the pipeline has batch=: annotate the return 'list[...]', one output for each input"
        )
    return found


def element_in(hint: Any) -> Any:
    """What a batched body takes or returns for one run; None: the annotation is no list."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    return arguments[0] if origin in (list, Sequence) and len(arguments) == 1 else None
