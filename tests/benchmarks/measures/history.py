"""The platform's rates in tables that have grown: against those that are as good as empty."""

import random

from tests.benchmarks.jobs import FIVE, ONE, Shape
from tests.benchmarks.measures.measure import Measure
from tests.benchmarks.session import Found, Session

# Its own share of the time: these turns last longer, since what is sought is small.
_LONGER = 3


def _take(session: Session) -> Found:
    contender, pace, found = session.contender, session.contender.pace, Found()
    with session.worker(Shape.RATE, ONE, FIVE):
        found.figures["history.one"] = session.rate(contender.bulk, session.runs(pace.one), ONE)
        found.figures["history.stream"] = session.rate(
            session.stream, session.runs(pace.stream), FIVE
        )
        found.figures["history.five"] = session.rate(
            contender.bulk, session.runs(pace.bulk) * _LONGER, FIVE
        )
        _, found.samples["history.done"] = session.lone(
            session.plan.lone // 4, lambda: random.uniform(0.0, 0.02)
        )
    return found


MEASURE = Measure(
    "history",
    ("platform",),
    _take,
    databases=("empty", "million", "million-never-analysed", "waiting"),
)
