"""What becomes of held work, as plain values.

Those of which one is made for every step are not frozen: that costs more than making them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from taskplatform.core.disposition import InLine
from taskplatform.storage.new_run import AGEING


@dataclass(slots=True)
class Result:
    """A step's output; the ages are seconds before the commit, so that one clock decides.

    With a `position` it is the output of an item of a map; `failed` says that it is an error that
    is collected. `first`: as far as its holder knows the step has no output, of any version.
    """

    step: str
    version: int
    attempt: int
    output: bytes
    started_ago: float
    finished_ago: float
    position: int | None = None
    failed: bool = False
    log: str | None = None
    first: bool = False


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
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """The holder goes on with `step`; `mark` records that its body starts now."""

    step: str
    mark: bool


@dataclass(frozen=True, slots=True)
class PutBack:
    """The work is claimable again: at once, or in `delay` seconds for `reason`.

    An infinite delay waits for a person, or for what it rests on. `failures` and `put_off` are
    what `step` has used up. `rest` is what it rests on from now on; None leaves that as it is
    while the step is the same, and "" forgets it. `failing` is for a run that fails for good, with
    `run_error`, as soon as its branches have ended and its compensations were executed.
    `progress` is how much of how much the last attempt at the step had done. `line` is where it
    stands in line meanwhile.
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
    rest: str | None = None
    failing: bool = False
    run_error: bytes | None = None
    progress: tuple[float | None, float | None] = (None, None)
    line: InLine | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """The branch has ended; with an error the whole run fails for good."""

    run_error: bytes | None = None


@dataclass(slots=True)
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
class ForkGroup:
    """The members of a group become branches: (step, queue)."""

    members: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ForkMap:
    """Items become branches, at most `window` at once (None: all).

    `items` is the JSON list of them; what is stored of an earlier fork of that version stays.
    """

    step: str
    queue: str
    version: int
    items: bytes
    window: int | None


@dataclass(frozen=True, slots=True)
class NewWait:
    """Wait for an event whose data have `value` as `field` (empty: any); `timeout` in seconds.

    `passed` is an event that came and did not fit: the wait goes on without it.
    """

    step: str
    event: str
    field: str
    value: str
    timeout: float | None
    passed: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewChild:
    """A run that the waiting step is about, stored with the wait for it."""

    id: UUID
    parent_step: str
    pipeline: str
    step: str
    queue: str
    input: bytes
    key: str | None
    owner: str | None
    priority: int | None
    run_timeout: float | None
    queue_timeout: float | None = None
    ageing: float = AGEING
    fair_key: str | None = None


@dataclass(frozen=True, slots=True)
class Slots:
    """What is held under the epoch is given back; of a run that ends, also what the run holds.

    `limits` are gates at which the branch may stand in line from now on, with their limits.
    """

    limits: Sequence[tuple[str, int]] = ()


Then = Keep | PutBack | End | Join


@dataclass(slots=True)
class Settlement:
    """What becomes of one held branch. `expected` refuses it unless the row is at that step.

    `branch`: it is not the run's main row. `parent_run` is who waits for this run to end.
    """

    work_id: int
    epoch: int
    run_id: UUID
    then: Then
    result: Result | None = None
    attempt: Attempt | None = None
    handlers: Sequence[Handler] = ()
    expected: str | None = None
    branch: bool = False
    parent_run: UUID | None = None
    fork: ForkGroup | ForkMap | None = None
    wait: NewWait | None = None
    child: NewChild | None = None
    slots: Slots | None = None
