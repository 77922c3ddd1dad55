"""Tenants that share a queue, with real workers."""

from pathlib import Path

import pytest

from taskplatform import enqueue_many
from taskplatform.storage import lanes
from taskplatform.storage.connection import Session, connect
from tests.acceptance.fair import Job, shared
from tests.acceptance.processes import wait_for, worker

Env = dict[str, str]
CHILDREN = 2

_DONE = """
SELECT r.owner, s.started_at, extract(epoch FROM s.finished_at - s.started_at)::double precision
FROM taskplatform.step_results s JOIN taskplatform.runs r ON r.id = s.run_id
WHERE s.started_at >= %s ORDER BY s.started_at
"""


def jobs(tenant: str, many: int, seconds: float = 0.02) -> list[Job]:
    return [Job(tenant=tenant, seconds=seconds)] * many


def test_tenants_share_workers_by_time_and_weight(env: Env, log: Path) -> None:
    """Q14: 10,000 runs of one tenant delay another's ten by no more than their share, and weights
    are kept to within ten per cent, though their bodies are of different lengths."""
    env = {**env, "TASKPLATFORM_PIPELINES": "tests.acceptance.fair"}
    enqueue_many(shared, jobs("a", 10_000))
    with connect(env["TASKPLATFORM_DATABASE_URL"]) as database:

        def moment() -> object:
            (row,) = database.execute("SELECT clock_timestamp()").fetchall()
            return row[0]

        with worker(env, log, "-c", str(CHILDREN)):
            began = moment()
            wait_for(lambda: len(database.execute(_DONE, [began]).fetchall()) > 50, 30, "at work")
            since = moment()
            enqueue_many(shared, jobs("b", 10))
            wait_for(lambda: _done(database, since).get("b", [])[9:] != [], 20, "ten of b")
            order = [row[0] for row in database.execute(_DONE, [since]).fetchall()]
            assert len(order[: _last(order, "b") + 1]) <= 30

            lanes.weigh(database, "d", 3.0)
            enqueue_many(shared, [*jobs("c", 300, 0.04), *jobs("d", 900, 0.01)])
            wait_for(lambda: len(_done(database, since).get("d", [])) > 20, 20, "d is at work")
            since = moment()
            # So long that a body of c more or less, which lasts 40 ms, makes no difference.
            wait_for(lambda: sum(_done(database, since).get("d", [])) > 5, 60, "d has worked")
            used = {name: sum(spent) for name, spent in _done(database, since).items()}
    assert used["d"] / (used["c"] + used["d"]) == pytest.approx(3 / 4, rel=0.1)
    assert used["a"] / (used["a"] + used["c"]) == pytest.approx(1 / 2, rel=0.1)


def _done(database: Session, since: object) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for tenant, _, seconds in database.execute(_DONE, [since]).fetchall():
        found.setdefault(tenant, []).append(seconds)
    return found


def _last(order: list[str], tenant: str) -> int:
    return max(place for place, one in enumerate(order) if one == tenant)
