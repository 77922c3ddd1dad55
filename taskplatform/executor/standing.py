"""Standing: what becomes of a row that is not about to execute the body of one step."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from taskplatform.core.failure import Failure
from taskplatform.core.pipeline import Declaration
from taskplatform.core.shapes import Kind
from taskplatform.executor import ending
from taskplatform.executor.arrival import Arrival, arrive
from taskplatform.executor.branch import Branch, stage_of
from taskplatform.executor.ending import settled
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import (
    Attempt,
    ForkGroup,
    ForkMap,
    Join,
    Keep,
    NewChild,
    PutBack,
    Result,
    Settlement,
)

# Whoever wakes to more than it can take wakes the next one.
MOST_RUNG = 8
_FOR_EVER = float("inf")


def standing(claimed: Claimed, declaration: Declaration[Any], default_queue: str) -> Settlement:
    """What becomes of a row that is not at one step: it forks, ends, or its branch does."""
    stage = stage_of(claimed, declaration)
    if claimed.branch:
        return settled(claimed, Join())
    if stage:
        arrival = arrive(stage, claimed.input, claimed.outputs, default_queue)
        assert arrival is not None
        return rest(claimed, arrival, claimed.seconds_left)
    if claimed.failing:
        error = claimed.error or Failure("Failed", "", "").encode()
        return ending.failed(claimed, declaration, default_queue, error)
    return ending.succeeded(claimed, declaration, default_queue)


def joining(claimed: Claimed, default_queue: str) -> Settlement:
    """What becomes of a join that was claimed before its branches have ended."""
    left = claimed.seconds_left
    late = left is not None and left <= 0 and not claimed.failing
    error = _out_of_time().encode(claimed.step) if late else None
    if claimed.branch and late:
        return settled(claimed, Join(run_error=error))
    delay = _FOR_EVER if left is None or late or claimed.failing else left
    then = PutBack(
        claimed.step,
        claimed.queue or default_queue,
        delay=delay,
        reason="children",
        rest="branches",
        failing=late,
        run_error=error,
    )
    return settled(claimed, then)


def out_of_time(branch: Branch, default_queue: str) -> Settlement:
    """Fail a run whose own time limit has passed."""
    if branch.claimed.branch:
        return settled(branch.claimed, Join(run_error=_out_of_time().encode(branch.label)))
    return ending.fail(branch, default_queue, _out_of_time())


def never_started(
    claimed: Claimed, declaration: Declaration[Any], default_queue: str
) -> Settlement:
    """Fail a run that no worker has started in time."""
    within = declaration.queue_timeout or 0
    message = f"no worker started the run within {within:g} s of its being ready"
    error = Failure("QueueTimeout", message, "").encode(claimed.step)
    return ending.failed(claimed, declaration, default_queue, error)


def moved_on(branch: Branch, default_queue: str) -> Settlement | None:
    """Let a row stand at the step that it is about to execute; None: it does already.

    A row that has joined still stands at what it forked. Whoever looks at it from outside would
    take the body of the next step for that, and it may belong on another queue.
    """
    claimed, step = branch.claimed, branch.step
    if claimed.step == step.name or step.kind not in (Kind.BODY, Kind.CHILD):
        return None
    queue = step.queue or default_queue
    if queue != claimed.queue:
        return settled(claimed, PutBack(step.name, queue, rest=""))
    return settled(claimed, Keep(step.name, mark=claimed.started))


def still_here(
    branches: Sequence[Branch], others: Sequence[Settlement], committed: Sequence[Settlement]
) -> list[Branch]:
    """The branches that are held, each at the step to which its row was moved, if it was."""
    moved = {one.work_id for one in others}
    kept = {one.work_id: one.then.step for one in committed if isinstance(one.then, Keep)}
    here = []
    for branch in branches:
        claimed = branch.claimed
        if claimed.work_id in kept:
            claimed.step, claimed.rest = kept[claimed.work_id], None
        if claimed.work_id in kept or claimed.work_id not in moved:
            here.append(branch)
    return here


def resting(branch: Branch, arrival: Arrival) -> Settlement:
    """Let the branch rest."""
    return rest(branch.claimed, arrival, branch.seconds_left)


def going_on_resting(
    branch: Branch, default_queue: str, seconds: float, rest: str, what: str
) -> Settlement:
    """Let a branch rest on that was claimed too early."""
    then = PutBack(
        branch.step.name,
        branch.step.queue or default_queue,
        delay=capped(seconds, branch.seconds_left),
        reason="event" if rest == "event" else "children",
        waiting_for=what,
        failures=branch.failures,
        rest=rest,
    )
    return settled(branch.claimed, then)


def resting_on_child(branch: Branch, child: NewChild, default_queue: str) -> Settlement:
    """Store a child run and wait for its end."""
    rest = going_on_resting(branch, default_queue, _FOR_EVER, "child", f"run {child.id}")
    return replace(rest, child=child)


def with_attempt(
    branch: Branch, settlement: Settlement, failure: Failure, seconds: float
) -> Settlement:
    """The same rest, for so long, with a note of what came and did not fit."""
    then = settlement.then
    assert isinstance(then, PutBack)
    delay = capped(seconds, branch.seconds_left)
    return replace(
        settlement,
        then=replace(then, delay=delay, tried=True),
        attempt=attempt_of(branch, "failed", failure),
    )


def parked(claimed: Claimed, queue: str, why: str) -> Settlement:
    """Leave a run to a person: the code here cannot read what is stored."""
    then = PutBack(
        claimed.step,
        queue,
        delay=_FOR_EVER,
        reason="parked",
        waiting_for=why[:2000],
        failures=claimed.failures,
        put_off=claimed.put_off,
    )
    return settled(claimed, then)


def given_back(claimed: Claimed, queue: str) -> Settlement:
    """Give back a row as it is, because nobody can tell whether its run may begin."""
    then = PutBack(
        claimed.step,
        claimed.queue or queue,
        failures=claimed.failures,
        put_off=claimed.put_off,
    )
    return settled(claimed, then)


def made_ready(settlements: Sequence[Settlement]) -> dict[str, int]:
    """How many rows by queue are ready now, or will be in a moment, by what was committed."""
    ready: Counter[str] = Counter()
    for one in settlements:
        if isinstance(one.then, PutBack) and one.then.delay is None:
            ready[one.then.queue] += 1
        ready.update(handler.queue for handler in one.handlers)
        match one.fork:
            case ForkGroup(members):
                ready.update(queue for _, queue in members)
            case ForkMap(queue=queue, window=window):
                ready[queue] += window or MOST_RUNG
        if one.child is not None:
            ready[one.child.queue] += 1
    return ready


def rest(
    claimed: Claimed, arrival: Arrival, left: float | None, result: Result | None = None
) -> Settlement:
    """Let a row rest, no longer than its run may take."""
    delay = arrival.then.delay
    then = arrival.then
    if delay is not None:
        then = replace(then, delay=capped(delay, None if claimed.failing else left))
    return settled(claimed, then, result=result, fork=arrival.fork, wait=arrival.wait)


def capped(delay: float, left: float | None) -> float:
    """A delay that ends with the run's own time."""
    return delay if left is None else max(0.0, min(delay, left))


def attempt_of(branch: Branch, outcome: str, failure: Failure | None) -> Attempt:
    """The attempt that has just ended without an output."""
    return Attempt(
        branch.label,
        outcome,
        failure.encode() if failure else None,
        started_ago=monotonic() - branch.step_started_at,
        number=branch.number,
        log=branch.log,
    )


def _out_of_time() -> Failure:
    return Failure(
        "RunTimeLimitExceeded", "the run's own time limit passed before its last step", ""
    )
