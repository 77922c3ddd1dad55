"""Every error the platform raises on purpose.

TaskPlatformError
├── DeclarationError          a pipeline is declared wrongly; names pipeline, step and remedy
├── SettingsError             a setting is unknown or malformed
│   └── NoSecretKey           there is a secret to store and no key to seal it with
├── CannotOpen                a stored secret was sealed with a key that is not here
├── InvalidInput              the input of an enqueue does not fit the pipeline's model
├── UnusableConnection        enqueue(connection=) cannot store a run in that connection
├── NotFound
│   ├── PipelineNotFound
│   └── RunNotFound
├── Conflict                  the request contradicts the state of a run
│   ├── KeyTaken              another run owns the key
│   ├── KeyBusy               an open transaction elsewhere holds the key; try again
│   ├── RequestIdReused       the same request id came with another input
│   └── NotCommitted          the transaction that stored the run has not been committed
├── MiddlewareError           a middleware of the application failed; names it
├── Throttled                 no grant within the time that acquire() was given
├── Unavailable               database or broker cannot be reached
├── RunFailed                 raised by Run.output when the run did not succeed
└── WaitTimeout               Run.wait(timeout=) passed before the run ended

Raised by step bodies to say what happened:

Permanent(Exception)          do not retry
RetryAfter(Exception)         try again in so many seconds; uses no retry
TimeLimitExceeded(Exception)  raised inside a body whose attempt ran out of time
Interrupted(BaseException)    raised inside a body that a shutdown hands back
"""


class TaskPlatformError(Exception):
    """Base of all errors of the platform."""


class DeclarationError(TaskPlatformError):
    """A pipeline is declared wrongly."""


class SettingsError(TaskPlatformError):
    """A setting is unknown or malformed."""


class NoSecretKey(SettingsError):
    """There is a secret to store and no key to seal it with; the message says how to make one."""


class CannotOpen(TaskPlatformError, ValueError):
    """A stored secret was sealed with a key that this process does not have."""


class InvalidInput(TaskPlatformError, ValueError):
    """The input does not fit the pipeline's model; the message names the fields."""


class UnusableConnection(TaskPlatformError, ValueError):
    """No run can be stored in the connection given; the message says why, and what to give."""


class NotFound(TaskPlatformError, LookupError):
    """What was asked for does not exist."""


class PipelineNotFound(NotFound):
    """No pipeline of that name is declared in the imported modules."""


class RunNotFound(NotFound):
    """No run has that id."""


class Conflict(TaskPlatformError):
    """The request contradicts the state of the run."""


class KeyTaken(Conflict):
    """Another run owns the key; the message names it."""


class KeyBusy(Conflict):
    """An open transaction elsewhere holds the key; try again when it has ended."""


class RequestIdReused(Conflict):
    """The same request id came with another input."""


class NotCommitted(Conflict):
    """The transaction that stored the run has not been committed; commit it first."""


class MiddlewareError(TaskPlatformError):
    """A middleware of the application failed; the message names it and says what was stored."""


class Throttled(TaskPlatformError, TimeoutError):
    """There is no grant within the time given; `seconds` until there may be one."""

    def __init__(self, name: str, seconds: float) -> None:
        when = "is never granted: it weighs more than the limit"
        if seconds != float("inf"):
            when = f"has none before {seconds:.3g} s have passed"
        super().__init__(f"throttle '{name}': what was asked for {when}")
        self.seconds = seconds


class Unavailable(TaskPlatformError, ConnectionError):
    """The database or the broker cannot be reached."""


class RunFailed(TaskPlatformError):
    """The run ended without an output; the message gives its status and error."""


class WaitTimeout(TaskPlatformError, TimeoutError):
    """The run did not end within the time given; it goes on."""


class Permanent(Exception):
    """Raise it in a step to fail for good, without a retry."""


class RetryAfter(Exception):
    """Raise it in a step when the other side said when to come back; uses no retry."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"try again in {seconds:g} s")
        self.seconds = float(seconds)


class TimeLimitExceeded(Exception):
    """The attempt ran longer than the step's timeout."""


class Interrupted(BaseException):
    """A shutdown hands the attempt back; not an Exception, so that bodies let it pass."""
