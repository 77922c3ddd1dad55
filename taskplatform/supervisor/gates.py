"""Gates: letting go who stands in line, when there is room again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic

from taskplatform.storage import gates, retry_budgets, throttle_lines
from taskplatform.storage.connection import Session
from taskplatform.storage.dispatch import BATCH, release_due
from taskplatform.storage.throttles import KIND
from taskplatform.supervisor import slots
from taskplatform.supervisor.session import Database

# Whoever frees room, or knows when there will be some, says so; what was lost of that is found
# within this time.
HEAL_EVERY = 1.0
# However long the lines are, looking at all of them may take so much of the time.
_SHARE = 0.05
_PAGE = 200
_MOST_BATCHES = 20

# Tells the room at gates of its kind, having locked what nobody else may count meanwhile; gates
# that somebody else sees to are left out.
Keeper = Callable[[Session, Sequence[str]], Sequence[gates.Room]]

KEEPERS: dict[str, Keeper] = {
    KIND: throttle_lines.wake,
    "concurrency": slots.concurrency,
    "breaker": slots.breaker,
    retry_budgets.KIND: retry_budgets.rooms,
}


class Gates:
    """The lines at all gates, which every supervisor sees to."""

    def __init__(
        self,
        database: Database,
        ring: Callable[[dict[str, int]], None],
        keepers: Mapping[str, Keeper] = KEEPERS,
    ) -> None:
        self._database = database
        self._ring = ring
        self._keepers = keepers

    def let_go(self) -> int:
        """Let go whose time has come by the clock; how many went."""
        went = self._database.ask(throttle_lines.let_go, 0)
        if went:
            self.make_ready()
        return went

    def heal(self) -> float:
        """Look at every line; return in how many seconds to look again."""
        if not self._database.ask(gates.any_in_line, False):
            return HEAL_EVERY
        began = monotonic()
        for kind in self._keepers:
            self.see_to(kind)
        self._database.ask(gates.sweep, None)
        return max(HEAL_EVERY, (monotonic() - began) / _SHARE)

    def see_to(self, kind: str) -> None:
        """Let go of the lines of one kind whoever there is room for."""
        for page in self._pages(kind):
            self._let_go(self._keepers[kind], page)

    def _pages(self, kind: str) -> Iterator[list[str]]:
        page: list[str] = [""]
        while page := self._database.ask(partial(self._page, kind, page[-1]), []):
            yield page

    def _page(self, kind: str, after: str, connection: Session) -> list[str]:
        return gates.lines(connection, kind, after, _PAGE)

    def _let_go(self, keeper: Keeper, page: Sequence[str]) -> None:
        def let_go(connection: Session) -> int:
            with connection.transaction():
                rooms = keeper(connection, page)
                return sum(gates.release(connection, rooms).values()) if rooms else 0

        if self._database.ask(let_go, 0):
            self.make_ready()

    def make_ready(self) -> None:
        """Make what is due ready, and ring for it."""
        for _ in range(_MOST_BATCHES):
            nothing: dict[str, int] = {}
            ready = self._database.ask(release_due, nothing)
            self._ring(ready)
            if sum(ready.values()) < BATCH:
                break
