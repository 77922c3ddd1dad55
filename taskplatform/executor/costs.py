"""Costs: how long each step has taken lately, so that a claim takes no more than fits."""

# What a claim may take at once, in seconds of expected work.
BUDGET = 0.005
# More is never worth the locks.
MOST = 250
# What the platform itself spends on a step of a batch.
_OVERHEAD = 0.00001
_WEIGHT = 0.2
# So many times slower than expected is odd.
_ODD = 4.0
# What is slower than expected may have lost its core for a moment, odd or not: one execution
# raises the expectation by a twentieth at most.
_SLOWER = 1.25


class Costs:
    """Expected seconds by `pipeline.step`: a moving average, unmoved by a single odd one.

    An odd one may only have lost its core to another process. If its step has become slow, the
    next one is odd, too, and believed at once; what is held meanwhile, the supervisor gives back.
    """

    def __init__(self) -> None:
        self.known: dict[str, float] = {}
        self._odd: set[str] = set()

    def observe(self, task_name: str, seconds: float) -> None:
        """Take one execution into account."""
        seconds += _OVERHEAD
        known = self.known.get(task_name)
        if known is None:
            self.known[task_name] = seconds
            return
        if seconds <= _ODD * known:
            if self._odd:
                self._odd.discard(task_name)
        elif task_name in self._odd:
            self.known[task_name] = seconds
            return
        else:
            self._odd.add(task_name)
        self.known[task_name] = known + _WEIGHT * (min(seconds, _SLOWER * known) - known)

    def limit(self) -> int:
        """How many rows a claim should look at."""
        cheapest = min(self.known.values(), default=BUDGET)
        return max(1, min(MOST, int(BUDGET / cheapest)))
