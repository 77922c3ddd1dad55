"""What the branches of an open run wait for, as lines for a person."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.text import Text

from taskplatform.cli import words
from taskplatform.client.view import GateView, HolderView, WaitView

_HOLDERS = 5


def wait_lines(waits: Sequence[WaitView]) -> Iterator[Text]:
    """Of each branch: why it is where it is, its limit and who has it, and when it goes on."""
    for one in waits:
        yield Text.assemble((f"  {one.step}", "bold"), f": {one.why}")
        if one.gate is not None:
            yield from _gate(one.gate)
        if one.due_at is not None:
            until = f"{words.moment(one.due_at)} ({words.from_now(one.due_at)})"
            yield Text(f"    until {until}", style="dim")
        if one.starts_at is not None:
            yield Text(f"    starts {_about(one.starts_at)}, as things go now", style="dim")


def _gate(gate: GateView) -> Iterator[Text]:
    parts = []
    if gate.most is not None:
        window = f" in {words.length(gate.per)}" if gate.per is not None else ""
        parts.append(f"{gate.used if gate.used is not None else '?'} of {gate.most}{window} taken")
    if gate.state is not None:
        parts.append(gate.state)
    if gate.room_at is not None:
        parts.append(f"room for one more {_about(gate.room_at)}")
    if parts:
        yield Text("    " + "; ".join(parts), style="dim")
    for holder in gate.holders[:_HOLDERS]:
        yield Text(f"    held by {_holder(holder)}", style="dim")
    if len(gate.holders) > _HOLDERS:
        yield Text(f"    … and {len(gate.holders) - _HOLDERS} more", style="dim")


def _holder(holder: HolderView) -> str:
    parts = [f"run {holder.run_id}" if holder.run_id else "somebody outside of a run"]
    if holder.pipeline or holder.step:
        parts.append(".".join(part for part in (holder.pipeline, holder.step) if part))
    if holder.worker:
        parts.append(f"on {holder.worker}")
    if holder.since:
        parts.append(f"for {words.took(holder.since, None)}")
    return " ".join(parts)


def _about(moment: datetime) -> str:
    left = (moment - datetime.now(UTC)).total_seconds()
    return f"in about {words.length(left)}" if left >= 1 else "at once"
