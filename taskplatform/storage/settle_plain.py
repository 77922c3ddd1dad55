"""Settle the plain cases: a short step, or the last one, ended well and concerns nobody else."""

from collections.abc import Sequence
from operator import attrgetter

from taskplatform.storage import settle_rows
from taskplatform.storage import settle_sql as sql
from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask, ask_all
from taskplatform.storage.settle_rows import encode
from taskplatform.storage.settlement import End, Keep, Settlement


def all_advance(settlements: Sequence[Settlement]) -> bool:
    """Of all a short step ended well, and the holder goes on with the next one."""
    # Plain loops, here and below: each is gone through for every step that is executed.
    for one in settlements:
        then = one.then
        if (
            type(then) is not Keep
            or then.mark
            or one.result is None
            or one.expected is not None
            or one.slots is not None
        ):
            return False
    return True


def advance(
    connection: Session, settlements: Sequence[Settlement], worker: str, again: bool
) -> set[int]:
    """Store the outputs of short steps; the ids of the work that was still held."""
    rows, first = [], not again
    for one in sorted(settlements, key=_by_work):
        made, then = one.result, one.then
        if made is not None and isinstance(then, Keep):
            first = first and made.first
            row = settle_rows.result(one, made)
            row["next"] = then.step
            rows.append(row)
    statement = sql.ADVANCE_FIRST if first else sql.ADVANCE
    answer = ask(connection, statement, {"rows": encode(rows), "worker": worker})
    return {one for (one,) in answer}


_by_work = attrgetter("work_id")


def all_finish(settlements: Sequence[Settlement]) -> bool:
    """Of all the last step ended well, and nobody but the run itself is concerned."""
    for one in settlements:
        then = one.then
        if (
            type(then) is not End
            or then.status != "succeeded"
            or then.owns_key
            or one.handlers
            or one.parent_run is not None
            or one.result is None
            or one.expected is not None
            or one.slots is not None
        ):
            return False
    return True


def finish(
    connection: Session, settlements: Sequence[Settlement], worker: str, again: bool
) -> set[int]:
    """Store the outputs of last steps and end their runs; the ids of the work still held."""
    ordered = sorted(settlements, key=_by_work)
    rows, first = [], not again
    for one in ordered:
        made, then = one.result, one.then
        if made is not None and isinstance(then, End):
            first = first and made.first
            row = settle_rows.result(one, made)
            row["output_step"] = then.output_step
            row["run_started_ago"] = settle_rows.started_ago(one, then)
            rows.append(row)
    statement = sql.FINISH_FIRST if first else sql.FINISH
    values = {
        "runs": [one.run_id for one in ordered],
        "rows": encode(rows),
        "worker": worker,
    }
    _, answer = ask_all(connection, [sql.LOCK_RUNS, statement], values)
    return {one for (one,) in answer}
