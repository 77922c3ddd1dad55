"""A run, as the application holds it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Generic
from uuid import UUID

from taskplatform.client import again, ringer, shape, why
from taskplatform.client.numbers import priority_of
from taskplatform.client.outputs import last_steps, typed_output
from taskplatform.client.session import Answer, call
from taskplatform.client.stream import Change, astream, stream
from taskplatform.client.unset import UNSET, Unset
from taskplatform.client.view import RunErrorView, RunView
from taskplatform.client.waiting import Waiting
from taskplatform.core.pipeline import Out
from taskplatform.core.run import FINAL
from taskplatform.errors import Conflict, NotCommitted, RunFailed, RunNotFound
from taskplatform.settings import get_settings
from taskplatform.storage import cancel, history, priorities, retry
from taskplatform.storage.connection import Session
from taskplatform.storage.history_rows import Look


class Run(Generic[Out]):
    """A run by its id.

    Its properties are as of the last look: enqueue, wait, retry and the like look, and so does
    refresh(); reading a property looks only if nobody did before.
    """

    def __init__(
        self,
        id: UUID,
        pipeline: str,
        *,
        status: str | None = None,
        look: Look | None = None,
        uncommitted: Callable[[], bool] | None = None,
    ) -> None:
        """Hold a run that is known to exist; get_run(id) finds one.

        `uncommitted` tells whether the transaction that stored it may be open.
        """
        self.id = id
        self.pipeline = pipeline
        self._status = status
        self._look = look
        self._uncommitted = uncommitted

    @property
    def status(self) -> str:
        """scheduled, queued, running, waiting, succeeded, failed or cancelled."""
        return self._status if self._status is not None else self._seen().status

    @property
    def reason(self) -> str | None:
        """What a waiting run waits for."""
        return self._seen().reason

    @property
    def due_at(self) -> datetime | None:
        """When a scheduled or waiting run goes on."""
        return self._seen().due_at

    @property
    def error(self) -> RunErrorView | None:
        """What ended a failed run."""
        return shape.run_error(self._seen().error)

    @property
    def output(self) -> Out:
        """The output of the last step: of its declared type, or plain JSON if that is unknown.

        Of a group that is the last: a dict of its steps' outputs by their names.

        Raises RunFailed if the run failed or was cancelled, Conflict if it has not ended, and
        CannotOpen if it has a secret that was sealed with another key.
        """
        if self.status != "succeeded" or self._look is None:
            self.refresh()
        look = self._seen()
        if look.status not in FINAL:
            raise Conflict(f"run {self.id} is {look.status}: wait() for it before its output")
        if look.status != "succeeded" or look.output_step is None:
            raise RunFailed(self._why(look))
        names = last_steps(look.output_step)
        stored = call(lambda connection, _: history.outputs(connection, self.id, names))
        # What output= declares was compared with what the last step returns.
        return typed_output(self.pipeline, names, stored)  # type: ignore[no-any-return]

    def refresh(self) -> "Run[Out]":
        """Look again.

        Raises NotCommitted, and RunNotFound if its transaction was rolled back, or once retention
        has deleted the run.
        """
        look = call(lambda connection, _: history.look(connection, self.id))
        if look is None:
            raise self._missing()
        self._look, self._status = look, None
        return self

    def wait(self, timeout: float | None = None) -> "Run[Out]":
        """Wait until the run has succeeded, failed or was cancelled; `timeout` in seconds.

        Raises WaitTimeout (the run goes on), NotCommitted and RunNotFound.
        """
        waiting = Waiting(self, timeout)
        while (pause := waiting.look()) is not None:
            time.sleep(pause)
        return self

    async def await_(self, timeout: float | None = None) -> "Run[Out]":
        """Like `wait`, without blocking the event loop or keeping a thread."""
        waiting = Waiting(self, timeout)
        while (pause := await asyncio.to_thread(waiting.look)) is not None:
            await asyncio.sleep(pause)
        return self

    def stream(self, timeout: float | None = None) -> Iterator[Change]:
        """What happens in the run, as it happens; `timeout` in seconds for all of it.

        It begins with where the run stands and what is finished, and ends after the final
        status. No finished step or attempt is left out; of states and progress, those that last.

        Raises WaitTimeout (the run goes on), NotCommitted and RunNotFound.
        """
        return stream(self, timeout)

    def astream(self, timeout: float | None = None) -> AsyncIterator[Change]:
        """Like `stream`, without blocking the event loop."""
        return astream(self, timeout)

    def cancel(self) -> bool:
        """End the run for good and free its key; False if it had ended before.

        When this returns, no further step starts and no result is taken any more.
        """
        cancelled = self._ask(
            lambda connection, repeated: cancel.cancel(connection, self.id, again=repeated)
        )
        self.refresh()
        return cancelled

    def retry(self) -> "Run[Out]":
        """Go on with a failed, parked or waiting-for-retry run, with a fresh retry budget.

        A run that is queued already is left as it is, so that of many calls at once one counts.

        Raises KeyTaken, and Conflict if the run is in another state.
        """
        retried = self._ask(
            lambda connection, repeated: retry.retry(
                connection, self.id, again.plan, again=repeated
            )
        )
        ringer.RINGER.ring(retried.queue)
        return self.refresh()

    def set_priority(self, priority: int) -> "Run[Out]":
        """Move a run that has not ended to where that priority would have put it.

        Also what of it is held: it counts as soon as that is put back.
        Raises InvalidInput, and Conflict if the run has ended.
        """
        value, ageing = priority_of(priority), get_settings().priority_ageing
        self._ask(lambda connection, _: priorities.set_of_run(connection, self.id, value, ageing))
        return self

    def replay(
        self, from_step: str | None = None, input: again.Input | Unset = UNSET
    ) -> "Run[Out]":
        """Make a new run of this one, with its input or another, reusing earlier outputs.

        From the start, or from a step; it owns no key. Raises InvalidInput, PipelineNotFound,
        and Conflict if an output of a step before `from_step` is missing.
        """
        try:
            new, queue = again.replay(self.id, from_step, input)
        except RunNotFound:
            raise self._missing() from None
        ringer.RINGER.ring(queue)
        return Run(new.id, self.pipeline, status=new.status)

    def view(self) -> RunView:
        """All that is known of the run, its steps and attempts, as of now."""
        found = call(lambda connection, _: history.get(connection, self.id))
        if found is None:
            raise self._missing()
        view = shape.run_view(found)
        waits = call(lambda connection, _: why.waits(connection, view))
        return view.model_copy(update={"waits": waits})

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.pipeline!r}: {self._status or self._where()}>"

    def _where(self) -> str:
        if self._look is None:
            return self._status or "not looked at"
        look = self._look
        until = f" until {look.due_at:%Y-%m-%d %H:%M:%S %Z}" if look.due_at else ""
        what = f" ({look.reason})" if look.reason else ""
        return f"{look.status}{what}{until}"

    def _ask(self, statement: Callable[[Session, bool], Answer]) -> Answer:
        try:
            return call(statement)
        except RunNotFound:
            raise self._missing() from None

    def _missing(self) -> RunNotFound | NotCommitted:
        if self._uncommitted is None:
            return RunNotFound(f"there is no run {self.id}")
        if self._uncommitted():
            return NotCommitted(
                f"run {self.id} was enqueued in a transaction that is still open: commit it first"
            )
        return RunNotFound(
            f"there is no run {self.id}: the transaction that it was enqueued in was rolled back"
        )

    def _seen(self) -> Look:
        if self._look is None:
            self.refresh()
        assert self._look is not None
        return self._look

    def _why(self, look: Look) -> str:
        error = shape.run_error(look.error)
        if error is None:
            return f"run {self.id} has no output: it is {look.status}"
        where = f" in step {error.step!r}" if error.step else ""
        return f"run {self.id} {look.status}{where}: {error.type}: {error.message}"
