"""The bars that have to be met, and the goals beyond them."""

from dataclasses import dataclass

from tests.benchmarks.contenders import OURS
from tests.benchmarks.summary import Summary


@dataclass(frozen=True, slots=True)
class Bar:
    """At least (or at most) so much of a figure; `against` a contender, so many times theirs."""

    figure: str
    bar: float
    goal: float
    against: str | None = None
    at_most: bool = False
    ours: str = OURS

    @property
    def least(self) -> str:
        """How the bar is read."""
        return "≤" if self.at_most else "≥"

    def reached(self, value: float, wanted: float) -> bool:
        """Whether the value is as good as wanted."""
        return value <= wanted if self.at_most else value >= wanted

    def got(self, summary: Summary) -> float | None:
        """What was measured; None if it was not."""
        if self.against is None:
            return summary.value(self.figure, self.ours)
        ratio = summary.ratio(self.figure, self.ours, self.against)
        return None if ratio is None else ratio.median


BARS = (
    Bar("five.bulk", 40, 100, "chain"),
    Bar("five.bulk", 70, 180, "dbos"),
    Bar("five.bulk", 12, 35, "restate"),
    Bar("five.bulk", 12, 35, "pgqueuer"),
    Bar("five.bulk", 55, 140, "memo"),
    Bar("five.stream", 7, 13, "chain"),
    Bar("five.stream", 12, 22, "dbos"),
    Bar("one.bulk", 15, 35, "plain"),
    Bar("lone.done.p50", 0.5, 0.28, "chain", at_most=True),
    Bar("lone.done.p99", 20, 10, at_most=True),
    Bar("lone.done.worst", 300, 60, at_most=True),
    Bar("enqueue.single", 1.2, 2, "plain"),
    Bar("enqueue.bulk", 20_000, 50_000),
    Bar("io.threads", 1.25, 1.08, at_most=True),
    Bar("io.async", 1.25, 1.08, at_most=True),
    Bar("io.thousand", 1.5, 1.15, at_most=True),
    Bar("history.five", 0.9, 0.97, "empty", ours="million"),
    Bar("history.five", 0.9, 0.97, "empty", ours="million-never-analysed"),
    Bar("history.five", 0.9, 0.97, "empty", ours="waiting"),
    Bar("stability.ratio", 0.95, 0.99),
    Bar("memory.pss", 1.25, 1.1, "plain", at_most=True),
    Bar("memory.growth", 30, 5, at_most=True),
    Bar("idle.cpu", 1, 0.3, at_most=True),
    Bar("five.commits", 0.5, 0.1, at_most=True),
    Bar("lone.commits", 8, 7, at_most=True),
    Bar("five.wal", 3500, 2500, at_most=True),
    Bar("task.rate", 0.95, 1, "plain", ours="app-task"),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A bar, and what was measured."""

    bar: Bar
    got: float
    met: bool
    goal_met: bool


def judge(summary: Summary) -> list[Judged]:
    """Every bar of which the figure was measured."""
    found = ((bar, bar.got(summary)) for bar in BARS)
    return [
        Judged(bar, got, bar.reached(got, bar.bar), bar.reached(got, bar.goal))
        for bar, got in found
        if got is not None
    ]
