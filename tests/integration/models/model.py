"""What should be true of runs: a few dictionaries, and no database."""

from dataclasses import dataclass, field
from uuid import UUID

HOUR = 3600.0
DAY = 24 * HOUR
STEPS = ("a", "b", "c")
ENDED = ("succeeded", "failed", "cancelled")
MOST_CRASHES = 3
LIMIT, WINDOW = 3, HOUR


@dataclass
class Run:
    """One run. Moments are seconds of the model's own clock."""

    status: str
    order: tuple[float, int]
    key: str | None = None
    owns_key: bool = False
    request: str | None = None
    reason: str | None = None
    due: float | None = None
    ended: float | None = None
    step: str = "a"
    epoch: int | None = None
    holder: int | None = None
    started: bool = False
    suspect: bool = False
    own: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    bad: list[str] = field(default_factory=list)
    crashes: list[tuple[str, float]] = field(default_factory=list)

    @property
    def done(self) -> set[str]:
        return self.own | self.reused

    @property
    def ready(self) -> bool:
        return self.status not in ENDED and self.holder is None and self.due is None


class Model:
    """All runs, keys and holders, and what each move does to them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.orders = 0
        self.runs: dict[UUID, Run] = {}
        self.keys: dict[str, tuple[UUID, float | None]] = {}
        self.leases: dict[int, bool] = {}
        self.grants: list[float] = []

    def owner(self, key: str) -> UUID | None:
        """Whose the key is now."""
        run, until = self.keys.get(key, (None, None))
        return None if until is not None and until <= self.now else run

    def next_order(self, delay: float | None = None) -> tuple[float, int]:
        """A place in line: by when it is to start first, then by when it was made."""
        self.orders += 1
        return self.now + (delay or 0.0), self.orders

    def enqueue(
        self, id: UUID, key: str | None, request: str | None, delay: float | None, forced: bool
    ) -> UUID:
        """Which run stands for it."""
        for known, run in self.runs.items():
            if request is not None and run.request == request:
                return known
        if key and not forced:
            if (owner := self.owner(key)) is not None:
                return owner
            self.keys[key] = (id, None)
        due = self.now + delay if delay else None
        status = "scheduled" if delay else "queued"
        self.runs[id] = Run(status, self.next_order(delay), key, due=due)
        self.runs[id].owns_key = key is not None and not forced
        self.runs[id].request = request
        return id

    def claim(self, limit: int, unknown: bool) -> list[UUID]:
        """Which runs: in order, and whoever is suspected of a crash only alone."""
        ready = sorted((run.order, id) for id, run in self.runs.items() if run.ready)
        taken: list[UUID] = []
        for _, id in ready[:limit]:
            if taken and (unknown or self.runs[id].suspect):
                break
            taken.append(id)
            if unknown or self.runs[id].suspect:
                break
        return taken

    def take(self, id: UUID, holder: int, epoch: int, unknown: bool) -> None:
        run = self.runs[id]
        run.holder, run.epoch, run.started = holder, epoch, unknown or run.suspect
        if run.started:
            self.start(run)

    def start(self, run: Run) -> None:
        run.status, run.reason = "running", None

    def keep(self, run: Run, following: str, mark: bool) -> None:
        run.own.add(run.step)
        run.step, run.started, run.suspect = following, mark, False
        if mark:
            self.start(run)

    def put_back(
        self, run: Run, step: str, delay: float | None, reason: str | None, *, tried: bool = False
    ) -> None:
        run.suspect = run.suspect and run.step == step and not tried
        run.holder, run.epoch, run.started, run.step = None, None, False, step
        run.due = None if delay is None else self.now + delay
        run.status, run.reason = ("queued", None) if delay is None else ("waiting", reason)

    def end(self, id: UUID, status: str, window: float | None) -> None:
        run = self.runs[id]
        run.status, run.reason, run.due = status, None, None
        run.holder, run.epoch, run.ended = None, None, self.now
        for key in [key for key, (owner, _) in self.keys.items() if owner == id]:
            if status == "cancelled":
                del self.keys[key]
            else:
                self.keys[key] = (id, self.now + (window or 0.0))

    def retry(self, id: UUID) -> str:
        """What a person is told: conflict, taken, queued (before) or taken-up."""
        run = self.runs[id]
        if run.status == "waiting" and run.reason in ("retry", "parked"):
            run.status, run.reason, run.due, run.crashes = "queued", None, None, []
            return "taken-up"
        if run.status != "failed":
            return "queued" if run.status == "queued" else "conflict"
        if run.owns_key and run.key:
            if self.owner(run.key) not in (None, id):
                return "taken"
            self.keys[run.key] = (id, None)
        run.status, run.ended, run.order, run.suspect = "queued", None, self.next_order(), False
        run.crashes = []
        run.step = next((step for step in STEPS if step not in run.done), "c")
        return "taken-up"

    def lost(self) -> list[int]:
        """Holders whose lease is over, or who hold something without one."""
        holding = {run.holder for run in self.runs.values() if run.holder is not None}
        return sorted(
            {h for h, lives in self.leases.items() if not lives} | holding - set(self.leases)
        )

    def rescue(self, holder: int) -> None:
        """A lone body is taken to be the crash; whoever was only near is suspected of it."""
        held = [run for run in self.runs.values() if run.holder == holder]
        for run in held:
            if not (len(held) == 1 and run.started):
                self.put_back(run, run.step, None, None)
                run.suspect = True
                continue
            run.bad.append("crashed")
            run.crashes.append((run.step, self.now))
            recent = [
                moment
                for step, moment in run.crashes
                if step == run.step and moment > self.now - DAY
            ]
            parks = len(recent) >= MOST_CRASHES
            self.put_back(run, run.step, float("inf") if parks else None, "parked", tried=True)
            run.suspect = True
        self.leases.pop(holder, None)

    def release(self) -> None:
        for run in self.runs.values():
            if run.due is not None and run.due <= self.now:
                run.status, run.reason, run.due = "queued", None, None

    def prune(self, days: int) -> None:
        old = self.now - days * DAY
        for id in [
            id for id, run in self.runs.items() if run.ended is not None and run.ended < old
        ]:
            del self.runs[id]
            self.keys = {key: held for key, held in self.keys.items() if held[0] != id}

    def granted(self) -> bool:
        """Whether the limit has room: a grant counts for its window and one percent."""
        if sum(self.now - moment < WINDOW * 1.01 for moment in self.grants) >= LIMIT:
            return False
        self.grants.append(self.now)
        return True
