"""Settle: commit what attempts came to, for many runs in one transaction and one round trip.

Locks first, each kind in a statement of its own and in order (events by name, runs by id, then
work by id), so that the writing statements see what was there when the locks were granted. Every
write joins the work row on the epoch: a late writer matches nothing and is refused.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from psycopg import Cursor
from psycopg.pq import TransactionStatus

from taskplatform.storage import fork_sql, join_sql, settle_rows, slots, waits
from taskplatform.storage import settle_sql as sql
from taskplatform.storage.connection import Session, one_trip
from taskplatform.storage.dispatch import release_due
from taskplatform.storage.settle_plain import advance, all_advance, all_finish, finish
from taskplatform.storage.settle_rows import Row, encode
from taskplatform.storage.settlement import (
    End,
    ForkGroup,
    ForkMap,
    Join,
    Keep,
    PutBack,
    Settlement,
)


def settle(
    connection: Session,
    settlements: Sequence[Settlement],
    *,
    worker: str,
    woken: Counter[str] | None = None,
    again: bool = False,
) -> set[int]:
    """Commit the settlements; return the ids of the work that was still held under its epoch.

    The others were refused, whole: their work has a newer epoch, or none. What else can go on by
    this (joins, parents of children) is counted in `woken`, by queue.

    Raises UniqueViolation if a result that is said to be a step's first is stored already: an
    earlier try was committed then. With `again` that is no matter.
    """
    if all_advance(settlements):
        return advance(connection, settlements, worker, again)
    if all_finish(settlements):
        return finish(connection, settlements, worker, again)
    if any(one.expected is not None for one in settlements):
        return _settle_expected(connection, settlements, worker)
    if any(one.slots is not None for one in settlements):
        return _settle_slots(connection, settlements, worker, woken)
    with one_trip(connection):
        locked = _lock(connection, settlements)
        going_on = _write(connection, settlements, worker)
    if woken is not None:
        woken.update(queue for cursor in going_on for (queue,) in cursor)
    return {row[0] for row in locked}


def _settle_expected(
    connection: Session, settlements: Sequence[Settlement], worker: str
) -> set[int]:
    with connection.transaction():
        accepted = {row[0] for row in _lock(connection, settlements)}
        held = [one for one in settlements if one.work_id in accepted]
        if held:
            _write(connection, held, worker)
    return accepted


def _settle_slots(
    connection: Session,
    settlements: Sequence[Settlement],
    worker: str,
    woken: Counter[str] | None,
) -> set[int]:
    """Also free slots, of what is refused, too, and let lines move on as far as there is room."""
    giving = [(one, one.slots) for one in settlements if one.slots is not None]
    limits = {gate: most for _, given in giving for gate, most in given.limits}
    alone = connection.info.transaction_status == TransactionStatus.IDLE
    with connection.pipeline(), connection.transaction():
        locked = _lock(connection, settlements)
        going_on = _write(connection, settlements, worker)
        ended = [one.run_id for one, _ in giving if _ends(one)]
        freed = slots.free(connection, [one.epoch for one, _ in giving], ended, limits)
        moved = slots.let_go(connection, freed)
        accepted = {row[0] for row in locked}
        ready = Counter(queue for cursor in going_on for (queue,) in cursor)
    if moved and alone:
        ready.update(release_due(connection))
    if woken is not None:
        woken.update(ready)
    return accepted


def committed(connection: Session, settlements: Sequence[Settlement]) -> set[int]:
    """Tell whose attempts are stored: the answer to a COMMIT whose answer was lost."""
    made = []
    for one in settlements:
        if one.result:
            step, outcome, position = one.result.step, None, one.result.position
        elif one.attempt:
            step, outcome, position = one.attempt.step, one.attempt.outcome, None
        else:
            continue
        made.append(
            settle_rows.row(one, run_id=one.run_id, step=step, outcome=outcome, position=position)
        )
    if not made:
        return set()
    return {row[0] for row in connection.execute(sql.COMMITTED, {"rows": encode(made)})}


def _lock(connection: Session, settlements: Sequence[Settlement]) -> Any:
    if registered := [one.wait for one in settlements if one.wait]:
        waits.lock(connection, registered)
    runs = [one.run_id for one in settlements if _touches_run(one)]
    runs += [one.parent_run for one in settlements if one.parent_run and isinstance(one.then, End)]
    if runs:
        connection.execute(sql.LOCK_RUNS, {"runs": runs})
    held = [
        {"work_id": one.work_id, "epoch": one.epoch, "expected": one.expected}
        for one in settlements
    ]
    return connection.execute(sql.LOCK_WORK, (encode(held),))


def _touches_run(one: Settlement) -> bool:
    return not isinstance(one.then, Keep) or one.then.mark or one.branch


def _write(
    connection: Session, settlements: Sequence[Settlement], worker: str
) -> list[Cursor[Any]]:
    def write(statement: str, rows: list[Row]) -> None:
        if rows:
            connection.execute(statement, {"rows": encode(rows), "worker": worker})

    keep = [(one, one.then) for one in settlements if isinstance(one.then, Keep)]
    back = [(one, one.then) for one in settlements if isinstance(one.then, PutBack)]
    end = [(one, one.then) for one in settlements if isinstance(one.then, End)]
    join = [(one, one.then) for one in settlements if isinstance(one.then, Join)]
    results = [(one, one.result) for one in settlements if one.result]
    write(sql.RESULTS, [settle_rows.result(one, made) for one, made in results if _of_step(one)])
    write(
        join_sql.ITEM_RESULTS,
        [settle_rows.item(one, made) for one, made in results if not _of_step(one)],
    )
    write(
        sql.ATTEMPTS, [settle_rows.attempt(one, one.attempt) for one in settlements if one.attempt]
    )
    write(sql.MARK_RUNS, [settle_rows.row(one, mark=True) for one, then in keep if then.mark])
    write(sql.WAIT_RUNS, [settle_rows.waiting(one, then) for one, then in back if not one.branch])
    write(sql.END_RUNS, [settle_rows.ended(one, then) for one, then in end])
    _end_keys(connection, end, write)
    write(
        sql.HANDLER_RUNS,
        [settle_rows.handler(one, made) for one in settlements for made in one.handlers],
    )
    failing = [(one, then.run_error) for one, then in join if then.run_error is not None]
    write(join_sql.FAIL_RUNS, [settle_rows.failed(one, error) for one, error in failing])
    _fork(settlements, write)
    write(
        sql.KEEP_WORK, [settle_rows.row(one, step=then.step, mark=then.mark) for one, then in keep]
    )
    write(sql.PUT_BACK_WORK, [settle_rows.put_back(one, then) for one, then in back])
    write(sql.END_WORK, [settle_rows.row(one) for one, _ in end])
    write(join_sql.JOIN, [settle_rows.row(one) for one, _ in join])
    return _go_on(connection, settlements, worker)


def _of_step(one: Settlement) -> bool:
    return one.result is None or one.result.position is None


def _end_keys(connection: Session, end: Sequence[tuple[Settlement, End]], write: Any) -> None:
    keyed = [(one, then) for one, then in end if then.owns_key]
    if keyed:
        connection.execute(sql.LOCK_KEYS, ([one.run_id for one, _ in keyed],))
    write(sql.END_KEYS, [settle_rows.row(one, key_seconds=then.key_seconds) for one, then in keyed])


def _fork(settlements: Sequence[Settlement], write: Any) -> None:
    groups = [
        settle_rows.group(one, one.fork) for one in settlements if isinstance(one.fork, ForkGroup)
    ]
    write(fork_sql.FORK_GROUP, groups)
    write(fork_sql.COUNT_BRANCHES, groups)
    maps = [
        settle_rows.mapped(one, one.fork) for one in settlements if isinstance(one.fork, ForkMap)
    ]
    write(fork_sql.FORGET_ITEMS, maps)
    write(fork_sql.STORE_ITEMS, maps)
    write(fork_sql.FORK_MAP, maps)
    new = [settle_rows.wait(one, one.wait) for one in settlements if one.wait]
    write(waits.REGISTER, new)
    write(waits.FIND_EARLY, new)
    write(
        fork_sql.CHILD_RUNS, [settle_rows.child(one, one.child) for one in settlements if one.child]
    )


def _go_on(
    connection: Session, settlements: Sequence[Settlement], worker: str
) -> list[Cursor[Any]]:
    """See who can go on now: joins, runs that fail, who waits for an event or for a child."""
    woken: list[Cursor[Any]] = []
    forked = sorted({one.run_id for one in settlements if one.branch or _may_join(one)})
    if forked:
        values = {"runs": forked, "worker": worker}
        connection.execute(join_sql.SWEEP, values)
        woken.append(connection.execute(join_sql.FAILING_GO_ON, values))
        woken.append(connection.execute(join_sql.COMPLETE, values))
    waiting = sorted({one.run_id for one in settlements if _rests_on(one, "event")})
    if waiting:
        connection.execute(waits.WAKE_MATCHED, {"runs": waiting})
    looked = sorted({one.run_id for one in settlements if _rests_on(one, "child")})
    if looked:
        connection.execute(join_sql.WAKE_MISSED, {"runs": looked})
    children = sorted({one.run_id for one in settlements if one.parent_run and _ends(one)})
    if children:
        woken.append(connection.execute(join_sql.WAKE_PARENTS, {"runs": children}))
    parents = {one.parent_run for one in settlements if one.parent_run and _ends(one)}
    changed = sorted({*forked, *waiting, *looked, *parents})
    if changed:
        given_back = any(one.branch and isinstance(one.then, PutBack) for one in settlements)
        connection.execute(join_sql.DERIVE, {"runs": changed, "given_back": given_back})
    return woken


def _may_join(one: Settlement) -> bool:
    return one.fork is not None or _rests_on(one, "branches")


def _rests_on(one: Settlement, what: str) -> bool:
    return isinstance(one.then, PutBack) and one.then.rest == what


def _ends(one: Settlement) -> bool:
    return isinstance(one.then, End)
