"""What real workers cost, in units that do not depend on how fast the machine is.

Taken by the benchmarks' own measures, which count every execution too.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.benchmarks.measures import MEASURES
from tests.benchmarks.rounds import take
from tests.benchmarks.servers import Servers, servers
from tests.benchmarks.session import Found, Plan

SMALL = Plan(seconds=0.3, lone=20, silences=1, backlog=6_000, io=100, idle=5.0)
# A plain worker is only looked at: it is given nothing, and what it does meanwhile is its affair.
LOOK = replace(SMALL, backlog=1_000_000, idle=0.0)

MOST_COMMITS_LOADED = 0.5
MOST_COMMITS_IDLE = 8.0
MOST_WAL_LOADED = 4_200.0
MOST_COMMANDS_IDLE_RUN = 20.0
MOST_TRANSACTIONS_A_SECOND = 15.0
MOST_COMMANDS_A_SECOND = 5.0
MOST_IDLE_CPU = 1.5
MOST_GROWTH_MB = 15.0
MOST_TIMES_A_PLAIN_WORKER = 1.25


@pytest.fixture(scope="module")
def alone() -> Iterator[Servers]:
    """Servers of this module's own: counters of a whole server are read."""
    with servers() as made:
        yield made


def taken(
    alone: Servers, measure: str, contender: str = "platform", plan: Plan = SMALL
) -> dict[str, float]:
    (found,) = take(alone, MEASURES[measure], [contender], plan, 1)[contender]
    assert isinstance(found, Found), found
    return found.figures


@pytest.mark.timeout(300)
def test_loaded_runs_share_commits(alone: Servers) -> None:
    """Q20, Q21: at most half a commit for a run of five steps, and a bounded log."""
    found = taken(alone, "rate")
    assert found["five.commits"] <= MOST_COMMITS_LOADED
    assert found["five.wal"] <= MOST_WAL_LOADED


@pytest.mark.timeout(300)
def test_a_lone_run_costs_few_commits(alone: Servers) -> None:
    """Q20: its enqueue, its claim and its five steps; little of Redis."""
    found = taken(alone, "latency")
    assert found["lone.commits"] <= MOST_COMMITS_IDLE
    assert found["lone.commands"] <= MOST_COMMANDS_IDLE_RUN


@pytest.mark.timeout(300)
def test_an_idle_worker_is_quiet_and_small(alone: Servers) -> None:
    """M10, Q21: few queries and commands, little CPU, memory like a plain Celery worker's."""
    found = taken(alone, "memory")
    assert found["idle.transactions"] <= MOST_TRANSACTIONS_A_SECOND
    assert found["idle.commands"] <= MOST_COMMANDS_A_SECOND
    assert found["idle.cpu"] <= MOST_IDLE_CPU
    assert found["memory.growth"] <= MOST_GROWTH_MB
    plain = taken(alone, "memory", "plain", LOOK)
    assert found["memory.pss"] <= MOST_TIMES_A_PLAIN_WORKER * plain["memory.pss"]
