"""Rests: what came of what a row rested on, as an outcome, or how it goes on resting."""

from dataclasses import replace
from functools import partial
from time import monotonic

from taskplatform.core.failure import Failure
from taskplatform.core.ids import uuid7
from taskplatform.core.outcome import Failed, Outcome, Succeeded
from taskplatform.core.redaction import redact
from taskplatform.core.sealing import secrets_in
from taskplatform.core.shapes import Kind
from taskplatform.core.step import InvalidOutput, Unreadable
from taskplatform.executor import standing
from taskplatform.executor.arrival import CannotFork, arrive
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.storage import children, waits
from taskplatform.storage.children import ChildRun
from taskplatform.storage.settlement import NewChild, Settlement
from taskplatform.storage.waits import Arrived


def rests(branch: Branch) -> bool:
    """Whether the branch is at a step that is not simply executed."""
    kind = branch.step.kind
    return kind is not Kind.BODY and not (kind is Kind.MAP and branch.claimed.position is not None)


def move(child: Child, branch: Branch) -> Outcome | Settlement | None:
    """Look what a branch at such a step comes to; None: its function has to be executed.

    Raises Unavailable when the database cannot be asked.
    """
    branch.step_started_at = branch.step_ended_at = monotonic()
    match branch.step.kind:
        case Kind.SLEEP if branch.rested:
            branch.step_started_at -= branch.step.sleep or 0.0
            return Succeeded(b"null")
        case Kind.WAIT if branch.rested:
            return _waited(child, branch)
        case Kind.CHILD:
            return _child(child, branch)
        case _:
            return _arrive(child, branch)


def _arrive(child: Child, branch: Branch) -> Outcome | Settlement:
    claimed, step = branch.claimed, branch.step
    try:
        arrival = arrive((step,), claimed.input, claimed.outputs, child.default_queue)
    except CannotFork as error:
        return Failed(Failure.of(error), permanent=True)
    except Unreadable:
        raise
    except Exception as error:
        return Failed(Failure.of(error, branch.conceal))
    # Only a map over nothing has nothing to rest on.
    return Succeeded(b"[]") if arrival is None else standing.resting(branch, arrival)


def _waited(child: Child, branch: Branch) -> Outcome | Settlement:
    found = child.look(
        lambda connection: waits.arrived(connection, branch.claimed.run_id, branch.step.name)
    )
    if found is None:
        return _arrive(child, branch)
    branch.step_started_at -= found.waited
    if found.event is None:
        return _unanswered(child, branch, found)
    try:
        return Succeeded(branch.step.encode(found.data or b"null"))
    except InvalidOutput as error:
        return _passed_over(child, branch, found, error)


def _unanswered(child: Child, branch: Branch, found: Arrived) -> Outcome | Settlement:
    wait = branch.step.wait
    assert wait is not None
    if not found.expired:
        return standing.going_on_resting(
            branch, child.default_queue, found.seconds_left, "event", f"event {wait.event}"
        )
    if wait.on_timeout == "none":
        return Succeeded(b"null")
    message = f"no event '{wait.event}' came within {wait.timeout:g} s"
    return Failed(Failure("WaitTimedOut", message, ""), permanent=True)


def _passed_over(
    child: Child, branch: Branch, found: Arrived, error: InvalidOutput
) -> Settlement | Outcome:
    arrived = _arrive(child, branch)
    if not isinstance(arrived, Settlement):
        return arrived
    assert arrived.wait is not None
    arrived = replace(arrived, wait=replace(arrived.wait, passed=found.event))
    failure = Failure(
        "EventDoesNotFit", f"event {found.event} was passed over, the wait goes on: {error}", ""
    )
    return standing.with_attempt(branch, arrived, failure, found.seconds_left)


def _child(child: Child, branch: Branch) -> Outcome | Settlement | None:
    known = child.look(
        lambda connection: children.newest(connection, branch.claimed.run_id, branch.step.name)
    )
    if known is None:
        return None
    match known.status:
        case "succeeded":
            branch.step_started_at -= known.age
            return Succeeded(known.output or b"null")
        case "failed" | "cancelled":
            branch.step_started_at -= known.age if branch.rested else 0.0
            return _child_failed(known) if branch.rested else None
        case _:
            return standing.going_on_resting(
                branch, child.default_queue, float("inf"), "child", f"run {known.id}"
            )


def _child_failed(known: ChildRun) -> Failed:
    message = f"child run {known.id} was cancelled"
    if known.status == "failed":
        error = Failure.decode(known.error) if known.error else Failure("Failed", "", "")
        message = f"child run {known.id} failed: {error.type}: {error.message}"
    return Failed(Failure("ChildFailed", message, ""))


def spawn(child: Child, branch: Branch, input: bytes) -> Settlement | Outcome:
    """Store the run that the branch waits for from now on; `input` is what its function made."""
    assert branch.step.child is not None
    declaration = branch.step.child.declaration
    try:
        model, data = declaration.accept(input, stored=True)
        first, owner = declaration.steps[0], declaration.owner_of(model)
        new = NewChild(
            id=uuid7(),
            parent_step=branch.step.name,
            pipeline=declaration.name,
            step=first.name,
            queue=first.queue or child.default_queue,
            input=data,
            key=declaration.key_of(model),
            owner=owner,
            fair_key=declaration.fair_key_of(model, owner),
            priority=declaration.priority_of(model) or None,
            run_timeout=declaration.run_timeout,
            queue_timeout=declaration.queue_timeout,
            ageing=child.ageing,
        )
    except Exception as error:
        return Failed(Failure.of(error, partial(redact, secrets=secrets_in(input))))
    return standing.resting_on_child(branch, new, child.default_queue)
