"""Why a run is where it is: what each open branch of it does or waits for, in words."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from taskplatform.client.limits import gate_wait
from taskplatform.client.view import AttemptView, RunView, WaitView
from taskplatform.client.why_later import later
from taskplatform.core.run import FINAL, Status
from taskplatform.storage import why
from taskplatform.storage.connection import Session

# Of a run that waits for more at once, these are shown.
_MOST = 20
_SOON = timedelta(days=365)


def waits(connection: Session, view: RunView) -> Sequence[WaitView]:
    """What the open branches of a run do or wait for; none of one that has ended."""
    if view.status in FINAL:
        return []
    found = why.branches(connection, view.id, _MOST)
    return [_wait(connection, view, branch) for branch in found]


def _wait(connection: Session, view: RunView, branch: why.Branch) -> WaitView:
    if branch.started_at is not None:
        said = f"its body executes on {branch.worker}"
        return WaitView(
            step=branch.step, state="executing", why=said, worker=branch.worker, queue=branch.queue
        )
    if branch.held:
        said = f"{branch.worker} has claimed it and is about to start it"
        return WaitView(
            step=branch.step, state="claimed", why=said, worker=branch.worker, queue=branch.queue
        )
    if not branch.waits:
        return _ready(branch, why.line(connection, view.id, branch))
    if branch.gate is not None:
        return gate_wait(connection, view.id, branch)
    return WaitView(
        step=branch.step,
        state="waiting",
        why=later(connection, view) if view.status == Status.SCHEDULED else _reason(view, branch),
        reason=branch.reason,
        due_at=branch.due_at,
        queue=branch.queue,
    )


def _ready(branch: why.Branch, line: why.Line) -> WaitView:
    return WaitView(
        step=branch.step,
        state="ready",
        why=f"it is ready, and {_obstacle(branch, line)}",
        queue=branch.queue,
        before=line.before,
        starts_at=_projected(line),
    )


def _obstacle(branch: why.Branch, line: why.Line) -> str:
    if line.paused is not None:
        return line.paused
    if not line.serving:
        return f"no worker serves queue {branch.queue}: start one with -Q {branch.queue}"
    if not line.knowing:
        return (
            f"none of the {line.serving} worker(s) of queue {branch.queue} knows pipeline "
            f"{branch.pipeline}: start one that imports it"
        )
    before = f"{line.before:,}" if line.before < why.MOST else f"more than {why.MOST:,}"
    place = f"{before} come before it in queue {branch.queue}"
    if line.before == 0:
        place = f"it is the next in queue {branch.queue}"
    if branch.lane:
        place += f" for {branch.lane}, which shares it with {max(line.lanes - 1, 0)} other(s)"
    return (
        f"{place}; {line.busy} of {line.seats} places for a body are taken, and "
        f"{line.per_second:.3g} are claimed a second"
    )


def _projected(line: why.Line) -> datetime | None:
    if line.paused is not None or not line.knowing:
        return None
    # Lanes take turns; by their weights, but whose they are may change until then.
    seconds = (line.before + 1) * max(line.lanes, 1)
    if line.busy < line.seats and line.before < line.seats - line.busy:
        return datetime.now(UTC)
    if line.per_second <= 0.001:
        return None
    left = timedelta(seconds=seconds / line.per_second)
    return datetime.now(UTC) + left if left < _SOON else None


def _reason(view: RunView, branch: why.Branch) -> str:
    named = f" {branch.waiting_for}" if branch.waiting_for else ""
    match branch.reason:
        case "retry":
            return f"it waits for its next attempt{_after(_last(view, branch.step))}"
        case "sleep":
            return "it sleeps"
        case "event":
            return f"it waits for{named or ' an event'}"
        case "children":
            return f"it waits for{named or ' what it started'}{_children(view)}"
        case "paused" if named.startswith((" owner ", " key ")):
            return f"it waits for{named}"
        case "paused":
            return f"its pipeline is paused{f':{named}' if named else ''}: resume it to go on"
        case "breaker":
            return f"its pipeline paused itself{f':{named}' if named else ''}"
        case "parked":
            return f"it is parked and needs a person{f':{named}' if named else ''}"
        case None:
            return "it rests"
        case other:
            return f"it waits for {other}{f' ({branch.waiting_for})' if named else ''}"


def _last(view: RunView, step: str) -> AttemptView | None:
    attempts = next((one.attempts for one in view.steps if one.name == step), [])
    failed = [one for one in attempts if one.error is not None]
    return failed[-1] if failed else None


def _after(attempt: AttemptView | None) -> str:
    if attempt is None or attempt.error is None:
        return ""
    error = attempt.error
    return f"; attempt {attempt.number} {attempt.outcome}: {error.type}: {error.message}"


def _children(view: RunView) -> str:
    if not view.children:
        return ""
    shown = ", ".join(str(child) for child in view.children[:3])
    return f" (runs {shown}{', …' if len(view.children) > 3 else ''})"
