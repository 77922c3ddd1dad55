"""Batches, executed by children and by seats: one body, and everybody's own result."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast
from uuid import UUID

import pytest

from taskplatform.core.batching import Batch
from taskplatform.core.context import Context
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.errors import Permanent
from taskplatform.storage import batches, clock
from taskplatform.storage.cancel import cancel
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.new_run import Membership, NewRun
from taskplatform.supervisor.rescue import Loss
from tests.integration.executor.crew import Crew
from tests.integration.executor.house import House, Number

HOUR = 3600.0


class Office:
    """A pipeline whose first step is executed for four runs at once, and what its bodies saw."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.seen: list[list[int]] = []
        self.keys: list[str] = []
        self.act: Callable[[list[int]], Any] = lambda given: [2 * n for n in given]

    def declare(self, *, is_async: bool = False, **options: Any) -> Declaration[Number]:
        self.pipeline = Declaration(
            "p",
            input=Number,
            batch=Batch(size=4, timeout=HOUR),
            retry=Retry(1, base=10, jitter=0.1),
        )

        def body(input: list[Number], ctx: Context) -> list[int]:
            self.seen.append([one.n for one in input])
            self.keys += ctx.idempotency_keys
            given: Any = self.act(self.seen[-1])
            return cast(list[int], given)

        async def later(input: list[Number], ctx: Context) -> list[int]:
            await asyncio.sleep(0)
            return body(input, ctx)

        self.pipeline.step(name="first", **options)(later if is_async else body)

        @self.pipeline.step
        def second(input: Number, first: int) -> int:
            return 100 * input.n + first

        self.pipeline.finalize()
        return self.pipeline

    def enqueue(self, count: int = 4, **options: Any) -> list[UUID]:
        rows = [
            NewRun(
                id=uuid7(),
                pipeline="p",
                first_step="first",
                queue="default",
                input=b'{"n":%d}' % n,
                batch=Membership("p.first:", 4),
                delay=HOUR,
                **options,
            )
            for n in range(count)
        ]
        enqueue(self.house.stage.connection, rows)
        batches.fill(self.house.stage.connection, batches.scopes(rows))
        return [row.id for row in rows]

    def later(self, seconds: float) -> None:
        clock.advance(self.house.stage.connection, seconds)
        release_due(self.house.stage.connection)

    def outputs(self, runs: list[UUID]) -> list[dict[str, bytes]]:
        return [self.house.stage.results(run) for run in runs]

    def attempts(self, runs: list[UUID]) -> list[list[tuple[str, int, str]]]:
        return [self.house.stage.attempts(run) for run in runs]


@pytest.fixture
def office(house: House) -> Office:
    """A pipeline with a batch."""
    return Office(house)


@pytest.fixture
def work(house: House, request: pytest.FixtureRequest) -> Iterator[Callable[[], object]]:
    """Executes a batch of four to its end, on a prefork child or on the seats of a process."""
    with ExitStack() as stack:
        if request.param == "child":
            child = house.child()
            yield lambda: house.work(child)
        else:
            crew = Crew(house, 3)
            stack.callback(crew.close)
            # Its leader goes on where it is; the others have no seat of their own yet.
            yield lambda: [crew.work(many) for many in (1, 3)]  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("work", "is_async"), [("child", False), ("seats", False), ("seats", True)], indirect=["work"]
)
def test_one_body_and_each_run_its_own_outputs(
    office: Office, work: Callable[[], object], is_async: bool
) -> None:
    """C4: executed once; each run goes on by itself, with an idempotency key of its own."""
    office.declare(is_async=is_async)
    runs = office.enqueue()
    work()
    assert [sorted(one) for one in office.seen] == [[0, 1, 2, 3]]
    assert office.outputs(runs) == [
        {"first": b"%d" % (2 * n), "second": b"%d" % (102 * n)} for n in range(4)
    ]
    assert {office.house.status(run) for run in runs} == {"succeeded"}
    assert sorted(office.keys) == sorted(f"{run}:first" for run in runs)
    assert not office.house.stage.wrong()


def test_what_each_output_is_decides_for_its_run_alone(office: Office, house: House) -> None:
    """C4, G3: an error in its place fails one run, and one that does not fit says what is wrong."""
    office.declare()
    office.act = lambda given: [
        {0: 0, 1: Permanent("no such thing"), 2: "two", 3: ValueError("again")}[n] for n in given
    ]
    runs = office.enqueue()
    house.work(house.child())
    statuses = [house.status(run) for run in runs]
    assert statuses == ["succeeded", "failed", "waiting", "waiting"]
    errors = [
        house.stage.value(
            "SELECT error ->> 'message' FROM taskplatform.step_attempts WHERE run_id = %s", run
        )
        for run in runs
    ]
    assert (errors[1], errors[3]) == ("no such thing", "again")
    assert "the output of step 'p.first'" in errors[2]
    assert "valid integer" in errors[2]
    # Those two are tried again, together, and by a body that can do it.
    office.act = lambda given: [2 * n for n in given]
    office.later(12)
    house.work(house.child())
    assert [sorted(one) for one in office.seen[1:]] == [[2, 3]]
    assert [house.status(run) for run in runs[2:]] == ["succeeded", "succeeded"]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1, 2], "returned 2 outputs for 4 inputs"),
        (7, "is a int: return a list"),
        (RuntimeError("down"), "down"),
    ],
)
def test_a_body_that_fails_fails_for_all_and_is_tried_again_for_all(
    office: Office, house: House, returned: Any, message: str
) -> None:
    """Q9: one attempt of each is charged; the whole batch comes again, at once and together."""
    office.declare()

    def act(_: list[int]) -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    office.act = act
    runs = office.enqueue()
    house.work(house.child())
    assert office.attempts(runs) == [[("first", 1, "failed")]] * 4
    said = house.stage.rows("SELECT DISTINCT error ->> 'message' FROM taskplatform.step_attempts")
    assert [message in one for (one,) in said] == [True]
    assert {house.status(run) for run in runs} == {"waiting"}
    office.later(12)
    house.work(house.child())
    assert [sorted(one) for one in office.seen] == [[0, 1, 2, 3]] * 2
    assert {house.status(run) for run in runs} == {"failed"}


@pytest.mark.parametrize("leader", [True, False])
def test_a_cancelled_run_leaves_its_batch_and_the_others_stay(
    office: Office, house: House, leader: bool
) -> None:
    """G10, G3: before the body it is not in it; while it executes its output is refused."""
    office.declare()
    runs = office.enqueue(3)
    assert cancel(house.stage.connection, runs[0])
    runs += office.enqueue(1)
    office.later(HOUR + 1)
    gone: list[UUID] = []

    def act(given: list[int]) -> Any:
        def give_up() -> None:
            # Who leads is held as the first one.
            order = house.stage.rows(
                "SELECT run_id FROM taskplatform.work WHERE holder IS NOT NULL ORDER BY epoch"
            )
            gone.append(order[0 if leader else -1][0])
            with house.stage.session() as other:
                assert cancel(other, gone[0])

        house.elsewhere(give_up)
        return [2 * n for n in given]

    office.act = act
    house.work(house.child())
    assert [sorted(one) for one in office.seen] == [[0, 1, 2]]
    assert house.status(gone[0]) == house.status(runs[0]) == "cancelled"
    assert house.stage.results(gone[0]) == {}
    assert house.stage.attempts(gone[0]) == [("first", 1, "cancelled")]
    rest = [run for run in runs if run not in (gone[0], runs[0])]
    assert [house.status(run) for run in rest] == ["succeeded"] * 2


def test_a_batch_that_kills_its_process_is_executed_run_by_run(
    office: Office, house: House
) -> None:
    """G3, Q9: nobody of it is charged alone, the poison is found, and late results are refused."""
    office.declare()
    begun, go = threading.Event(), threading.Event()

    def act(given: list[int]) -> Any:
        if len(given) > 1:
            begun.set()
            assert go.wait(30)
        return [2 * n for n in given]

    office.act = act
    runs = office.enqueue()
    child = house.child()
    thread = threading.Thread(target=house.shift, args=(child,))
    thread.start()
    assert begun.wait(30)
    loss = Loss(child.slot.holder, "crashed", child.slot.note(), certain=True)
    house.rescuer.rescue(house.stage.connection, loss)
    house.work_elsewhere()
    go.set()
    thread.join(30)
    assert sorted(map(sorted, office.seen)) == [[0], [0, 1, 2, 3], [1], [2], [3]]
    assert {house.status(run) for run in runs} == {"succeeded"}
    crashed = [one for one in office.attempts(runs) if one]
    assert crashed == [[("first", 1, "crashed")]]
    assert child.slot.refused == 4


def test_a_batch_that_is_overdue_is_charged_to_all_of_it(office: Office, house: House) -> None:
    """W6: whoever ignores its time limit is killed, and each run of it has used an attempt."""
    office.declare()
    begun, go = threading.Event(), threading.Event()

    def act(given: list[int]) -> Any:
        begun.set()
        assert go.wait(30)
        return given

    office.act = act
    runs = office.enqueue()
    child = house.child()
    thread = threading.Thread(target=house.shift, args=(child,))
    thread.start()
    assert begun.wait(30)
    loss = Loss(child.slot.holder, "timed-out", child.slot.note(), certain=True)
    house.rescuer.rescue(house.stage.connection, loss)
    go.set()
    thread.join(30)
    assert office.attempts(runs) == [[("first", 1, "timed-out")]] * 4
    assert {house.status(run) for run in runs} == {"waiting"}


def test_a_batch_takes_one_grant_and_waits_as_its_leader(office: Office, house: House) -> None:
    """Q8: one body, one grant; who is not let in holds none of the others."""
    office.declare(throttle=Throttle("api", 1, per="1h"))
    first, second = office.enqueue(4), office.enqueue(4)
    child = house.child()
    house.work(child)
    assert len(office.seen) == 1
    assert {house.status(run) for run in first} == {"succeeded"}
    waiting = house.stage.rows(
        "SELECT status, reason FROM taskplatform.runs WHERE id = ANY (%s) ORDER BY 1", second
    )
    assert waiting == [("scheduled", None)] * 3 + [("waiting", "throttle")]
