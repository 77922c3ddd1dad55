"""Urgent runs before a backlog, and a pause of that backlog; with 100,000 runs: a benchmark."""

from statistics import median

from tests.benchmarks.urgent import QUIET, measure

Env = dict[str, str]


def test_an_urgent_run_starts_at_once_and_a_pause_loads_nobody(env: Env) -> None:
    """Q9, Q13, W17: whatever waits; what is ready is set aside a little at a time, then it is
    quiet."""
    seen = measure(env["TASKPLATFORM_DATABASE_URL"], env, low=20_000, many=20, settle=30)

    assert median(seen.starts) < 1
    assert median(seen.enqueues) < 0.05
    assert median(seen.claims) < 0.05
    assert seen.pause < 5
    # A fifth of one session's time, on a machine of any speed.
    assert median(one.busy for one in seen.while_paused) < 0.8
    assert seen.quiet is not None
    assert seen.quiet.rows < QUIET
    assert seen.quiet.busy < 0.1
