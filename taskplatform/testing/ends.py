"""How a run that does not succeed ends, on its way out of its branches."""

from taskplatform.core.failure import Failure


class Stopped(Exception):
    """No further step of the run starts."""


class Failing(Stopped):
    """The run fails for good."""

    def __init__(self, step: str, failure: Failure, cause: BaseException | None = None) -> None:
        super().__init__(step, failure)
        self.step = step
        self.failure = failure
        self.cause = cause


class Waiting(Stopped):
    """The run waits for what does not come by itself."""

    reason = "children"

    def __init__(self, step: str, why: str, cause: BaseException | None = None) -> None:
        super().__init__(step, why)
        self.step = step
        self.why = why
        self.cause = cause


class Parked(Waiting):
    """The run waits for a person."""

    reason = "parked"


class RunCancelled(Stopped):
    """The run was cancelled while the body of a step was running."""
