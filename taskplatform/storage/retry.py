"""Retry by hand: a failed, parked or waiting-for-retry run goes on, with a fresh budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from taskplatform.errors import Conflict, KeyTaken, RunNotFound
from taskplatform.storage import keys
from taskplatform.storage.connection import Session
from taskplatform.storage.join_sql import DERIVE
from taskplatform.storage.new_run import AGEING


@dataclass(frozen=True, slots=True)
class Next:
    """Where a run goes on; its time-outs in seconds, from now."""

    step: str
    queue: str
    run_timeout: float | None = None
    queue_timeout: float | None = None
    ageing: float = AGEING


# Given the pipeline and the versions of the outputs stored so far.
Plan = Callable[[str, Mapping[str, int]], Next]


@dataclass(frozen=True, slots=True)
class Retried:
    """Which queue the run is on; `taken_up` is False if somebody had queued it before."""

    queue: str
    taken_up: bool


_LOCK_RUN = """
SELECT pipeline, status, reason, to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
       waiting_for, CASE WHEN NOT forced AND replay_of IS NULL THEN key END, priority, fair_key
FROM taskplatform.runs WHERE id = %s FOR UPDATE
"""
_LOCK_WORK = """
SELECT queue,
       coalesce(holder IS NULL AND due_at IS NOT NULL AND reason IN ('retry', 'parked'), false)
FROM taskplatform.work w WHERE run_id = %s ORDER BY id FOR UPDATE
"""

_DONE = "SELECT step_name, version FROM taskplatform.step_results WHERE run_id = %s"

_NEW_WORK = """
INSERT INTO taskplatform.work (run_id, pipeline, step, queue, priority, rank, lane, tried)
VALUES (%(run_id)s, %(pipeline)s, %(step)s, %(queue)s, %(priority)s,
        (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
            - (%(priority)s * %(ageing)s::double precision * 1000000)::bigint,
        coalesce(%(fair_key)s::text, ''), true)
"""

_REOPEN = """
UPDATE taskplatform.runs
SET status = 'queued', finished_at = NULL, error = NULL, output_step = NULL,
    deadline = clock_timestamp() + make_interval(secs => %(run_timeout)s),
    start_by = clock_timestamp() + make_interval(secs => %(queue_timeout)s), version = version + 1
WHERE id = %(run_id)s
"""

_DUE_NOW = """
UPDATE taskplatform.work
SET due_at = NULL, failures = 0, put_off = 0, reason = NULL, waiting_for = NULL,
    gate = NULL, gate_weight = NULL, gate_share = NULL
WHERE run_id = %s AND holder IS NULL AND due_at IS NOT NULL AND reason IN ('retry', 'parked')
"""

# The person who retries has looked: crashes from before do not park the run again.
_FORGIVE = """
UPDATE taskplatform.step_attempts SET alone = false
WHERE run_id = %s AND outcome = 'crashed' AND alone
"""

# It was taken and parked before it started; what time it had to start in has passed.
_START_ANY_TIME = """
UPDATE taskplatform.runs SET start_by = NULL WHERE id = %s AND start_by IS NOT NULL
"""

_UNDONE = """
SELECT step_name FROM taskplatform.step_results
WHERE run_id = %s AND step_name LIKE '%%:compensate' ORDER BY step_name
"""


def retry(connection: Session, run_id: UUID, plan: Plan, *, again: bool = False) -> Retried:
    """Queue the run again. Of twenty calls at once one takes it up; the others see it queued.

    `plan` is asked, under the lock, where a failed run goes on. `again` says that the answer to
    an earlier call was lost: then a running run is one that it queued.

    Raises RunNotFound, KeyTaken (another run owns the key now) and Conflict (the run is in a
    state that no retry changes; the message says what to do).
    """
    with connection.transaction():
        with connection.pipeline():
            locked = connection.execute(_LOCK_RUN, (run_id,))
            work = connection.execute(_LOCK_WORK, (run_id,))
        row, work_rows = locked.fetchone(), work.fetchall()
        if row is None:
            raise RunNotFound(f"there is no run {run_id}")
        pipeline, status, reason, due_at, waiting_for, key, priority, fair_key = row
        # Also one branch among others that wait for something else, are ready, or execute.
        waiting = [queue for queue, waits in work_rows if waits]
        if waiting:
            with connection.pipeline():
                connection.execute(_DUE_NOW, (run_id,))
                connection.execute(_FORGIVE, (run_id,))
                connection.execute(_START_ANY_TIME, (run_id,))
                connection.execute(DERIVE, {"runs": [run_id], "given_back": False})
            return Retried(waiting[0], taken_up=True)
        if status == "queued" or (again and status == "running"):
            return Retried(work_rows[0][0], taken_up=False)
        if status != "failed":
            raise Conflict(f"run {run_id} is {_state(status, reason, due_at, waiting_for)}")
        if undone := [name for (name,) in connection.execute(_UNDONE, (run_id,))]:
            raise Conflict(
                f"run {run_id} was compensated ({', '.join(undone)}), so it cannot go on: replay "
                "it to execute it anew"
            )
        if key is not None and (owner := keys.take_back(connection, pipeline, key, run_id)):
            raise KeyTaken(
                f"run {run_id} cannot be retried: key {key!r} of {pipeline} now belongs to run "
                f"{owner}; wait for that run, cancel it, or replay this one (a replay owns no key)"
            )
        then = plan(pipeline, dict(connection.execute(_DONE, (run_id,)).fetchall()))
        values = {
            "run_id": run_id,
            "pipeline": pipeline,
            "step": then.step,
            "queue": then.queue,
            "priority": priority,
            "fair_key": fair_key,
            "ageing": then.ageing,
            "run_timeout": then.run_timeout,
            "queue_timeout": then.queue_timeout,
        }
        with connection.pipeline():
            connection.execute(_NEW_WORK, values)
            connection.execute(_REOPEN, values)
            connection.execute(_FORGIVE, (run_id,))
        return Retried(then.queue, taken_up=True)


def _state(status: str, reason: str | None, due_at: str | None, waiting_for: str | None) -> str:
    until = f" until {due_at}" if due_at else ""
    match status:
        case "waiting" if reason == "breaker" and (waiting_for or "").startswith("breaker "):
            return f"waiting for {waiting_for}: it goes on by itself"
        case "waiting" if reason in ("paused", "breaker"):
            return "waiting for its pipeline, which is paused: `taskplatform pipelines resume`"
        case "waiting":
            what = f" for {waiting_for}" if waiting_for else ""
            return f"waiting ({reason}){what}{until}: it goes on by itself"
        case "scheduled":
            return f"scheduled, it waits{until}: there is nothing to retry yet"
        case "succeeded":
            return "succeeded: there is nothing to retry; replay it to execute it again"
        case "cancelled":
            return "cancelled for good: replay it to execute it again"
        case _:
            return f"{status}: it is being executed; cancel it first if it should start anew"
