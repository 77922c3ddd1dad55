"""Costs: how long each step has taken lately, so that a claim takes no more than fits."""

from collections.abc import Iterator, Mapping

# What a claim may take at once, in seconds of expected work.
BUDGET = 0.005
# More is never worth the locks.
MOST = 200
# What the platform itself spends on a step of a batch.
_OVERHEAD = 0.00004
_WEIGHT = 0.2


class Costs(Mapping[str, float]):
    """Expected seconds by `pipeline.step`: a moving average that believes a slow one at once."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def observe(self, task_name: str, seconds: float) -> None:
        """Take one execution into account."""
        seconds += _OVERHEAD
        known = self._seconds.get(task_name)
        if known is None or seconds > 4 * BUDGET:
            self._seconds[task_name] = seconds
        else:
            self._seconds[task_name] = known + _WEIGHT * (seconds - known)

    def limit(self) -> int:
        """How many rows a claim should look at."""
        cheapest = min(self._seconds.values(), default=BUDGET)
        return max(1, min(MOST, int(BUDGET / cheapest)))

    def __getitem__(self, task_name: str) -> float:
        return self._seconds[task_name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._seconds)

    def __len__(self) -> int:
        return len(self._seconds)
