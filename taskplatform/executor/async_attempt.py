"""An attempt at an async step that no thread waits for."""

import contextvars
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic

from taskplatform.core.outcome import Outcome
from taskplatform.executor.async_body import AsyncBody
from taskplatform.executor.attempt import arguments_of
from taskplatform.executor.begun import NO_PROGRESS, Begun, begin
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.executor.resumed import Resumed

# Gives the outcome, or raises what kept the body from being started.
Answer = Callable[[], Outcome]


class AsyncAttempt:
    """Begins, goes on and ends on the loop; it tells by `done` what it came to, once."""

    def __init__(self, child: Child, branch: Branch, done: Callable[[Answer], object]) -> None:
        self._child = child
        self._branch = branch
        self._done = done
        # As the pool's thread has, where one waits: what is set around a body is not its copy's.
        self._context = contextvars.Context()
        self._ending = threading.Lock()
        self._begun: Begun | None = None
        self._body: AsyncBody | None = None

    def start(self) -> None:
        """Start the body; to be called on the loop."""
        self._child.slot.take_in_hand()
        try:
            withheld = self._context.run(self._begin)
        except BaseException as error:
            self._done(partial(_raise, error))
        else:
            if withheld is not None:
                self._done(lambda: withheld)

    def leave_if_overdue(self) -> bool:
        """Give up on a body that goes on long after its time: the loop is blocked, or was."""
        body = self._body
        if body is None or not body.is_overdue():
            return False
        self._ended()
        return True

    def _begin(self) -> Outcome | None:
        child, branch = self._child, self._branch
        branch.step_started_at = branch.step_ended_at = monotonic()
        branch.progress, branch.log = NO_PROGRESS, None
        arguments = arguments_of(child, branch)
        begun = begin(child, branch)
        if not isinstance(begun, Begun):
            return begun
        self._begun = begun
        instrument, token = child.instrument, begun.token
        # Other bodies share this thread.
        instrument.left(token)
        self._body = AsyncBody(
            Resumed(
                branch.step.function(**arguments),
                partial(instrument.entered, token),
                partial(instrument.left, token),
            ),
            slot=child.slot,
            seconds=begun.seconds,
            silence=begun.silence,
            bounded=True,
            ended=self._ended,
        )
        self._body.start()
        return None

    def _ended(self) -> None:
        # Of one that was left behind this is heard again when it does end.
        if self._ending.acquire(blocking=False):
            outcome = self._context.run(self._end)
            self._done(lambda: outcome)

    def _end(self) -> Outcome:
        begun, body = self._begun, self._body
        assert begun is not None
        assert body is not None
        self._child.instrument.entered(begun.token)
        return begun.outcome(body.value)


def _raise(error: BaseException) -> Outcome:
    raise error
