"""Load for minutes: is the last one as fast as the first, and what is left in the tables?

What the workers compute for a run is the same in every minute, so their CPU tells how fast the
machine was: where theirs and Postgres's have risen alike, others took it, and nothing has grown.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

import psycopg

from tests.benchmarks.jobs import FIVE, Shape
from tests.benchmarks.machine import cpu_seconds
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session

_WAVE_SECONDS = 5
_BLOAT = """
SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) / 1048576.0
FROM pg_stat_user_tables WHERE schemaname = 'taskplatform' AND relname IN ('work', 'runs')
"""


class _Wave(NamedTuple):
    """Runs per second, and CPU seconds of the workers and of Postgres, from a moment on."""

    at: float
    rate: float
    workers: float
    postgres: float


def _take(session: Session) -> Found:
    minutes, contender = session.plan.minutes, session.contender
    runs = round(contender.pace.bulk * _WAVE_SECONDS)
    with session.worker(Shape.RATE, FIVE) as workers:

        def used() -> tuple[float, float]:
            return cpu_seconds(workers), cpu_seconds([session.place.postgres])

        began = monotonic()
        waves: list[_Wave] = []
        while (now := monotonic() - began) < minutes * 60:
            before = used()
            rate = session.rate(contender.bulk, runs, FIVE)
            after = used()
            waves.append(_Wave(now, rate, after[0] - before[0], after[1] - before[1]))
    first = [one for one in waves if one.at < 60]
    last = [one for one in waves if one.at >= minutes * 60 - 60]
    found = Found(
        {
            "stability.first": _rate(first),
            "stability.last": _rate(last),
            "stability.ratio": _rate(last) / _rate(first),
            "stability.workers": _grown(first, last, lambda wave: wave.workers),
            "stability.postgres": _grown(first, last, lambda wave: wave.postgres),
        }
    )
    with psycopg.connect(session.place.database_url) as connection:
        for table, _, dead, size in connection.execute(_BLOAT):
            found.figures[f"stability.dead.{table}"] = float(dead)
            found.figures[f"stability.size.{table}"] = float(size)
    return found


def _rate(waves: Sequence[_Wave]) -> float:
    """Runs over the time that they took."""
    return len(waves) / sum(1 / one.rate for one in waves)


def _grown(first: Sequence[_Wave], last: Sequence[_Wave], of: Callable[[_Wave], float]) -> float:
    """What a wave takes in the last minute by what one takes in the first."""
    return (sum(map(of, last)) / len(last)) / (sum(map(of, first)) / len(first))


MEASURE = Measure("stability", ("platform",), _take)
