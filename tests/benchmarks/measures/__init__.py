"""The measures: what is taken of whom, one module each, each taking one contender's turn."""

from tests.benchmarks.measures import (
    enqueue,
    history,
    io,
    latency,
    memory,
    rate,
    stability,
    tasks,
)
from tests.benchmarks.measures.measure import Measure

MEASURES: dict[str, Measure] = {
    one.name: one
    for one in (
        rate.MEASURE,
        latency.MEASURE,
        enqueue.MEASURE,
        io.MEASURE,
        io.THOUSAND,
        memory.MEASURE,
        tasks.MEASURE,
        history.MEASURE,
        stability.MEASURE,
    )
}
