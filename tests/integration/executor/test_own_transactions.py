"""Transactional steps: what a body writes is committed with its result, or not at all."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from taskplatform.core.context import Context
from taskplatform.core.pipeline import Declaration
from taskplatform.core.retry import Retry
from taskplatform.errors import Permanent
from taskplatform.storage.cancel import cancel
from tests.integration.executor.house import Count, House, Number
from tests.integration.executor.proxy import Proxy

Body = Callable[[Any, Context], object]
SETUP = "CREATE TABLE ledger (run text, attempt integer)"
# At COMMIT, in the first attempt only.
AT_COMMIT = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN {} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.attempt = 1) EXECUTE FUNCTION at_commit()
"""


@pytest.fixture(autouse=True)
def ledger(house: House) -> None:
    """A table of the user's own."""
    house.stage.connection.execute(SETUP)


@pytest.fixture
def proxy(house: House) -> Iterator[Proxy]:
    """Stands between a child and the database; closed before the children are."""
    proxy = Proxy(house.stage.url)
    yield proxy
    proxy.close()


def write(ctx: Context) -> None:
    """What a body is for."""
    ctx.connection.execute("INSERT INTO ledger VALUES (%s, %s)", (str(ctx.run_id), ctx.attempt))


def written(house: House) -> list[tuple[str, int]]:
    return house.stage.rows("SELECT run, attempt FROM ledger ORDER BY 1, 2")


def pipeline_of(body: Body, **options: Any) -> Declaration[Number]:
    """One transactional step between two others."""
    given: dict[str, Any] = {"retry": Retry(delays=[0.001]), **options}
    pipeline = Declaration("p", input=Number, **given)

    @pipeline.step
    def before(input: Number) -> int:
        return 1

    @pipeline.step(transactional=True)
    def middle(before: int, ctx: Context) -> int:
        body(before, ctx)
        return 2

    @pipeline.step
    def after(middle: int) -> int:
        return 3

    return pipeline


def finish(house: House, run: UUID) -> None:
    """Go on until the run has ended, with another child."""
    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")
    house.work_elsewhere()
    assert house.status(run) == "succeeded"
    assert not house.stage.wrong()


def test_what_a_body_writes_is_committed_with_its_result(house: House) -> None:
    """Not before: another session sees the row and the result at once."""
    seen: list[object] = []

    def body(_: Any, ctx: Context) -> None:
        write(ctx)
        seen.append(written(house))

    runs = house.enqueue(pipeline_of(body), 3)
    house.work(house.child("before", "middle", "after"))

    assert seen == [[], [(str(runs[0]), 1)], sorted((str(run), 1) for run in runs[:2])]
    assert written(house) == sorted((str(run), 1) for run in runs)
    assert {house.status(run) for run in runs} == {"succeeded"}
    assert house.stage.results(runs[0]) == {"before": b"1", "middle": b"2", "after": b"3"}
    assert not house.stage.wrong()


@pytest.mark.parametrize("many", [1, 2])
def test_the_first_and_the_last_step_may_be_transactional(house: House, many: int) -> None:
    """The run ends in the very transaction of the body."""
    pipeline = Declaration("p", input=Number, idempotency="1h")

    @pipeline.step(transactional=True)
    def a(input: Number, ctx: Context) -> int:
        write(ctx)
        return 1

    if many == 2:

        @pipeline.step(transactional=True)
        def b(a: int, ctx: Context) -> int:
            write(ctx)
            return 2

    (run,) = house.enqueue(pipeline)
    house.work(house.child())

    assert house.status(run) == "succeeded"
    assert written(house) == [(str(run), 1)] * many
    assert not house.stage.wrong()


@pytest.mark.parametrize("error", [ValueError, Permanent])
def test_a_body_that_fails_has_written_nothing(house: House, error: type[Exception]) -> None:
    def body(_: Any, ctx: Context) -> None:
        write(ctx)
        if ctx.attempt == 1:
            raise error

    (run,) = house.enqueue(pipeline_of(body))
    house.shift(house.child())
    assert written(house) == []

    if error is Permanent:
        assert house.status(run) == "failed"
    else:
        finish(house, run)
        assert written(house) == [(str(run), 2)]


def test_a_body_whose_output_does_not_fit_has_written_nothing(house: House) -> None:
    pipeline = Declaration("p", input=Number, retry=Retry(0))

    @pipeline.step(transactional=True)
    def a(input: Number, ctx: Context) -> int:
        write(ctx)
        return "no number"  # type: ignore[return-value]

    house.enqueue(pipeline)
    house.work(house.child())

    assert written(house) == []


def test_a_zombie_has_written_nothing(house: House) -> None:
    """G3: the work was given to another while its body ran; both bodies wrote, one counts."""

    def body(_: Any, ctx: Context) -> None:
        write(ctx)
        if ctx.attempt == 1:
            house.stage.connection.execute(
                "UPDATE taskplatform.work SET holder = NULL, tried = true"
            )
            house.stage.connection.execute(
                "INSERT INTO taskplatform.step_attempts"
                " (run_id, step_name, number, outcome, finished_at, epoch)"
                " VALUES (%s, 'middle', 1, 'crashed', now(), 0)",
                (ctx.run_id,),
            )
            house.work_elsewhere()

    (run,) = house.enqueue(pipeline_of(body))
    child = house.child()
    house.work(child)

    assert written(house) == [(str(run), 2)]
    assert child.slot.refused == 1
    assert house.status(run) == "succeeded"
    assert not house.stage.wrong()


def test_a_cancelled_run_has_written_nothing(house: House) -> None:
    def body(_: Any, ctx: Context) -> None:
        write(ctx)
        cancel(house.stage.connection, ctx.run_id)

    (run,) = house.enqueue(pipeline_of(body))
    house.work(house.child())

    assert house.status(run) == "cancelled"
    assert written(house) == []


def test_a_time_limit_in_a_statement_takes_it_back(house: House) -> None:
    """The server is told to stop, and the next attempt gets another connection."""
    sessions: list[int] = []

    def body(_: Any, ctx: Context) -> None:
        write(ctx)
        sessions.append(ctx.connection.info.backend_pid)
        if ctx.attempt == 1:
            ctx.connection.execute("SELECT pg_sleep(60)")

    (run,) = house.enqueue(pipeline_of(body, timeout="300ms"))
    child = house.child()
    house.shift(child)
    assert house.stage.attempts(run) == [("middle", 1, "timed-out")]
    assert written(house) == []
    busy = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
    assert house.stage.value(busy, sessions[0]) == 0

    house.stage.connection.execute("UPDATE taskplatform.work SET due_at = NULL")
    house.work(child)
    assert house.status(run) == "succeeded"
    assert written(house) == [(str(run), 2)]
    assert len(set(sessions)) == 2


@pytest.mark.parametrize(
    "end", ["commit", "rollback", "close", "__enter__", "COMMIT", "ROLLBACK; BEGIN"]
)
def test_the_transaction_is_not_the_bodys_to_end(house: House, end: str) -> None:
    """It would tear what it wrote from its result: an error that says so."""

    def body(_: Any, ctx: Context) -> None:
        if hasattr(ctx.connection, end):
            getattr(ctx.connection, end)()
        else:
            ctx.connection.execute(end)
        write(ctx)

    (run,) = house.enqueue(pipeline_of(body, retry=Retry(0)))
    house.work(house.child())

    assert house.status(run) == "failed"
    error = house.stage.value("SELECT error ->> 'message' FROM taskplatform.runs")
    assert "transaction" in error
    assert written(house) == []


def test_savepoints_are_the_bodys(house: House) -> None:
    """A part may fail without the whole."""

    def body(_: Any, ctx: Context) -> None:
        with suppress(psycopg.errors.DivisionByZero), ctx.connection.transaction():
            write(ctx)
            ctx.connection.execute("SELECT 1/0")
        write(ctx)

    (run,) = house.enqueue(pipeline_of(body))
    house.work(house.child())

    assert house.status(run) == "succeeded"
    assert written(house) == [(str(run), 1)]


def test_an_error_that_the_body_hides_fails_it(house: House) -> None:
    """The transaction is broken, whatever the body says."""

    def body(_: Any, ctx: Context) -> None:
        write(ctx)
        if ctx.attempt == 1:
            with pytest.raises(psycopg.errors.DivisionByZero):
                ctx.connection.execute("SELECT 1/0")

    (run,) = house.enqueue(pipeline_of(body))
    house.shift(house.child())
    assert house.stage.attempts(run) == [("middle", 1, "failed")]

    finish(house, run)
    assert written(house) == [(str(run), 2)]


def test_what_the_commit_refuses_is_the_attempts_failure(house: House) -> None:
    """A deferred constraint speaks last; the result that was stored with it is gone as well."""
    house.stage.connection.execute(AT_COMMIT.format("RAISE 'not this one';"))
    (run,) = house.enqueue(pipeline_of(lambda _, ctx: write(ctx)))
    house.shift(house.child())

    assert house.stage.attempts(run) == [("middle", 1, "failed")]
    assert "not this one" in house.stage.value(
        "SELECT error ->> 'message' FROM taskplatform.step_attempts"
    )
    assert written(house) == []
    assert "middle" not in house.stage.results(run)
    finish(house, run)


def test_a_commit_that_was_lost_is_executed_again(house: House) -> None:
    """F20: the session ended in the COMMIT; nothing was stored, and it uses no retry."""
    house.stage.connection.execute(
        AT_COMMIT.format("PERFORM pg_terminate_backend(pg_backend_pid());")
    )
    (run,) = house.enqueue(pipeline_of(lambda _, ctx: write(ctx), retry=Retry(0)))
    house.work(house.child())

    assert house.stage.attempts(run) == [("middle", 1, "interrupted")]
    assert house.status(run) == "succeeded"
    assert written(house) == [(str(run), 2)]
    assert not house.stage.wrong()


def test_a_commit_whose_answer_was_lost_counts(house: House, proxy: Proxy, count: Count) -> None:
    """F20, G4: it was committed: the body is not executed again."""

    def body(_: Any, ctx: Context) -> None:
        count("middle")
        write(ctx)
        proxy.armed.set()

    (run,) = house.enqueue(pipeline_of(body))
    child = house.child(url=proxy.url)
    house.work(child)

    assert proxy.cuts == 1
    assert count.times == {"middle": 1}
    assert house.status(run) == "succeeded"
    assert written(house) == [(str(run), 1)]
    assert child.slot.refused == 0
    assert not house.stage.wrong()


def test_what_a_body_sets_is_not_for_the_next(house: House) -> None:
    """The connection is kept, its state is not; rows are plain again, too."""
    seen: list[object] = []

    def body(_: Any, ctx: Context) -> None:
        connection = ctx.connection
        seen.append(connection.execute("SHOW search_path").fetchone())
        connection.execute("SET search_path = pg_catalog")
        connection.row_factory = dict_row

    runs = house.enqueue(pipeline_of(body), 2)
    house.work(house.child())

    assert {house.status(run) for run in runs} == {"succeeded"}
    assert seen == [('"$user", public',)] * 2


def test_its_statements_are_planned_and_bounded_as_a_user_expects(house: House) -> None:
    """Not by the pins of the platform; up to the step's timeout."""
    seen: list[object] = []

    def body(_: Any, ctx: Context) -> None:
        for name in ("enable_seqscan", "statement_timeout", "lock_timeout"):
            seen.append(ctx.connection.execute(f"SHOW {name}").fetchone()[0])
        seen.append(ctx.connection.autocommit)
        seen.append(ctx.connection.execute("SELECT '{\"a\": 1}'::json").fetchone()[0])

    house.enqueue(pipeline_of(body, timeout="1m"))
    house.work(house.child())

    assert seen == ["on", "61s", "1min", False, {"a": 1}]


def test_without_a_second_connection_the_step_waits(house: House) -> None:
    """No attempt is made, and no retry is used."""
    (run,) = house.enqueue(pipeline_of(lambda _, ctx: write(ctx), retry=Retry(0)))
    child = house.child()
    own = child.own_transaction
    own._url = "postgresql://127.0.0.1:1/nothing"
    house.shift(child)

    assert house.status(run) == "waiting"
    assert house.stage.attempts(run) == []
    assert house.stage.value("SELECT waiting_for FROM taskplatform.runs") == (
        "a connection to the database"
    )
    finish(house, run)
