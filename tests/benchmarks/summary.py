"""What the rounds say together: of every figure the median and spread, and ratios per round."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from tests.benchmarks.rounds import Turns
from tests.benchmarks.session import Found

_SHARES = {"p50": 49, "p95": 94, "p99": 98}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of values, the least and the most."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return Spread(median(values), min(values), max(values))


@dataclass
class Summary:
    """By figure and contender, round by round; None where a turn went wrong."""

    rounds: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    # Percentiles over the samples of all rounds, which have more of them than one round has.
    pooled: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, turns: Turns) -> None:
        """Take in what a measure came to."""
        for contender, found in turns.items():
            good = [one for one in found if isinstance(one, Found)]
            bad = [one for one in found if isinstance(one, str)]
            if bad:
                self.problems.setdefault(contender, []).extend(bad)
            for name in dict.fromkeys(name for one in good for name in one.figures):
                self.rounds.setdefault(name, {})[contender] = [
                    one.figures.get(name) if isinstance(one, Found) else None for one in found
                ]
            for name in dict.fromkeys(name for one in good for name in one.samples):
                self._add_samples(contender, name, found)

    def spread(self, figure: str, contender: str) -> Spread | None:
        """Of the figure, if it was measured."""
        values = [one for one in self._values(figure, contender) if one is not None]
        return Spread.of(values) if values else None

    def value(self, figure: str, contender: str) -> float | None:
        """Over all rounds: pooled for percentiles, else the median."""
        if (pooled := self.pooled.get(figure, {}).get(contender)) is not None:
            return pooled
        spread = self.spread(figure, contender)
        return None if spread is None else spread.median

    def ratio(self, figure: str, ours: str, theirs: str) -> Spread | None:
        """Ours by theirs, formed in each round: what slowed a whole round is in both."""
        pairs = zip(self._values(figure, ours), self._values(figure, theirs), strict=False)
        ratios = [our / their for our, their in pairs if our is not None and their]
        return Spread.of(ratios) if ratios else None

    def _values(self, figure: str, contender: str) -> list[float | None]:
        return self.rounds.get(figure, {}).get(contender, [])

    def _add_samples(self, contender: str, name: str, found: Iterable[Found | str]) -> None:
        rounds = [one.samples.get(name) if isinstance(one, Found) else None for one in found]
        together = [value for one in rounds if one for value in one]
        for share in (*_SHARES, "worst"):
            self.rounds.setdefault(f"{name}.{share}", {})[contender] = [
                _at(one, share) if one else None for one in rounds
            ]
            self.pooled.setdefault(f"{name}.{share}", {})[contender] = _at(together, share)


def _at(values: Sequence[float], share: str) -> float:
    if share == "worst" or len(values) == 1:
        return max(values)
    return quantiles(values, n=100, method="inclusive")[_SHARES[share]]
