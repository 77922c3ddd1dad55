"""The limit at whose gate a branch stands in line, and its place there, in words."""

from uuid import UUID

from taskplatform.client.view import GateView, WaitView
from taskplatform.storage import gates
from taskplatform.storage.connection import Session
from taskplatform.storage.why import Branch


def gate_wait(connection: Session, run_id: UUID, branch: Branch) -> WaitView:
    """What a branch waits for that stands in line."""
    assert branch.gate is not None
    kind, name, key = branch.gate.split(":", 2)
    standing = gates.standing(connection, run_id)
    before = next((one.before for one in standing if one.work_id == branch.work_id), 0)
    shown = f"{name}[{key}]" if key else name
    place = "it is the next in line" if before == 0 else f"{before:,} are before it in line"
    return WaitView(
        step=branch.step,
        state="waiting",
        why=f"it waits for {kind} {shown}; {place}",
        reason=branch.reason,
        due_at=branch.due_at,
        queue=branch.queue,
        before=before,
        gate=GateView(kind=kind, name=name, key=key),
    )
