"""Many bodies in one process: each seat is a holder, connections and commits are shared."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic

import psycopg
import pytest
from psycopg import sql

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.errors import Unavailable
from taskplatform.executor import child as child_module
from taskplatform.executor import desk as desk_module
from taskplatform.executor import lent_transaction
from taskplatform.storage.cancel import cancel
from taskplatform.supervisor.rescue import Loss
from tests.integration.executor.crew import Crew
from tests.integration.executor.house import Count, House, Number

Make = Callable[[int], Crew]


@pytest.fixture
def crew(house: House) -> Iterator[Make]:
    """Makes processes of so many seats."""
    with ExitStack() as stack:

        def make(seats: int) -> Crew:
            made = Crew(house, seats)
            stack.callback(made.close)
            return made

        yield make


class Level:
    """How many bodies are executed at once, now and at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def test_as_many_bodies_as_seats_at_once_and_no_more(
    house: House, count: Count, crew: Make
) -> None:
    """Q18, W18: in threads and on the loop, over several steps; each body once."""
    pipeline = Declaration("p", input=Number)
    level = Level()

    @pipeline.step
    async def a(input: Number) -> int:
        with level:
            await asyncio.sleep(0.03)
        return count(("a", input.n))

    @pipeline.step
    def b(input: Number, a: int) -> int:
        with level:
            time.sleep(0.03)
        return count(("b", input.n))

    runs = house.enqueue(pipeline, 120)
    crew(30).work(120)

    assert level.most == 30
    assert set(count.times.values()) == {1}
    assert len(count.times) == 240
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert not house.stage.wrong()


def test_two_processes_claim_for_many_seats_and_no_row_twice(house: House, crew: Make) -> None:
    """G2, G3: a row has one holder, and a holder one row."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> int:
        return 1

    house.enqueue(pipeline, 400)
    both = [crew(100), crew(100)]
    go = threading.Barrier(2)

    def claim(one: Crew) -> list[tuple[int, int]]:
        go.wait(10)
        taken = []
        while found := one.desk.claim_for(7, ["default"])[0]:
            taken += [(seat.slot.holder, row.work_id) for seat, row in found]
            if one.desk.taken > 90:
                break
        return taken

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(claim, both)

    taken = first + second
    assert len(first) > 90
    assert len(second) > 90
    assert len({holder for holder, _ in taken}) == len(taken)
    assert len({work for _, work in taken}) == len(taken)
    stored = house.stage.rows("SELECT holder, id FROM taskplatform.work WHERE holder IS NOT NULL")
    assert sorted(stored) == sorted(taken)


def test_what_ends_during_one_commit_is_in_the_next(
    house: House, crew: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W18: fifty results are two transactions, the first of which waited for a lock."""
    pipeline = Declaration("p", input=Number)
    others = threading.Event()
    sizes: list[int] = []
    settle = vars(child_module)["settle"]

    @pipeline.step
    def a(input: Number) -> int:
        assert input.n == 0 or others.wait(20)
        return input.n

    runs = house.enqueue(pipeline, 50)
    made = crew(50)
    with made.crowd() as crowd:

        def settle_slowly(connection: object, settlements: list[object], **more: object) -> object:
            sizes.append(len(settlements))
            others.set()
            wait_until(lambda: len(sizes) > 1 or crowd._items.qsize() == 49)
            return settle(connection, settlements, **more)

        monkeypatch.setitem(vars(child_module), "settle", settle_slowly)
        crowd.seat(made.claim())

    assert sizes == [1, 49]
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_each_async_body_has_its_own_time_limit(house: House, count: Count, crew: Make) -> None:
    """W15: those that take too long are cancelled, and the others end as if nothing were."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))

    @pipeline.step(timeout="300ms")
    async def a(input: Number) -> int:
        try:
            await asyncio.sleep(60 if input.n % 2 else 0.01)
        except asyncio.CancelledError:
            count("cancelled")
            raise
        return 1

    runs = house.enqueue(pipeline, 40)
    crew(40).work(40)

    assert count.times == {"cancelled": 20}
    assert [house.status(run) for run in runs] == ["succeeded", "failed"] * 20
    assert house.stage.attempts(runs[1]) == [("a", 1, "timed-out")]


def test_a_cancel_ends_the_bodies_of_these_runs_only(
    house: House, count: Count, crew: Make
) -> None:
    """G10, Q4: async bodies are cancelled, the others are told; late results are refused."""
    pipeline = Declaration("p", input=Number)
    go = threading.Event()

    @pipeline.step
    async def a(input: Number, ctx: Context) -> int:
        count("started")
        try:
            while not go.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            count("cancelled")
            raise
        return 1

    @pipeline.step
    def b(input: Number, ctx: Context, a: int) -> int:
        return count("b")

    runs = house.enqueue(pipeline, 60)
    made = crew(60)
    with made.crowd() as crowd:
        crowd.seat(made.claim())
        wait_until(lambda: count.of("started") == 60)
        for run in runs[::2]:
            cancel(house.stage.connection, run)
        made.watch.tick()
        wait_until(lambda: count.of("cancelled") == 30)
        go.set()

    assert count.times == {"started": 60, "cancelled": 30, "b": 30}
    assert [house.status(run) for run in runs] == ["cancelled", "succeeded"] * 30
    assert not house.stage.wrong()


def test_a_shutdown_interrupts_a_hundred_bodies_and_charges_none(
    house: House, count: Count, crew: Make
) -> None:
    """F10, F11: async ones see it, the work of those in threads is handed back beside them."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))
    release = threading.Event()

    @pipeline.step
    async def a(input: Number) -> int:
        count("started")
        await asyncio.sleep(60)
        return 1

    blocking = Declaration("q", input=Number, retry=Retry(0))

    @blocking.step
    def c(input: Number) -> int:
        count("started")
        release.wait(60)
        return 1

    runs = house.enqueue(pipeline, 50) + house.enqueue(blocking, 50)
    made = crew(100)
    began = monotonic()
    with made.crowd() as crowd:
        crowd.seat(made.claim())
        wait_until(lambda: count.of("started") == 100)
        house.table.grace_ends_ns = time.monotonic_ns()
        watching = threading.Thread(target=tick_until, args=(made, release))
        watching.start()
    assert monotonic() - began < 30
    wait_until(lambda: {house.status(run) for run in runs} == {"queued"})
    release.set()
    watching.join()

    outcomes = house.stage.rows("SELECT DISTINCT outcome FROM taskplatform.step_attempts")
    assert outcomes == [("interrupted",)]
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 100
    assert house.stage.value("SELECT max(failures) FROM taskplatform.work") == 0
    assert not house.stage.wrong()


def test_a_lease_in_doubt_starts_no_body(house: House, count: Count, crew: Make) -> None:
    """G3: what was claimed and not started goes back as it was; its neighbours are executed."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    async def a(input: Number) -> int:
        return count(input.n)

    runs = house.enqueue(pipeline, 10)
    made = crew(10)
    with made.crowd() as crowd:
        claimed = made.claim()
        for seat, _ in claimed[:4]:
            seat.slot.lease_until_ns = time.monotonic_ns()
        crowd.seat(claimed)

    assert count.times == dict.fromkeys(range(4, 10), 1)
    assert [house.status(run) for run in runs] == ["queued"] * 4 + ["succeeded"] * 6
    assert not house.stage.wrong()


def test_what_waits_behind_a_body_that_blocks_the_loop_is_taken_back(
    house: House, count: Count, crew: Make
) -> None:
    """G5, design: claims of a busy process that it has not started are released."""
    pipeline = Declaration("p", input=Number)
    go, blocks = threading.Event(), threading.Event()

    @pipeline.step
    async def a(input: Number) -> int:
        if input.n == 0:
            blocks.set()
            go.wait(30)
        return count(input.n)

    (first,) = house.enqueue(pipeline)
    made = crew(20)
    with made.crowd() as crowd:
        crowd.seat(made.claim())
        assert blocks.wait(10)
        runs = house.enqueue(pipeline, 19, first=1)
        crowd.seat(made.claim())
        held = "SELECT count(holder) FROM taskplatform.work"
        wait_until(lambda: bool(made.watch.tick()) and house.stage.value(held) == 1)
        assert {house.status(run) for run in runs} == {"queued"}
        go.set()
    made.work(19)

    assert count.times == dict.fromkeys(range(20), 1)
    assert {house.status(run) for run in [first, *runs]} == {"succeeded"}
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 0
    assert not house.stage.wrong()


def test_a_blocked_loop_does_not_hold_its_seats_for_ever(house: House, crew: Make) -> None:
    """W15: nothing on a blocked loop can be cancelled; the attempts end all the same."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))
    go = threading.Event()

    @pipeline.step(timeout="50ms")
    async def a(input: Number) -> int:
        await asyncio.sleep(0)
        if input.n == 1:
            go.wait(30)
        return await asyncio.sleep(30, 1)

    runs = house.enqueue(pipeline, 2)
    made = crew(2)
    made.work(2)
    go.set()

    assert {house.status(run) for run in runs} == {"failed"}
    assert [house.stage.attempts(run) for run in runs] == [[("a", 1, "timed-out")]] * 2


def test_a_body_whose_work_was_claimed_here_again_frees_its_own_seat(
    house: House, crew: Make
) -> None:
    """G3: a thread cannot be ended; its late result is refused, and the second one counts."""
    pipeline = Declaration("p", input=Number)
    go, started = threading.Event(), threading.Semaphore(0)

    @pipeline.step
    def a(input: Number, ctx: Context) -> int:
        started.release()
        if ctx.attempt == 1:
            go.wait(30)
        return ctx.attempt

    (run,) = house.enqueue(pipeline)
    made = crew(2)
    with made.crowd() as crowd:
        ((seat, _),) = claimed = made.claim()
        crowd.seat(claimed)
        assert started.acquire(timeout=10)
        lost = Loss(seat.slot.holder, "crashed", seat.slot.note(), certain=True)
        house.rescuer.rescue(house.stage.connection, lost)
        crowd.seat(made.claim())
        wait_until(lambda: house.status(run) == "succeeded" and made.desk.taken == 1)
        go.set()

    assert made.desk.taken == 0
    assert house.stage.results(run) == {"a": b"2"}
    assert house.stage.attempts(run) == [("a", 1, "crashed")]
    assert made.desk.committing.slot.refused == 1


@pytest.mark.parametrize("seats", [1, 8])
def test_a_claim_whose_answer_was_lost_is_found_again(
    house: House, count: Count, crew: Make, monkeypatch: pytest.MonkeyPatch, seats: int
) -> None:
    """G5: the rows were taken, and the connection broke before anybody here knew."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    async def a(input: Number) -> int:
        return count(input.n)

    runs = house.enqueue(pipeline, 8)
    made = crew(seats)
    claim = vars(desk_module)["claim_each"]

    def claim_and_lose(connection: psycopg.Connection[tuple[object, ...]], **more: object) -> None:
        claim(connection, **more)
        monkeypatch.setattr(desk_module, "claim_each", claim)
        connection.close()
        raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(desk_module, "claim_each", claim_and_lose)
    with pytest.raises(Unavailable):
        made.claim()
    assert house.stage.value("SELECT count(holder) FROM taskplatform.work") == seats
    made.work(8)

    assert count.times == dict.fromkeys(range(8), 1)
    assert {house.status(run) for run in runs} == {"succeeded"}


def test_results_are_offered_again_after_a_lost_connection(
    house: House, count: Count, crew: Make
) -> None:
    """F-outage: bodies end meanwhile; each was executed once, and nothing of them is lost."""
    pipeline = Declaration("p", input=Number)
    go = threading.Event()

    @pipeline.step
    async def a(input: Number) -> int:
        count(("a", input.n))
        while not go.is_set():
            await asyncio.sleep(0.01)
        return input.n

    @pipeline.step
    def b(input: Number, a: int) -> int:
        return count(("b", input.n))

    runs = house.enqueue(pipeline, 40)
    made = crew(40)
    with made.crowd() as crowd:
        crowd.seat(made.claim())
        wait_until(lambda: len(count.times) == 40)
        assert not made.desk.committing.connection.closed
        house.kill_connection(made.desk.committing)
        house.kill_connection(made.desk)
        go.set()

    assert set(count.times.values()) == {1}
    assert len(count.times) == 80
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert not house.stage.wrong()


def test_transactional_bodies_share_a_few_connections(
    house: House, crew: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4: each is a transaction of its own; more bodies than connections wait for one."""
    house.stage.connection.execute("CREATE TABLE ledger (run text)")
    pipeline = Declaration("p", input=Number)
    level = Level()
    monkeypatch.setattr(lent_transaction, "PATIENCE", 30.0)

    @pipeline.step(transactional=True)
    def a(input: Number, ctx: Context) -> int:
        with level:
            ctx.connection.execute("INSERT INTO ledger VALUES (%s)", (str(ctx.run_id),))
            time.sleep(0.02)
        if input.n % 2:
            raise ValueError("not this one")
        return 1

    @pipeline.step
    def b(a: int) -> int:
        return a + 1

    runs = house.enqueue(pipeline, 40)
    made = crew(40)
    made.work(40)

    assert level.most == lent_transaction.MOST
    written = {row[0] for row in house.stage.rows("SELECT run FROM ledger")}
    assert written == {str(run) for run in runs[::2]}
    assert [house.status(run) for run in runs] == ["succeeded", "waiting"] * 20
    name = sql.Literal("taskplatform w body")
    opened = sql.SQL("SELECT count(*) FROM pg_stat_activity WHERE application_name = {}")
    answer = house.stage.connection.execute(opened.format(name)).fetchone()
    assert answer is not None
    assert answer[0] <= lent_transaction.MOST


def test_a_transactional_body_that_gets_no_connection_is_put_off(
    house: House, crew: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses no retry, holds no seat, and says what it waits for."""
    pipeline = Declaration("p", input=Number, retry=Retry(0))
    monkeypatch.setattr(lent_transaction, "PATIENCE", 0.05)
    go, level = threading.Event(), Level()

    @pipeline.step(transactional=True)
    def a(input: Number, ctx: Context) -> int:
        with level:
            assert go.wait(20)
        return 1

    runs = house.enqueue(pipeline, 12)
    made = crew(12)
    with made.crowd() as crowd:
        crowd.seat(made.claim())
        wait_until(lambda: made.desk.taken == lent_transaction.MOST == level.now)
        go.set()

    assert sorted(house.status(run) for run in runs) == ["succeeded"] * 8 + ["waiting"] * 4
    what = "SELECT DISTINCT waiting_for FROM taskplatform.work"
    assert house.stage.rows(what) == [("a connection to the database",)]
    assert house.stage.value("SELECT count(*) FROM taskplatform.step_attempts") == 0


def test_throttled_async_bodies_start_with_a_grant_each(house: House, crew: Make) -> None:
    """G8: the limit holds for many at once, and who gets no grant holds no seat."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step(throttle=Throttle("api", limit=5, per="1h"))
    async def a(input: Number) -> int:
        await asyncio.sleep(0)
        return 1

    runs = house.enqueue(pipeline, 30)
    crew(30).work(30)

    statuses = [house.status(run) for run in runs]
    assert sorted(statuses) == ["succeeded"] * 5 + ["waiting"] * 25
    assert house.stage.value("SELECT count(*) FROM taskplatform.work WHERE holder IS NOT NULL") == 0


def test_a_map_of_two_thousand_items_goes_through_the_seats(
    house: House, count: Count, crew: Make
) -> None:
    """Groups, maps and joins are claimed like everything else."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    def a(input: Number) -> list[int]:
        return list(range(2000))

    @pipeline.map(over="a")
    async def each(item: int) -> int:
        return count(item)

    @pipeline.step
    def b(each: list[int]) -> int:
        return sum(each)

    (run,) = house.enqueue(pipeline)
    crew(100).work(2002)

    assert house.stage.results(run)["b"] == b"2000"
    assert set(count.times.values()) == {1}
    assert not house.stage.wrong()


def test_seats_without_work_give_up_their_leases(house: House, crew: Make) -> None:
    """An idle worker with a thousand seats has nothing to renew."""
    pipeline = Declaration("p", input=Number)

    @pipeline.step
    async def a(input: Number) -> int:
        return 1

    house.enqueue(pipeline, 60)
    made = crew(50)
    made.work(60)
    assert house.stage.value("SELECT count(*) FROM taskplatform.holders") >= 50
    made.desk.rest()
    assert house.stage.value("SELECT count(*) FROM taskplatform.holders") <= 8
    runs = house.enqueue(pipeline, 20)
    made.work(20)
    assert {house.status(run) for run in runs} == {"succeeded"}


def tick_until(made: Crew, done: threading.Event) -> None:
    while not done.wait(0.02):
        made.watch.tick()


def wait_until(fact: Callable[[], bool], seconds: float = 20) -> None:
    until = monotonic() + seconds
    while not fact():
        assert monotonic() < until
        time.sleep(0.005)
