"""Costs: how long each step has taken lately, so that a claim takes no more than fits."""

# What a claim may take at once, in seconds of expected work.
BUDGET = 0.005
# More is never worth the locks.
MOST = 200
# What the platform itself spends on a step of a batch.
_OVERHEAD = 0.00004
_WEIGHT = 0.2


class Costs:
    """Expected seconds by `pipeline.step`: a moving average that believes a slow one at once."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}

    def observe(self, task_name: str, seconds: float) -> None:
        """Take one execution into account."""
        seconds += _OVERHEAD
        known = self.known.get(task_name)
        if known is None or seconds > 4 * BUDGET:
            self.known[task_name] = seconds
        else:
            self.known[task_name] = known + _WEIGHT * (seconds - known)

    def limit(self) -> int:
        """How many rows a claim should look at."""
        cheapest = min(self.known.values(), default=BUDGET)
        return max(1, min(MOST, int(BUDGET / cheapest)))
