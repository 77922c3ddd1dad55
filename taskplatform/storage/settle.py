"""Settle: commit what attempts came to, for many runs in one transaction and one round trip.

Locks first, each kind in a statement of its own and in order (runs by id, then work by id), so
that the writing statements see what was there when the locks were granted. Every write joins the
work row on the epoch: a late writer matches nothing and is refused.
"""

import math
from collections.abc import Sequence
from typing import Any

import orjson

from taskplatform.storage import settle_sql as sql
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.settlement import Attempt, End, Keep, PutBack, Result, Settlement

Row = dict[str, Any]


def settle(connection: Session, settlements: Sequence[Settlement], *, worker: str) -> set[int]:
    """Commit the settlements; return the ids of the work that was still held under its epoch.

    The others were refused, whole: their work has a newer epoch, or none.
    """
    if any(one.expected is not None for one in settlements):
        return _settle_expected(connection, settlements, worker)
    if all(_is_plain(one) for one in settlements):
        return _advance(connection, settlements, worker)
    if all(_is_plain_end(one) for one in settlements):
        return _finish(connection, settlements, worker)
    with one_trip(connection):
        locked = _lock(connection, settlements)
        _write(connection, settlements, worker)
    return {row[0] for row in locked}


def _is_plain(one: Settlement) -> bool:
    """A short step ended well, and the holder goes on with the next one."""
    return one.result is not None and isinstance(one.then, Keep) and not one.then.mark


def _advance(connection: Session, settlements: Sequence[Settlement], worker: str) -> set[int]:
    rows = [
        {**_result(one, one.result), "next": one.then.step}
        for one in sorted(settlements, key=lambda one: one.work_id)
        if one.result and isinstance(one.then, Keep)
    ]
    answer = connection.execute(sql.ADVANCE, {"rows": _json(rows), "worker": worker})
    return {row[0] for row in answer}


def _is_plain_end(one: Settlement) -> bool:
    """The last step ended well, and nobody but the run itself is concerned."""
    then = one.then
    return (
        one.result is not None
        and isinstance(then, End)
        and then.status == "succeeded"
        and not then.owns_key
        and not one.handlers
    )


def _finish(connection: Session, settlements: Sequence[Settlement], worker: str) -> set[int]:
    ordered = sorted(settlements, key=lambda one: one.work_id)
    rows = [
        {
            **_result(one, one.result),
            "output_step": one.then.output_step,
            "run_started_ago": _ended(one, one.then)["started_ago"],
        }
        for one in ordered
        if one.result and isinstance(one.then, End)
    ]
    with one_trip(connection):
        connection.execute(sql.LOCK_RUNS, ([one.run_id for one in ordered],))
        answer = connection.execute(sql.FINISH, {"rows": _json(rows), "worker": worker})
    return {row[0] for row in answer}


def _settle_expected(
    connection: Session, settlements: Sequence[Settlement], worker: str
) -> set[int]:
    with connection.transaction():
        accepted = {row[0] for row in _lock(connection, settlements)}
        held = [one for one in settlements if one.work_id in accepted]
        if held:
            _write(connection, held, worker)
    return accepted


def committed(connection: Session, settlements: Sequence[Settlement]) -> set[int]:
    """Tell whose attempts are stored: the answer to a COMMIT whose answer was lost."""
    made = []
    for one in settlements:
        if one.result:
            made.append(_row(one, run_id=one.run_id, step=one.result.step, outcome=None))
        elif one.attempt:
            attempt = one.attempt
            made.append(_row(one, run_id=one.run_id, step=attempt.step, outcome=attempt.outcome))
    if not made:
        return set()
    return {row[0] for row in connection.execute(sql.COMMITTED, {"rows": _json(made)})}


def _lock(connection: Session, settlements: Sequence[Settlement]) -> Any:
    runs = [one.run_id for one in settlements if _touches_run(one)]
    if runs:
        connection.execute(sql.LOCK_RUNS, (runs,))
    held = [
        {"work_id": one.work_id, "epoch": one.epoch, "expected": one.expected}
        for one in settlements
    ]
    return connection.execute(sql.LOCK_WORK, (_json(held),))


def _touches_run(one: Settlement) -> bool:
    return not isinstance(one.then, Keep) or one.then.mark


def _write(connection: Session, settlements: Sequence[Settlement], worker: str) -> None:
    def write(statement: str, rows: list[Row]) -> None:
        if rows:
            connection.execute(statement, {"rows": _json(rows), "worker": worker})

    keep = [(one, one.then) for one in settlements if isinstance(one.then, Keep)]
    back = [(one, one.then) for one in settlements if isinstance(one.then, PutBack)]
    end = [(one, one.then) for one in settlements if isinstance(one.then, End)]
    write(sql.RESULTS, [_result(one, one.result) for one in settlements if one.result])
    write(sql.ATTEMPTS, [_attempt(one, one.attempt) for one in settlements if one.attempt])
    write(sql.MARK_RUNS, [_row(one, mark=True) for one, then in keep if then.mark])
    write(sql.WAIT_RUNS, [_waiting(one, then) for one, then in back])
    write(sql.END_RUNS, [_ended(one, then) for one, then in end])
    keyed = [(one, then) for one, then in end if then.owns_key]
    if keyed:
        connection.execute(sql.LOCK_KEYS, ([one.run_id for one, _ in keyed],))
    write(sql.END_KEYS, [_row(one, key_seconds=then.key_seconds) for one, then in keyed])
    write(
        sql.HANDLER_RUNS,
        [
            _row(
                one,
                id=handler.id,
                pipeline=handler.pipeline,
                step=handler.step,
                queue=handler.queue,
                input=orjson.Fragment(handler.input),
            )
            for one in settlements
            for handler in one.handlers
        ],
    )
    write(sql.KEEP_WORK, [_row(one, step=then.step, mark=then.mark) for one, then in keep])
    write(sql.PUT_BACK_WORK, [_put_back(one, then) for one, then in back])
    write(sql.END_WORK, [_row(one) for one, _ in end])


def _row(one: Settlement, **values: Any) -> Row:
    return {"work_id": one.work_id, "epoch": one.epoch, **values}


def _result(one: Settlement, result: Result) -> Row:
    return _row(
        one,
        step=result.step,
        version=result.version,
        attempt=result.attempt,
        output=orjson.Fragment(result.output),
        started_ago=result.started_ago,
        finished_ago=result.finished_ago,
    )


def _attempt(one: Settlement, attempt: Attempt) -> Row:
    return _row(
        one,
        step=attempt.step,
        outcome=attempt.outcome,
        error=_fragment(attempt.error),
        number=attempt.number,
        alone=attempt.alone,
        started_ago=attempt.started_ago,
        finished_ago=attempt.finished_ago,
    )


def _waiting(one: Settlement, then: PutBack) -> Row:
    return _row(
        one,
        delay=_delay(then.delay),
        reason=then.reason,
        waiting_for=then.waiting_for,
        started_ago=_started_ago(one),
    )


def _ended(one: Settlement, then: End) -> Row:
    return _row(
        one,
        status=then.status,
        output_step=then.output_step,
        error=_fragment(then.error),
        started_ago=_started_ago(one) if then.started_ago is None else then.started_ago,
    )


def _put_back(one: Settlement, then: PutBack) -> Row:
    return _row(
        one,
        step=then.step,
        queue=then.queue,
        delay=_delay(then.delay),
        failures=then.failures,
        put_off=then.put_off,
        tried=then.tried,
        alone=then.alone,
    )


def _started_ago(one: Settlement) -> float | None:
    made = one.result or one.attempt
    return made.started_ago if made else None


def _delay(seconds: float | None) -> float | str | None:
    # JSON has no infinity; PostgreSQL reads the word.
    return "infinity" if seconds is not None and math.isinf(seconds) else seconds


def _fragment(value: bytes | None) -> orjson.Fragment | None:
    return None if value is None else orjson.Fragment(value)


def _json(rows: Sequence[Row]) -> str:
    return orjson.dumps(rows).decode()
