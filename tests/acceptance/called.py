"""What the outside API saw, judged by nothing but its own log."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Called:
    """The calls under one limit, by the API's clock, in seconds."""

    times: list[float]
    limit: int
    window: float

    @property
    def over(self) -> int:
        """How many windows hold more than the limit; any of them begins with a call."""
        return sum(gap < self.window for gap in self.gaps)

    @property
    def gaps(self) -> list[float]:
        """From each call to the one that has to be in another window."""
        return [later - at for at, later in zip(self.times, self.times[self.limit :], strict=False)]

    @property
    def utilisation(self) -> float:
        """For how much of the time the places of the limit were taken, while somebody waited.

        A place is taken for a window by each call; how much later the next one takes it is lost.
        """
        return self.window * len(self.gaps) / sum(self.gaps)

    def __str__(self) -> str:
        return (
            f"{len(self.times)} calls at {self.limit} in {self.window:g} s: {self.over} windows "
            f"over the limit, the closest {min(self.gaps):.3f} s apart, utilisation "
            f"{self.utilisation:.1%}"
        )


def called(folder: Path, limits: dict[str, tuple[int, float]]) -> dict[str, Called]:
    """The calls under each of these limits (calls, seconds)."""
    times: dict[str, list[float]] = defaultdict(list)
    for line in (folder / "calls.jsonl").read_text().splitlines():
        seen = json.loads(line)
        times[seen["limit"]].append(seen["mono"] / 1e9)
    return {name: Called(sorted(times[name]), *limits[name]) for name in limits}
