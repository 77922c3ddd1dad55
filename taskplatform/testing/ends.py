"""How a run that does not succeed ends, on its way out of its branches."""

from typing import ClassVar

from taskplatform.core.failure import Failure


class Stopped(Exception):
    """No further step of the run starts; `status` is that of the step, and of the run."""

    status: ClassVar[str]

    def __init__(self, step: str, cause: BaseException | None = None) -> None:
        """`cause` is what the body of the step raised."""
        super().__init__(step)
        self.step = step
        self.cause = cause


class Failing(Stopped):
    """The run fails for good."""

    status = "failed"

    def __init__(self, step: str, failure: Failure, cause: BaseException | None = None) -> None:
        super().__init__(step, cause)
        self.failure = failure


class Waiting(Stopped):
    """The run waits for what does not come by itself."""

    status = "waiting"
    reason: ClassVar[str] = "children"

    def __init__(self, step: str, why: str, cause: BaseException | None = None) -> None:
        super().__init__(step, cause)
        self.why = why


class Parked(Waiting):
    """The run waits for a person."""

    reason = "parked"


class RunCancelled(Stopped):
    """The run was cancelled while the body of a step was running."""

    status = "cancelled"
