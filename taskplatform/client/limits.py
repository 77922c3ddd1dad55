"""The limit at whose gate a branch stands: how it is used, who has it, when the branch may go."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from taskplatform.client.view import GateView, HolderView, WaitView
from taskplatform.storage import breakers, gates, retry_budgets, throttle_views, usage
from taskplatform.storage.connection import Session
from taskplatform.storage.gates import Standing, gate_of
from taskplatform.storage.why import Branch

# The limit as it stands, and when so much weight in front of it is through.
Seen = tuple[GateView, datetime | None]


def gate_wait(connection: Session, run_id: UUID, branch: Branch) -> WaitView:
    """What a branch waits for that stands in line."""
    assert branch.gate is not None
    kind, name, key = branch.gate.split(":", 2)
    found = {one.work_id: one for one in gates.standing(connection, run_id)}
    place = found.get(branch.work_id) or Standing(
        branch.work_id, branch.step, branch.gate, branch.waiting_for, 0, 0, 1
    )
    gate, starts_at = _KINDS[kind](connection, branch, place)
    shown = f"{name}[{key}]" if key else name
    many = "it is the next in line" if not place.before else f"{place.before:,} are before it"
    return WaitView(
        step=branch.step,
        state="waiting",
        why=f"it waits for {gate.kind} {shown}, {_said(gate)}; {many}",
        reason=branch.reason,
        due_at=branch.due_at,
        queue=branch.queue,
        before=place.before,
        starts_at=starts_at,
        gate=gate,
    )


def _throttle(connection: Session, branch: Branch, place: Standing) -> Seen:
    kind, name, key = (branch.gate or "").split(":", 2)
    found = [one for one in throttle_views.listed(connection, name, key) if one.scope == key]
    if not found:
        return GateView(kind=kind, name=name, key=key), None
    one = found[0]
    opens = max(filter(None, (one.paused_until, one.next_at)), default=datetime.now(UTC))
    gate = GateView(
        kind=kind,
        name=name,
        key=key,
        most=one.effective_limit,
        used=one.used + one.reserved,
        per=one.effective_per,
        state=f"closed: {one.paused_why}" if one.paused_until else None,
        room_at=opens,
    )
    if not one.effective_limit:
        return gate, None
    behind = place.weight_before / one.effective_limit * one.effective_per
    return gate, opens + timedelta(seconds=behind)


def _concurrency(connection: Session, branch: Branch, place: Standing) -> Seen:
    kind, name, key = (branch.gate or "").split(":", 2)
    takers = usage.takers(connection, gate_of(kind, name, key))
    (used,) = usage.used(connection, {gate_of(kind, name, key): None})
    gate = GateView(
        kind=kind,
        name=name,
        key=key,
        most=used.most,
        used=used.taken,
        holders=[
            HolderView(
                run_id=one.run_id,
                pipeline=one.pipeline,
                step=one.step,
                worker=one.worker,
                since=one.since,
            )
            for one in takers
        ],
    )
    lasts = usage.lasted(connection, branch.pipeline, branch.step, takers) if takers else None
    if lasts is None or not used.most:
        return gate, None
    return gate, datetime.now(UTC) + timedelta(seconds=lasts * (place.before + 1) / used.most)


def _breaker(connection: Session, branch: Branch, place: Standing) -> Seen:  # noqa: ARG001
    kind, name, key = (branch.gate or "").split(":", 2)
    told = next((one for one in breakers.told(connection) if one.name == name), None)
    if told is None:
        return GateView(kind=kind, name=name, key=key), None
    state = f"{told.state}: {told.why}" if told.why else told.state
    return GateView(kind=kind, name=name, key=key, state=state, room_at=told.until), None


def _retry_budget(connection: Session, branch: Branch, place: Standing) -> Seen:  # noqa: ARG001
    _, name, key = (branch.gate or "").split(":", 2)
    gate = GateView(kind="retry budget", name=name, key=key)
    told = retry_budgets.told(connection, name)
    if told is None:
        return gate.model_copy(update={"state": "over: fewer attempts fail"}), datetime.now(UTC)
    minutes = retry_budgets.WINDOW // 60
    state = (
        f"in force: {told.failed} of {told.ended} attempts failed in the last {minutes} minutes; "
        f"{told.most} {'retry is' if told.most == 1 else 'retries are'} allowed at once"
    )
    return gate.model_copy(update={"most": told.most, "used": told.used, "state": state}), None


_KINDS: dict[str, Callable[[Session, Branch, Standing], Seen]] = {
    "throttle": _throttle,
    "concurrency": _concurrency,
    "breaker": _breaker,
    retry_budgets.KIND: _retry_budget,
}


def _said(gate: GateView) -> str:
    if gate.state is not None:
        return f"which is {gate.state}"
    if gate.most is None:
        return "whose limit no code here declares" if gate.used else "which had no room"
    window = f" in {gate.per:g} s" if gate.per is not None else ""
    return f"of which {gate.used} of {gate.most}{window} are taken"
