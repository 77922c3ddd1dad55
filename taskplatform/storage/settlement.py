"""What becomes of held work, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Result:
    """A step's output; the ages are seconds before the commit, so that one clock decides."""

    step: str
    version: int
    attempt: int
    output: bytes
    started_ago: float
    finished_ago: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt without an output. Without a number it takes the next one."""

    step: str
    outcome: str
    error: bytes | None
    started_ago: float | None
    finished_ago: float = 0.0
    number: int | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Keep:
    """The holder goes on with `step`; `mark` records that its body starts now."""

    step: str
    mark: bool


@dataclass(frozen=True, slots=True)
class PutBack:
    """The work is claimable again: at once, or in `delay` seconds for `reason`.

    An infinite delay waits for a person. `failures` and `put_off` are what `step` has used up.
    """

    step: str
    queue: str
    delay: float | None = None
    reason: str | None = None
    waiting_for: str | None = None
    failures: int = 0
    put_off: float = 0.0
    tried: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The run ends. When it owns its key, that goes on covering it for `key_seconds`."""

    status: str
    output_step: str | None = None
    error: bytes | None = None
    started_ago: float | None = None
    owns_key: bool = False
    key_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """A run of an event handler, made in the transaction that ends the run it is about."""

    id: UUID
    pipeline: str
    step: str
    queue: str
    input: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of one held branch. `expected` refuses it unless the row is at that step."""

    work_id: int
    epoch: int
    run_id: UUID
    then: Keep | PutBack | End
    result: Result | None = None
    attempt: Attempt | None = None
    handlers: Sequence[Handler] = ()
    expected: str | None = None
