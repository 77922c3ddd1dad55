"""What the code here would reuse, execute or park of the runs in flight, before it is deployed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from taskplatform.client.outline import INPUT, Outline, item_codec, outline
from taskplatform.client.plan_view import ItemsPlan, Misfit, RunPlan
from taskplatform.client.readable import misfit, refusal
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.core.names import COMPENSATION
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import PipelineNotFound
from taskplatform.storage import in_flight
from taskplatform.storage.connection import Session
from taskplatform.storage.in_flight import PAGE, InFlight, ItemsRow, Wanted

_MOST_OUTLINES = 10_000
# The values of so many runs are read by one statement, which has its time limit.
_AT_ONCE = 50
_RESTS = {"sleep": "its sleep is over", "event": "the event comes", "child": "its child ends"}

NO_CODE = "no code here: it would wait for a worker that knows it"
COMPENSATED = "it was compensated: a retry is refused, replay it"
COMPLETE = "it has all outputs: it would end as succeeded"
PARKED = "it is parked: it goes on by a retry"


@dataclass(slots=True)
class _Found:
    run: InFlight
    outline: Outline
    park: list[Misfit] = field(default_factory=list)

    def refuse(self, step: str, needs: str, why: str) -> None:
        one = Misfit(step=step, needs=needs, why=why)
        if one not in self.park:
            self.park.append(one)


def plans(
    pipeline: str | None = None,
    statuses: Sequence[str] = (),
    *,
    failed: bool = False,
    limit: int | None = None,
) -> Iterator[RunPlan]:
    """A plan for each run that has not ended, oldest first; then for each failed one.

    Values are read and not kept, a page of runs at a time. Raises Unavailable.
    """
    wanted = Wanted(pipeline, statuses)
    left = limit
    outlines: dict[object, Outline] = {}
    for ended in (False, True) if failed else (False,):
        after: UUID | None = None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            found = _page(wanted, ended, after, size)
            yield from _planned(found, outlines)
            left = None if left is None else left - len(found)
            if len(found) < size:
                break
            after = found[-1].id


def _page(wanted: Wanted, failed: bool, after: UUID | None, size: int) -> list[InFlight]:
    return call(
        lambda connection, _: in_flight.page(
            connection, wanted, failed=failed, after=after, limit=size
        )
    )


def _planned(runs: Sequence[InFlight], outlines: dict[object, Outline]) -> Iterator[RunPlan]:
    known: dict[UUID, _Found] = {}
    for run in runs:
        declaration = _declaration(run.pipeline)
        if declaration is not None:
            shape = (run.pipeline, run.failing, tuple(sorted(run.versions.items())))
            if shape not in outlines and len(outlines) >= _MOST_OUTLINES:
                outlines.clear()
            if shape not in outlines:
                outlines[shape] = outline(declaration, run.versions, run.failing)
            known[run.id] = _Found(run, outlines[shape])
    found = list(known.values())
    for start in range(0, len(found), _AT_ONCE):
        some = {one.run.id: one for one in found[start : start + _AT_ONCE]}
        call(lambda connection, _, some=some: _look(connection, some))  # type: ignore[misc]
    for run in runs:
        yield _plan(known[run.id]) if run.id in known else _unknown(run)


def _declaration(pipeline: str) -> Declaration[Any] | None:
    try:
        return registry.get(pipeline)
    except PipelineNotFound:
        return None


def _look(connection: Session, known: dict[UUID, _Found]) -> None:
    """Find out what cannot be read."""
    for one in known.values():
        one.park.clear()
    with_input = [id for id, one in known.items() if INPUT in one.outline.readers]
    if with_input:
        for run, stored in in_flight.inputs(connection, with_input):
            _read(known[run], INPUT, stored)
    steps = {name for one in known.values() for name in one.outline.readers} - {INPUT}
    if steps:
        for run, step, stored in in_flight.outputs(connection, list(known), sorted(steps)):
            _read(known[run], step, stored)
    for one in known.values():
        for items in _kept(one):
            _read_items(connection, one, items)


def _read(found: _Found, what: str, stored: bytes) -> None:
    for reader in found.outline.readers.get(what, ()):
        if reader.maps and any(items.step == reader.step for items in _kept(found)):
            # It goes over the items that were stored when it was reached.
            continue
        why = misfit(reader, stored)
        if why is not None:
            found.refuse(reader.step, what, why)


def _read_items(connection: Session, found: _Found, items: ItemsRow) -> None:
    codec = item_codec(found.outline.item_readers[items.step])
    if codec is None or items.done == items.of:
        return
    for item in in_flight.open_items(connection, found.run.id, items.step, items.version):
        if (why := refusal(codec, item)) is not None:
            found.refuse(items.step, f"{items.step}[...]", f"an item: {why}")


def _kept(found: _Found) -> list[ItemsRow]:
    maps = found.outline.item_readers
    return [
        items
        for items in found.run.items
        if (step := maps.get(items.step)) is not None and step.version == items.version
    ]


def _plan(found: _Found) -> RunPlan:
    run, planned = found.run, found.outline
    kept = _kept(found)
    lost = [
        f"{items.step}[...]"
        for items in run.items
        if items not in kept and items.step not in run.versions
    ]
    return RunPlan(
        id=run.id,
        pipeline=run.pipeline,
        status=run.status,
        reuse=list(planned.reuse),
        execute=list(planned.execute),
        drop=[*planned.drop, *lost],
        next=list(planned.next),
        park=found.park,
        items={items.step: ItemsPlan(done=items.done, of=items.of) for items in kept},
        note=_note(run, planned),
    )


def _note(run: InFlight, planned: Outline) -> str | None:
    if run.status == "failed" and any(name.endswith(COMPENSATION) for name in run.versions):
        return COMPENSATED
    if run.rest in _RESTS and run.step not in planned.next:
        return f"it stands at {run.step}, and goes on when {_RESTS[run.rest]}"
    if run.reason == "parked":
        return PARKED
    if not planned.execute:
        return "it would end as failed" if run.failing else COMPLETE
    return None


def _unknown(run: InFlight) -> RunPlan:
    return RunPlan(
        id=run.id,
        pipeline=run.pipeline,
        status=run.status,
        reuse=[],
        execute=[],
        drop=[],
        next=[],
        park=[],
        items={},
        note=NO_CODE,
    )
