"""Mutants of what decides whether a result may be committed, and what is executed after it."""

import time
from threading import Thread
from typing import Any

from taskplatform.executor import child as children
from taskplatform.executor.child import Child
from taskplatform.storage import claim, join_sql, settle_sql
from taskplatform.storage.settle_rows import encode
from tests.chaos.mutants.statements import change, put


def no_fence() -> None:
    """Whoever comes late may write."""
    change(settle_sql, "AND w.epoch = d.epoch", "")
    change(settle_sql, settle_sql.IS_HELD, "true")


def check_then_write() -> None:
    """The epoch is read first, and what is written then is written without another look."""
    check = settle_sql.LOCK_WORK.replace("FOR UPDATE OF w", "")
    no_fence()
    real = vars(children)["settle"]

    def settle(connection: Any, settlements: Any, **more: Any) -> set[int]:
        rows = [{"work_id": one.work_id, "epoch": one.epoch} for one in settlements]
        held = {row[0] for row in connection.execute(check, (encode(rows),))}
        # On a busy machine there is time between any two lines.
        time.sleep(4.0)
        accepted: set[int] = real(
            connection, [one for one in settlements if one.work_id in held], **more
        )
        return accepted & held

    vars(children)["settle"] = settle


def epoch_from_one() -> None:
    """Every claim of a row has the same epoch."""
    change(claim, "nextval('taskplatform.epochs')", "1")


def memo_lost() -> None:
    """Whoever takes over does not see what is done."""
    real = claim.claimed

    def claimed(row: Any) -> Any:
        one = real(row)
        one.outputs.clear()
        one.versions.clear()
        return one

    put(claim, "claimed", claimed)
    change(settle_sql, "WHERE old.version <> excluded.version", "")


def goes_on_before_the_commit() -> None:
    """The next step starts while the result of the one before is on its way."""
    real = Child.settle

    def settle(child: Child, settlements: Any) -> set[int]:
        if child.__dict__.get("late"):
            child.__dict__.pop("late").join()

        def later() -> None:
            time.sleep(0.05)
            real(child, settlements)

        child.__dict__["late"] = thread = Thread(target=later)
        thread.start()
        return {one.work_id for one in settlements}

    put(Child, "settle", settle)


def unlocked_join() -> None:
    """Open branches are counted as they were before the lock was granted."""
    change(settle_sql, "ORDER BY id FOR NO KEY UPDATE", "ORDER BY id")
    change(
        join_sql,
        "SET pending = p.pending - places.many",
        "SET pending = (SELECT count(*) FROM taskplatform.work b WHERE b.parent = p.id)"
        " - places.many",
    )
