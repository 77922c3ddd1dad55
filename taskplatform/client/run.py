"""A run, as the application holds it."""

import time
from datetime import datetime
from typing import Any
from uuid import UUID

from taskplatform.client import again, ringer, shape
from taskplatform.client.outputs import last_steps, typed_output
from taskplatform.client.session import call
from taskplatform.client.unset import UNSET, Unset
from taskplatform.client.view import RunErrorView, RunView
from taskplatform.core.run import FINAL
from taskplatform.errors import (
    Conflict,
    RunFailed,
    RunNotFound,
    Unavailable,
    WaitTimeout,
)
from taskplatform.storage import cancel, history, retry
from taskplatform.storage.history_rows import Look

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
_OUTAGE = 30.0


class Run:
    """A run by its id.

    Its properties are as of the last look: enqueue, wait, retry and the like look, and so does
    refresh(); reading a property looks only if nobody did before.
    """

    def __init__(
        self, id: UUID, pipeline: str, *, status: str | None = None, look: Look | None = None
    ) -> None:
        """Hold a run that is known to exist; get_run(id) finds one."""
        self.id = id
        self.pipeline = pipeline
        self._status = status
        self._look = look

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
    def output(self) -> Any:
        """The output of the last step: of its declared type, or plain JSON if that is unknown.

        Of a group that is the last: a dict of its steps' outputs by their names.

        Raises RunFailed if the run failed or was cancelled, and Conflict if it has not ended.
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
        return typed_output(self.pipeline, names, stored)

    def refresh(self) -> "Run":
        """Look again. Raises RunNotFound once retention has deleted the run."""
        look = call(lambda connection, _: history.look(connection, self.id))
        if look is None:
            raise RunNotFound(f"there is no run {self.id}")
        self._look, self._status = look, None
        return self

    def wait(self, timeout: float | None = None) -> "Run":
        """Wait until the run has succeeded, failed or was cancelled; `timeout` in seconds.

        Raises WaitTimeout; the run goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, answered = _FIRST_PAUSE, time.monotonic()
        while True:
            try:
                self.refresh()
                answered = time.monotonic()
            except Unavailable:
                if time.monotonic() > answered + _OUTAGE or self._look is None:
                    raise
            if self.status in FINAL:
                return self
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(
                    f"run {self.id} did not end within {timeout:g} s: it is {self._where()}"
                )
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def cancel(self) -> bool:
        """End the run for good and free its key; False if it had ended before.

        When this returns, no further step starts and no result is taken any more.
        """
        cancelled = call(
            lambda connection, repeated: cancel.cancel(connection, self.id, again=repeated)
        )
        self.refresh()
        return cancelled

    def retry(self) -> "Run":
        """Go on with a failed, parked or waiting-for-retry run, with a fresh retry budget.

        A run that is queued already is left as it is, so that of many calls at once one counts.

        Raises KeyTaken, and Conflict if the run is in another state.
        """
        retried = call(
            lambda connection, repeated: retry.retry(
                connection, self.id, again.plan, again=repeated
            )
        )
        ringer.RINGER.ring(retried.queue)
        return self.refresh()

    def replay(self, from_step: str | None = None, input: again.Input | Unset = UNSET) -> "Run":
        """Make a new run of this one, with its input or another, reusing earlier outputs.

        From the start, or from a step; it owns no key. Raises InvalidInput, PipelineNotFound,
        and Conflict if an output of a step before `from_step` is missing.
        """
        new, queue = again.replay(self.id, from_step, input)
        ringer.RINGER.ring(queue)
        return Run(new.id, self.pipeline, status=new.status)

    def view(self) -> RunView:
        """All that is known of the run, its steps and attempts, as of now."""
        found = call(lambda connection, _: history.get(connection, self.id))
        if found is None:
            raise RunNotFound(f"there is no run {self.id}")
        return shape.run_view(found)

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.pipeline!r}: {self._status or self._where()}>"

    def _seen(self) -> Look:
        if self._look is None:
            self.refresh()
        assert self._look is not None
        return self._look

    def _where(self) -> str:
        if self._look is None:
            return self._status or "not looked at"
        look = self._look
        until = f" until {look.due_at:%Y-%m-%d %H:%M:%S %Z}" if look.due_at else ""
        what = f" ({look.reason})" if look.reason else ""
        return f"{look.status}{what}{until}"

    def _why(self, look: Look) -> str:
        error = shape.run_error(look.error)
        if error is None:
            return f"run {self.id} has no output: it is {look.status}"
        where = f" in step {error.step!r}" if error.step else ""
        return f"run {self.id} {look.status}{where}: {error.type}: {error.message}"
