"""Settle the plain cases: a short step, or the last one, ended well and concerns nobody else."""

from collections.abc import Sequence
from operator import attrgetter

from taskplatform.storage import settle_rows
from taskplatform.storage import settle_sql as sql
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.settle_rows import encode
from taskplatform.storage.settlement import End, Keep, Settlement


def is_plain(one: Settlement) -> bool:
    """A short step ended well, and the holder goes on with the next one."""
    return one.result is not None and isinstance(one.then, Keep) and not one.then.mark


def advance(
    connection: Session, settlements: Sequence[Settlement], worker: str, first: bool
) -> set[int]:
    """Store the outputs of short steps; the ids of the work that was still held."""
    rows = []
    for one in sorted(settlements, key=_by_work):
        if one.result and isinstance(one.then, Keep):
            row = settle_rows.result(one, one.result)
            row["next"] = one.then.step
            rows.append(row)
    statement = sql.ADVANCE_FIRST if first else sql.ADVANCE
    answer = connection.execute(statement, {"rows": encode(rows), "worker": worker})
    return {row[0] for row in answer}


_by_work = attrgetter("work_id")


def is_plain_end(one: Settlement) -> bool:
    """The last step ended well, and nobody but the run itself is concerned."""
    then = one.then
    return (
        one.result is not None
        and isinstance(then, End)
        and then.status == "succeeded"
        and not then.owns_key
        and not one.handlers
        and one.parent_run is None
    )


def finish(
    connection: Session, settlements: Sequence[Settlement], worker: str, first: bool
) -> set[int]:
    """Store the outputs of last steps and end their runs; the ids of the work still held."""
    ordered = sorted(settlements, key=_by_work)
    rows = []
    for one in ordered:
        if one.result and isinstance(one.then, End):
            row = settle_rows.result(one, one.result)
            row["output_step"] = one.then.output_step
            row["run_started_ago"] = settle_rows.started_ago(one, one.then)
            rows.append(row)
    statement = sql.FINISH_FIRST if first else sql.FINISH
    with one_trip(connection):
        connection.execute(sql.LOCK_RUNS, ([one.run_id for one in ordered],))
        answer = connection.execute(statement, {"rows": encode(rows), "worker": worker})
    return {row[0] for row in answer}
