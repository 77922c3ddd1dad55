"""What happens in a run, as it happens."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from taskplatform.client.session import call
from taskplatform.core.run import FINAL
from taskplatform.errors import Unavailable, WaitTimeout
from taskplatform.storage import changes
from taskplatform.storage.changes import ChangeRow

if TYPE_CHECKING:
    from taskplatform.client.run import Run

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.2
_OUTAGE = 30.0


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened in a run; `status` and `reason` are the run's at that look.

    A `status` has changed, a `step` has its output, an `attempt` ended without one (`outcome`
    says how), or a body or a map made `progress`: `done` of `total`.
    """

    kind: Literal["status", "step", "attempt", "progress"]
    status: str
    reason: str | None
    at: datetime
    step: str | None = None
    attempt: int | None = None
    outcome: str | None = None
    done: float | None = None
    total: float | None = None


def stream(run: "Run[Any]", timeout: float | None) -> Iterator[Change]:
    """The changes of a run up to its end; see Run.stream."""
    feed = _Feed(run, timeout)
    while True:
        yield from feed.look()
        if feed.ended:
            return
        time.sleep(feed.pause())


async def astream(run: "Run[Any]", timeout: float | None) -> AsyncIterator[Change]:
    """Like `stream`, without blocking the event loop."""
    feed = _Feed(run, timeout)
    while True:
        for change in await asyncio.to_thread(feed.look):
            yield change
        if feed.ended:
            return
        await asyncio.sleep(feed.pause())


class _Feed:
    """Looks at a run, and tells what is new since the last look."""

    def __init__(self, run: "Run[Any]", timeout: float | None) -> None:
        self.ended = False
        self._run = run
        self._timeout = timeout
        self._answered = time.monotonic()
        self._deadline = None if timeout is None else self._answered + timeout
        self._pause = _FIRST_PAUSE
        self._stood: tuple[str, str | None] | None = None
        self._told: set[tuple[str, str | None, int | None]] = set()
        self._progress: dict[str | None, tuple[float | None, float | None]] = {}

    def look(self) -> list[Change]:
        """What is new, in order; the final status is the last. Raises NotCommitted, RunNotFound."""
        try:
            rows = call(lambda connection, _: changes.changes(connection, self._run.id))
        except Unavailable:
            if time.monotonic() > self._answered + _OUTAGE or self._stood is None:
                raise
            return []
        self._answered = time.monotonic()
        stands = next((row for row in rows if row.kind == "status"), None)
        if stands is None:
            raise self._run._missing()
        found = self._news(stands, rows)
        self._pause = _FIRST_PAUSE if found else min(self._pause * 1.5, _LONGEST_PAUSE)
        return found

    def pause(self) -> float:
        """In how many seconds to look again. Raises WaitTimeout."""
        if self._deadline is None:
            return self._pause
        left = self._deadline - time.monotonic()
        if left <= 0:
            assert self._stood is not None
            raise WaitTimeout(
                f"run {self._run.id} did not end within {self._timeout:g} s: it is {self._stood[0]}"
            )
        return min(self._pause, left)

    def _news(self, stands: ChangeRow, rows: list[ChangeRow]) -> list[Change]:
        status, reason = str(stands.status), stands.reason
        news = [row for row in rows if row is not stands and self._is_new(row)]
        news.sort(key=lambda row: (row.kind == "progress", row.at))
        found = [
            Change(
                kind=row.kind,  # type: ignore[arg-type]
                status=status,
                reason=reason,
                at=row.at,
                step=row.step,
                attempt=row.number,
                outcome=row.outcome,
                done=row.done,
                total=row.total,
            )
            for row in news
        ]
        self.ended = status in FINAL
        if self._stood != (status, reason):
            changed = Change("status", status, reason, stands.at)
            # The present state comes first, and the end last.
            found.insert(0 if self._stood is None and not self.ended else len(found), changed)
            self._stood = status, reason
        return found

    def _is_new(self, row: ChangeRow) -> bool:
        if row.kind == "progress":
            told, self._progress[row.step] = self._progress.get(row.step), (row.done, row.total)
            return told != (row.done, row.total)
        place = (row.kind, row.step, row.number)
        new = place not in self._told
        self._told.add(place)
        return new
