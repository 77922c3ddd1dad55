"""The contract of a middleware around an enqueue, and how several are put around one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from taskplatform.core.pipeline import Declaration
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun


@dataclass(slots=True)
class Enqueuing:
    """One call of enqueue or enqueue_many.

    `runs` is what is to be stored, and `inputs` are their models, to be read. A middleware may
    change `owner`, `priority` and `key` of a run until they are stored. `stored` is empty until
    then: the run that stands for each of them, and whether it was `created`.
    """

    pipeline: str
    runs: Sequence[NewRun]
    inputs: Sequence[Any]
    stored: Sequence[Enqueued] = ()
    declaration: Declaration[Any] = field(kw_only=True, repr=False)


# What comes before its one `yield` happens before the runs are stored, the rest after.
AroundEnqueue = Callable[[Enqueuing], Iterator[None]]
Entered = Callable[[Enqueuing], AbstractContextManager[None]]


@contextmanager
def entered(around: Sequence[Entered], call: Enqueuing) -> Iterator[None]:
    """Be inside of the middlewares, the first one outermost."""
    with ExitStack() as stack:
        for one in around:
            stack.enter_context(one(call))
        yield
