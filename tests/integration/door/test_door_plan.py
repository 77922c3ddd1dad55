"""What code that is not deployed yet would do with the runs in flight."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from taskplatform.client import plan as planning
from taskplatform.client.pipeline import Pipeline, enqueue_many
from taskplatform.client.plan import plans
from taskplatform.client.plan_view import RunPlan, together
from taskplatform.core import registry
from taskplatform.storage.connection import Session
from taskplatform.storage.settlement import Keep
from tests.integration.door.conftest import Order, Worker

Orders = Pipeline[Any]


class Coloured(BaseModel):
    """Not what is stored."""

    colour: str


@pytest.fixture
def half(orders: Orders, worker: Worker) -> UUID:
    """A run with the output of its first step."""
    run = orders.enqueue({"number": "1"})
    assert worker.commit(worker.claim(run.id), "check", b'"fine"', Keep("price", mark=True))
    return run.id


@pytest.fixture
def declare() -> Callable[..., Orders]:
    """Declares the pipeline anew, as other code would."""

    def again(input: type[BaseModel] = Order) -> Orders:
        registry.clear()
        return Pipeline("orders", input=input)

    return again


def only(**wanted: Any) -> RunPlan:
    (one,) = plans(**wanted)
    return one


def test_the_same_code_goes_on(half: UUID) -> None:
    one = only()
    assert (one.id, one.reuse, one.execute, one.drop, one.next, one.park, one.note) == (
        half,
        ["check"],
        ["price"],
        [],
        ["price"],
        [],
        None,
    )


def test_added_renamed_and_removed_steps(half: UUID, declare: Callable[..., Orders]) -> None:
    """The renamed step executes, under its new name; the old output belongs to nothing."""
    new = declare()

    @new.step
    def first(input: Order) -> str:
        return ""

    @new.step
    def verified(first: str) -> str:
        return ""

    one = only()
    assert (one.reuse, one.execute, one.drop) == ([], ["first", "verified"], ["check"])


def test_reordered_steps(half: UUID, declare: Callable[..., Orders]) -> None:
    """What was done stays done, wherever it is now; what is before it and was not is done."""
    new = declare()

    @new.step
    def price(input: Order) -> int:
        return 1

    @new.step
    def check(price: int) -> str:
        return ""

    one = only()
    assert (one.reuse, one.execute, one.next) == (["check"], ["price"], ["price"])


def test_a_raised_version_executes_again(half: UUID, declare: Callable[..., Orders]) -> None:
    """In a run that has not passed it."""
    new = declare()

    @new.step(version=2)
    def check(input: Order) -> str:
        return ""

    @new.step
    def price(check: Coloured) -> int:
        return 1

    one = only()
    assert (one.reuse, one.execute) == ([], ["check", "price"])
    assert one.park == [], "what is executed again is not read"


def test_an_output_that_cannot_be_read_parks(half: UUID, declare: Callable[..., Orders]) -> None:
    """Also by a step that comes later; each says what does not fit, and never the value."""
    new = declare()

    @new.step
    def check(input: Order) -> Coloured:
        return Coloured(colour="red")

    @new.step
    def pack(input: Order) -> str:
        return ""

    @new.step
    def price(check: Coloured) -> int:
        return 1

    one = only()
    (misfit,) = one.park
    assert (misfit.step, misfit.needs, one.next) == ("price", "check", ["pack"])
    assert "fine" not in misfit.why
    assert together(plans()).parks == 1


def test_an_input_that_cannot_be_read_parks(half: UUID, declare: Callable[..., Orders]) -> None:
    new = declare(Coloured)

    @new.step
    def check(input: Coloured) -> str:
        return ""

    @new.step
    def price(input: Coloured) -> int:
        return 1

    (misfit,) = only().park
    assert (misfit.step, misfit.needs, misfit.why) == ("price", "input", "colour: Field required")


def test_groups_and_maps(half: UUID, declare: Callable[..., Orders]) -> None:
    """Members of a group come side by side; a map needs a list, whose items it reads."""
    new = declare()

    @new.step
    def check(input: Order) -> list[Coloured]:
        return []

    @new.step(group="both")
    def one(input: Order) -> str:
        return ""

    @new.map(over="check", group="both")
    def each(item: Coloured) -> str:
        return ""

    found = only()
    assert found.next == ["one", "each"]
    (misfit,) = found.park
    assert (misfit.step, misfit.needs) == ("each", "check")
    assert "no list" in misfit.why


def items(connection: Session, run: UUID, version: int) -> None:
    connection.execute(
        "INSERT INTO taskplatform.items (run_id, step_name, position, item, version, output,"
        """ finished_at) VALUES (%s, 'each', 0, '{"colour": "red"}', %s, '1', now()),"""
        """ (%s, 'each', 1, '{"color": "red"}', %s, NULL, NULL)""",
        (run, version, run, version),
    )


@pytest.mark.parametrize("version", [1, 2])
def test_items_that_are_stored(
    half: UUID, declare: Callable[..., Orders], connection: Session, version: int
) -> None:
    """Done ones are reused, the others read; those of another version are dropped."""
    items(connection, half, 1)
    new = declare()

    @new.step
    def check(input: Order) -> list[Coloured]:
        return []

    @new.map(over="check", version=version)
    def each(item: Coloured) -> str:
        return ""

    one = only()
    if version == 1:
        assert one.items["each"].model_dump() == {"done": 1, "of": 2}
        (misfit,) = one.park
        assert (misfit.needs, misfit.why) == ("each[...]", "an item: colour: Field required")
    else:
        assert one.items == {}
        assert one.drop == ["each[...]"]
        assert "no list" in one.park[0].why


def test_a_run_that_compensates(
    half: UUID, declare: Callable[..., Orders], connection: Session
) -> None:
    """It executes what undoes the finished steps, and nothing else."""
    connection.execute("UPDATE taskplatform.work SET failing = true")
    new = declare()

    def undo(check: Coloured) -> None: ...

    @new.step(compensate=undo)
    def check(input: Order) -> str:
        return ""

    @new.step
    def price(input: Order) -> int:
        return 1

    one = only()
    assert (one.execute, [misfit.needs for misfit in one.park]) == (["check:compensate"], ["check"])


def test_a_run_that_rests_at_a_step_which_is_gone(half: UUID, connection: Session) -> None:
    """The event still has to come: nobody looks at the code before."""
    connection.execute(
        "UPDATE taskplatform.work SET step = 'approval', rest = 'event', due_at = 'infinity',"
        " holder = NULL, started_at = NULL"
    )
    assert only().note == "it stands at approval, and goes on when the event comes"


def test_a_pipeline_that_is_unknown_here(half: UUID) -> None:
    """No worker with this code would take its runs."""
    registry.clear()
    assert only().note == planning.NO_CODE


def test_failed_runs_are_planned_when_asked_for(orders: Orders, worker: Worker) -> None:
    """As if they were retried."""
    run = orders.enqueue({"number": "1"})
    worker.break_down(run.id)
    assert list(plans()) == []
    one = only(failed=True)
    assert (one.id, one.reuse, one.execute) == (run.id, ["check"], ["price"])


def test_states_pipelines_and_a_limit(orders: Orders, worker: Worker) -> None:
    runs = enqueue_many(orders, [{"number": str(number)} for number in range(5)])
    worker.put_back(runs[0].id, "retry", 60.0)
    assert [one.id for one in plans(statuses=["waiting"])] == [runs[0].id]
    assert list(plans("other")) == []
    assert len(list(plans("orders", limit=3))) == 3


def test_thousands_of_runs_are_a_page(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages of runs; runs of which the same is planned are one entry."""
    monkeypatch.setattr(planning, "PAGE", 300)
    enqueue_many(orders, [{"number": str(number)} for number in range(1000)])
    found = together(plans())
    assert (found.runs, found.parks) == (1000, 0)
    (same,) = found.plans
    assert (same.runs, same.statuses, same.execute) == (1000, {"queued": 1000}, ["check", "price"])
