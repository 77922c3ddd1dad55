"""Verdict: from an outcome to what is committed for it."""

import math
import random
from dataclasses import dataclass, replace
from functools import lru_cache
from time import monotonic

from taskplatform.core.disposition import Advance, Again, Disposition, Fail, HandBack, dispose
from taskplatform.core.failure import Failure
from taskplatform.core.outcome import Outcome
from taskplatform.core.segments import same_segment
from taskplatform.core.shapes import Kind
from taskplatform.core.stages import Stage
from taskplatform.executor import ending
from taskplatform.executor.arrival import Arrival, arrive
from taskplatform.executor.branch import Branch
from taskplatform.executor.costs import BUDGET, Costs
from taskplatform.executor.ending import settled
from taskplatform.executor.standing import attempt_of, capped, rest
from taskplatform.storage.settlement import Join, Keep, PutBack, Result, Settlement

# A claim fills the budget, and the next steps may be somewhat dearer than the first: without some
# play each wave would put a few runs back, and somebody would have to claim them again.
PLAY = 4.0
_MOST, _ENDLESS = PLAY * BUDGET, float("inf")


@dataclass(slots=True)
class Room:
    """How much expected work the holder may keep for its next wave."""

    kept: int = 0
    seconds: float = 0.0

    def admit(self, cost: float | None) -> bool:
        """Take another one in, if it fits or is the first."""
        seconds = self.seconds + (_ENDLESS if cost is None else cost)
        if self.kept and seconds > _MOST:
            return False
        self.kept += 1
        self.seconds = seconds
        return True


def judge(branch: Branch, outcome: Outcome, put_off_limit: float) -> Disposition:
    """Apply the step's policy to an outcome."""
    return dispose(
        branch.step,
        outcome,
        failures=branch.failures,
        put_off=branch.put_off,
        put_off_limit=put_off_limit,
        random=random.random(),
    )


def settlement(
    branch: Branch,
    disposition: Disposition,
    *,
    default_queue: str,
    costs: Costs,
    room: Room,
    go_on: bool,
) -> Settlement:
    """Say what is to be committed for a branch whose step came to `disposition`.

    `go_on` tells whether the holder may keep the branch for its next step.
    """
    match disposition:
        case Advance():
            return advance(branch, disposition.output, default_queue, costs, room, go_on)
        case Again():
            return _again(branch, disposition, default_queue)
        case Fail(attempt_outcome, failure):
            attempt = attempt_of(branch, attempt_outcome, failure)
            return ending.fail(branch, default_queue, failure, attempt)
        case HandBack():
            return settled(
                branch.claimed,
                put_back(branch, default_queue, tried=True),
                attempt=attempt_of(branch, "interrupted", None),
            )


def put_back(branch: Branch, default_queue: str, *, tried: bool = False) -> PutBack:
    """Make the branch claimable again as it stands."""
    step = branch.step
    return PutBack(
        step.name,
        step.queue or default_queue,
        failures=branch.failures,
        put_off=branch.put_off,
        tried=tried,
    )


def released(branch: Branch, default_queue: str) -> Settlement:
    """Give back a branch whose next body was not started."""
    return settled(branch.claimed, put_back(branch, default_queue))


def expecting(settlement: Settlement, step: str) -> Settlement:
    """The same, but refused unless the work still stands at `step`."""
    return replace(settlement, expected=step)


def advance(
    branch: Branch, output: bytes, default_queue: str, costs: Costs, room: Room, go_on: bool
) -> Settlement:
    """Say what is to be committed for a branch whose step has an output."""
    now = monotonic()
    claimed, step = branch.claimed, branch.step
    name = step.name
    result = Result(
        name,
        step.version,
        branch.number,
        output,
        now - branch.step_started_at,
        now - branch.step_ended_at,
        claimed.position,
        False,
        branch.log,
        name not in claimed.versions,
    )
    if claimed.branch:
        return settled(claimed, Join(), result=result)
    following = branch.following()
    if not following:
        started_ago = now - (branch.first_body_at or now)
        return _ended(branch, result, started_ago, default_queue)
    then = following[0]
    if (len(following) > 1 or not then.is_body) and (
        arrival := _arrival(branch, following, output, default_queue)
    ):
        return rest(claimed, arrival, branch.seconds_left, result)
    if go_on and same_segment(branch.declaration, step, then, default_queue):
        cost = costs.known.get(then.task_name)
        if room.admit(cost):
            return settled(claimed, _keep(then.name, cost is None or cost > BUDGET), result)
    return settled(claimed, PutBack(then.name, then.queue or default_queue), result)


@lru_cache(maxsize=1024)
def _keep(step: str, mark: bool) -> Keep:
    # One for all branches that go on with the step: it says nothing else.
    return Keep(step, mark)


def _ended(branch: Branch, result: Result, started_ago: float, default_queue: str) -> Settlement:
    claimed = branch.claimed
    if claimed.failing:
        error = claimed.error or Failure("Failed", "", "").encode()
        return ending.failed(
            claimed,
            branch.declaration,
            default_queue,
            error,
            started_ago=started_ago,
            result=result,
        )
    return ending.succeeded(
        claimed, branch.declaration, default_queue, result=result, started_ago=started_ago
    )


def _arrival(branch: Branch, following: Stage, output: bytes, default_queue: str) -> Arrival | None:
    if len(following) == 1 and following[0].kind in (Kind.BODY, Kind.CHILD):
        return None
    claimed = branch.claimed
    outputs = {**claimed.outputs, branch.step.name: output}
    try:
        return arrive(following, claimed.input, outputs, default_queue)
    except Exception:
        # The stage's own fault: it is charged to it when it is reached.
        return None


def _again(branch: Branch, again: Again, default_queue: str) -> Settlement:
    then = PutBack(
        branch.step.name,
        branch.step.queue or default_queue,
        delay=capped(math.inf if again.line else again.delay, branch.seconds_left),
        reason=again.reason,
        waiting_for=again.waiting_for,
        failures=branch.failures + (1 if again.counts else 0),
        put_off=branch.put_off + again.put_off,
        tried=again.attempt_outcome is not None,
        progress=branch.progress,
        line=again.line,
        # The next attempt at a child is another child.
        rest="" if branch.step.kind is Kind.CHILD and again.attempt_outcome else None,
    )
    attempt = (
        attempt_of(branch, again.attempt_outcome, again.failure) if again.attempt_outcome else None
    )
    return settled(branch.claimed, then, attempt=attempt)
