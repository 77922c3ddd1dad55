"""Company: the other runs of a batch, whose step is executed together with the leader's.

Each of them is held under an epoch of its own and settled by itself: one that was cancelled
meanwhile is refused, and the others are not.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from taskplatform.core.outcome import Outcome, Succeeded, outcome_of
from taskplatform.core.step import InvalidOutput, Step, Unreadable
from taskplatform.errors import Unavailable
from taskplatform.executor import standing
from taskplatform.executor.branch import Branch, open_branch
from taskplatform.executor.child import Child
from taskplatform.executor.ending import settled
from taskplatform.storage.batches import LATER, gather
from taskplatform.storage.settlement import PutBack, Settlement

logger = logging.getLogger(__name__)

# Without an outcome: the branch comes to rest.
Pending = tuple[Branch, Settlement, Outcome | None]
Judge = Callable[[Branch, Outcome], Settlement]


def execute(child: Child, leader: Branch, call: Callable[[list[Any]], Any]) -> Any:
    """Gather the batch, call its body with all inputs, and share out what it returned.

    Returns what is the leader's, or raises it. Raises InvalidOutput for what cannot be shared out.
    """
    inputs = [leader.step.read_input(leader.claimed.input)]
    leader.company = _gather(child, leader)
    together: list[Branch] = []
    for one in leader.company:
        try:
            inputs.append(one.step.read_input(one.claimed.input))
        except Unreadable as error:
            queue = one.step.queue or child.default_queue
            one.came_to = standing.parked(one.claimed, queue, str(error))
        else:
            together.append(one)
    values = as_many(leader.step, call(inputs), len(inputs))
    for one, value in zip(together, values[1:], strict=True):
        one.came_to = _share(one.step, value)
    if isinstance(values[0], Exception):
        raise values[0]
    return values[0]


def judged(judge: Judge, branch: Branch, outcome: Outcome | Settlement) -> list[Pending]:
    """What is to be committed for a branch, and for the others of its batch.

    What the body as a whole came to, they all did.
    """
    if isinstance(outcome, Settlement):
        return [(branch, outcome, None)]
    first = judge(branch, outcome)
    pending: list[Pending] = [(branch, first, outcome)]
    for one in branch.company:
        share = outcome if one.came_to is None else one.came_to
        if isinstance(share, Settlement):
            pending.append((one, share, None))
        else:
            pending.append((one, _after(first, judge(one, share)), share))
    branch.company = []
    return pending


def _after(leader: Settlement, member: Settlement) -> Settlement:
    """A member's settlement; one that is to be executed again waits for the leader's next time."""
    then, first = member.then, leader.then
    if not (isinstance(then, PutBack) and isinstance(first, PutBack)):
        return member
    if then.failures != first.failures or then.step != first.step:
        return member
    if then.delay is None and first.delay is None:
        return replace(member, then=replace(then, delay=LATER, reason="retry"))
    if then.reason == first.reason == "retry" and first.delay is not None:
        return replace(member, then=replace(then, delay=first.delay + LATER))
    return member


def _gather(child: Child, leader: Branch) -> list[Branch]:
    step = leader.step
    assert step.batch is not None
    many = step.batch.size - 1
    if not many:
        return []
    epoch = max(leader.claimed.epoch, child.last_epoch)
    try:
        found = child.look(
            lambda connection: gather(
                connection,
                leader=leader.claimed,
                holder=child.slot.holder,
                after=epoch,
                many=many,
            )
        )
    except Unavailable as error:
        logger.warning("a batch of %s is executed for one run: %s", step.task_name, error)
        return []
    child.remember(found)
    company: list[Branch] = []
    others: list[Settlement] = []
    for one in found:
        branch = open_branch(one, leader.declaration)
        if branch is None or branch.step is not step:
            # By the code here it is elsewhere: whoever claims it by itself sees to it.
            others.append(settled(one, PutBack(one.step, one.queue)))
        elif branch.seconds_left is not None and branch.seconds_left <= 0:
            others.append(standing.out_of_time(branch, child.default_queue))
        else:
            branch.step_started_at = branch.first_body_at = leader.step_started_at
            company.append(branch)
    if others:
        child.settle(others)
    return company


def as_many(step: Step, values: Any, many: int) -> Sequence[Any]:
    """What a batch's body returned, one for each of its inputs. Raises InvalidOutput."""
    if not isinstance(values, list | tuple):
        raise InvalidOutput(
            f"the output of step '{step.task_name}' is a {type(values).__name__}: return a list "
            "with one output for each input"
        )
    if len(values) != many:
        raise InvalidOutput(
            f"step '{step.task_name}' returned {len(values)} outputs for {many} inputs: return "
            "one for each, in their order"
        )
    return values


def _share(step: Step, value: Any) -> Outcome:
    if isinstance(value, Exception):
        return outcome_of(value)
    try:
        return Succeeded(step.encode(value))
    except Exception as error:
        return outcome_of(error)
