"""What is shown of plans: a line for each run, or one for all runs of which the same is planned."""

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from pydantic import BaseModel


class Misfit(BaseModel):
    """A step that could not read what it needs: a step's output, `input`, or an item."""

    step: str
    needs: str
    why: str


class ItemsPlan(BaseModel):
    """How many items of a map have ended, which are not executed again."""

    done: int
    of: int


class RunPlan(BaseModel):
    """What the code here would do with a run."""

    id: UUID
    pipeline: str
    status: str
    reuse: list[str]
    execute: list[str]
    drop: list[str]
    next: list[str]
    park: list[Misfit]
    items: dict[str, ItemsPlan]
    note: str | None


class SamePlan(BaseModel):
    """Runs of which the same is planned; `example` is the oldest of them."""

    pipeline: str
    runs: int
    statuses: dict[str, int]
    reuse: list[str]
    execute: list[str]
    drop: list[str]
    next: list[str]
    park: list[Misfit]
    note: str | None
    example: UUID


class Plans(BaseModel):
    """All plans in short; `parks` is how many runs would park."""

    runs: int
    parks: int
    plans: list[SamePlan]


def together(plans: Iterable[RunPlan]) -> Plans:
    """Runs with the same plan together: those that would park first, then the most."""
    found: dict[str, SamePlan] = {}
    statuses: dict[str, Counter[str]] = {}
    for one in plans:
        same = one.model_dump_json(exclude={"id", "status", "items"})
        if same not in found:
            known = one.model_dump(exclude={"id", "status", "items"})
            found[same] = SamePlan(**known, runs=0, statuses={}, example=one.id)
        found[same].runs += 1
        statuses.setdefault(same, Counter())[one.status] += 1
    for same, counter in statuses.items():
        found[same].statuses = dict(counter.most_common())
    ordered = sorted(found.values(), key=lambda one: (not one.park, -one.runs))
    return Plans(
        runs=sum(one.runs for one in ordered),
        parks=sum(one.runs for one in ordered if one.park),
        plans=ordered,
    )
