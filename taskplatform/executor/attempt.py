"""One attempt: bind the arguments, pass the middlewares, call the function, judge what came."""

from functools import partial
from time import monotonic
from types import CoroutineType
from typing import Any

from taskplatform.core.context import Context
from taskplatform.core.outcome import Outcome
from taskplatform.executor import company
from taskplatform.executor.async_body import wait_for
from taskplatform.executor.begun import NO_PROGRESS, Begun, begin
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.executor.reports import Reporter
from taskplatform.executor.resumed import Resumed
from taskplatform.executor.step_log import step_logger
from taskplatform.middleware import StepAttempt, around, compose

_UNSEEN = Context()


def attempt(child: Child, branch: Branch, arguments: dict[str, Any]) -> Outcome:
    """Execute the body of the branch's next step once, within its limits.

    Raises Revoked if the claim was taken back, Unreadable, and psycopg.Error or Unavailable if a
    middleware could not ask the database, before the body started.
    """
    branch.step_started_at = branch.step_ended_at = monotonic()
    branch.progress, branch.log = NO_PROGRESS, None
    middlewares = around(branch.step)
    if not middlewares:
        branch.claimed.gates = None
        return _execute(child, branch, arguments)
    gates = branch.claimed.gates = {}
    came_to: list[Outcome] = []

    def execute() -> Outcome:
        came_to.append(_execute(child, branch, arguments))
        return came_to[0]

    known = StepAttempt(
        branch.step,
        branch.claimed.run_id,
        branch.number,
        branch.step.read_input(branch.claimed.input),
        child.transaction,
        child.link.session,
        branch.claimed.work_id,
        branch.claimed.epoch,
        gates,
        child.link.breakers,
        lambda: branch.raised,
    )
    outcome = compose(middlewares, known, execute)()
    if came_to and outcome is not came_to[0]:
        # A middleware has made something else of it: nothing of the body's is to be kept.
        child.own_transaction.discard()
        for one in branch.company:
            one.came_to = None
    return outcome


def arguments_of(child: Child, branch: Branch) -> dict[str, Any]:
    """What the branch's next body is called with. Raises Unreadable.

    Of a batch that is known only when the others of it are.
    """
    claimed, fresh = branch.claimed, branch.fresh
    branch.fresh = None
    return branch.step.bind(
        claimed.input,
        claimed.outputs,
        context(child, branch),
        claimed.item,
        claimed.position,
        fresh,
    )


def context(child: Child, branch: Branch) -> Context:
    """The `ctx` of the attempt that is about to start."""
    if not branch.step.wants_context and branch.step.heartbeat is None:
        # Nobody can report: what would carry that is not made.
        child.reporter = None
        return _UNSEEN
    child.reporter = reporter = Reporter(child.slot)
    return Context(
        run_id=branch.claimed.run_id,
        step=branch.label,
        attempt=branch.number,
        epoch=branch.claimed.epoch,
        logger=step_logger,
        progress=reporter.progress,
        heartbeat=reporter.heartbeat,
        # Of a batch the others are wanted still.
        cancelled=lambda: branch.step.batch is None and child.slot.cancelled,
        connection=child.own_transaction.connection if branch.step.transactional else None,
    )


def _execute(child: Child, branch: Branch, arguments: dict[str, Any]) -> Outcome:
    begun = begin(child, branch)
    if not isinstance(begun, Begun):
        return begun
    if branch.step.batch is None:
        return begun.outcome(_call, child, branch, begun, arguments)

    def call(inputs: list[Any]) -> Any:
        ctx = next((one for one in arguments.values() if isinstance(one, Context)), None)
        if ctx is not None:
            ctx.run_ids = (branch.claimed.run_id, *(one.claimed.run_id for one in branch.company))
        given = branch.step.bind(inputs, {}, ctx or _UNSEEN)
        return _call(child, branch, begun, given)

    return begun.outcome(company.execute, child, branch, call)


def _call(child: Child, branch: Branch, begun: Begun, arguments: dict[str, Any]) -> Any:
    limit = child.time_limit
    limit.arm(begun.seconds, begun.silence if branch.step.heartbeat else None)
    value = branch.step.function(**arguments)
    if not isinstance(value, CoroutineType):
        return value
    limit.armed = False
    instrument, token = child.instrument, begun.token
    return wait_for(
        Resumed(value, partial(instrument.entered, token), partial(instrument.left, token)),
        slot=child.slot,
        seconds=begun.seconds,
        silence=begun.silence,
        bounded=not limit.available,
        shared=branch.step.batch is not None,
    )
