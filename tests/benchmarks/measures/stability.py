"""Load for minutes: is the last one as fast as the first, and what is left in the tables?"""

from time import monotonic

import psycopg

from tests.benchmarks.jobs import FIVE, Shape
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session

_WAVE_SECONDS = 5
_BLOAT = """
SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) / 1048576.0
FROM pg_stat_user_tables WHERE schemaname = 'taskplatform' AND relname IN ('work', 'runs')
"""


def _take(session: Session) -> Found:
    minutes, contender = session.plan.minutes, session.contender
    runs = round(contender.pace.bulk * _WAVE_SECONDS)
    with session.worker(Shape.RATE, FIVE):
        began = monotonic()
        waves: list[tuple[float, float]] = []
        while (now := monotonic() - began) < minutes * 60:
            waves.append((now, session.rate(contender.bulk, runs, FIVE)))
    first, last = _mean(waves, 0.0), _mean(waves, minutes * 60 - 60)
    found = Found(
        {"stability.first": first, "stability.last": last, "stability.ratio": last / first}
    )
    with psycopg.connect(session.place.database_url) as connection:
        for table, _, dead, size in connection.execute(_BLOAT):
            found.figures[f"stability.dead.{table}"] = float(dead)
            found.figures[f"stability.size.{table}"] = float(size)
    return found


def _mean(waves: list[tuple[float, float]], start: float) -> float:
    """Of the waves that began in the minute from `start` on: runs over the time they took."""
    rates = [rate for at, rate in waves if start <= at < start + 60]
    return len(rates) / sum(1 / rate for rate in rates)


MEASURE = Measure("stability", ("platform",), _take)
