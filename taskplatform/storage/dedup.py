"""What an enqueue does besides storing: for keys that are taken, for bursts and for batches.

Scripts, so that it is the same in a transaction of the platform's and in one of the caller's. What
none of the rows asks for costs nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from taskplatform.errors import KeyTaken, RunNotFound
from taskplatform.storage import batches, bursts
from taskplatform.storage.cancel import cancelling
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun
from taskplatform.storage.script import Script, Statement

_OWNERS = """
SELECT k.run_id, k.key FROM unnest(%s::text[], %s::text[]) AS given(pipeline, key)
JOIN taskplatform.keys k ON k.pipeline = given.pipeline AND k.key = given.key
WHERE k.expires_at IS NULL AND k.run_id <> ALL (%s::uuid[])
ORDER BY k.run_id
"""


def asks(rows: Sequence[NewRun]) -> bool:
    """Whether any of the rows wants more than to be stored."""
    return any(row.debounce or row.batch or row.singleton != "return" for row in rows)


def before(
    rows: Sequence[NewRun], *, again: bool
) -> Script[tuple[dict[UUID, Enqueued], list[UUID]]]:
    """Join the runs of bursts, and cancel what rows are to take the place of.

    Answers who has joined, and which of the cancelled runs had slots.
    """
    limited = yield from _make_room(rows)
    return (yield from bursts.join(rows, again=again)), limited


def after(rows: Sequence[NewRun], found: Mapping[UUID, Enqueued]) -> Script[None]:
    """Make the new runs members of their batches.

    Raises KeyTaken for a row that was to have its key or nothing.
    """
    for row in rows:
        one = found.get(row.id)
        if row.singleton == "raise" and one is not None and one.owns_key and not one.created:
            raise KeyTaken(
                f"key {row.key!r} of {row.pipeline} belongs to run {one.id}, which is {one.status}:"
                " nothing was enqueued"
            )
    if statements := batches.members(rows, [id for id, one in found.items() if one.created]):
        yield statements


def _make_room(rows: Sequence[NewRun]) -> Script[list[UUID]]:
    wanted = {
        row.key: row
        for row in rows
        if row.owned_key is not None and row.singleton in ("replace", "cancel-oldest")
    }
    if not wanted:
        return []
    keyed = list(wanted.values())
    [owners] = yield [
        Statement(
            _OWNERS,
            (
                [row.pipeline for row in keyed],
                [row.key for row in keyed],
                [row.id for row in rows],
            ),
        )
    ]
    freed: list[UUID] = []
    for owner, key in owners:
        unless_begun = wanted[key].singleton == "replace"
        with suppress(RunNotFound):
            _, limited = yield from cancelling(owner, unless_begun=unless_begun)
            freed += limited
    return freed
