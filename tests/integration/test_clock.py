"""Time passes for all that is stored, but for what would make living workers look dead."""

from datetime import timedelta

from taskplatform.core.ids import uuid7
from taskplatform.storage.connection import Session, connect
from taskplatform.testing.clock import advance

# Each row has all its moments set; what must not move is left out here.
_MOMENTS = {
    "runs": ("created_at", "started_at", "deadline", "start_by", "due_at"),
    "work": ("due_at", "heartbeat_at"),
    "items": ("started_at", "finished_at"),
    "waits": ("created_at", "expires_at"),
    "events": ("created_at",),
    "canvases": ("created_at", "published_at"),
    "keys": ("expires_at",),
    "pauses": ("since",),
    "crashes": ("crashed_at",),
    "reservations": ("until",),
    "limits": ("changed_at",),
    "slots": ("since",),
    "breakers": ("since", "until"),
    "breaker_counts": ("began",),
    "attempt_counts": ("began",),
    "retry_budgets": ("since",),
    "lanes": ("charged_at",),
    "wider_pauses": ("since",),
    "canaries": ("since",),
    "throttle_buckets": ("swept", "closed_until", "next_at"),
    "throttle_slices": ("at",),
    "throttle_history": ("minute",),
}
# finished_at of runs moves too; the run of this test is open.
_STAYS = {
    "work": {"started_at"},
    "runs": {"finished_at"},
    "workers": {"started_at", "lease_until"},
    "holders": {"lease_until"},
}


def _fill(session: Session) -> None:
    run, event = uuid7(), uuid7()
    session.execute(
        "INSERT INTO taskplatform.runs (id, pipeline, status, reason, input, started_at, deadline,"
        " start_by, due_at) VALUES (%s, 'p', 'waiting', 'event', '{}', now(), now(), now(), now())",
        (run,),
    )
    session.execute(
        "INSERT INTO taskplatform.work (run_id, pipeline, step, queue, due_at, heartbeat_at)"
        " VALUES (%s, 'p', 's', 'q', now(), now())",
        (run,),
    )
    session.execute(
        "INSERT INTO taskplatform.items (run_id, step_name, position, item, version, started_at,"
        " finished_at) VALUES (%s, 's', 0, '1', 1, now(), now())",
        (run,),
    )
    session.execute(
        "INSERT INTO taskplatform.waits (run_id, step_name, work_id, event, expires_at)"
        " VALUES (%s, 's', 1, 'e', now()), (%s, 't', 1, 'e', 'infinity')",
        (run, run),
    )
    session.execute(
        "INSERT INTO taskplatform.events (id, name, data) VALUES (%s, 'e', '{}')", (event,)
    )
    session.execute(
        "INSERT INTO taskplatform.canvases (run_id, tail, published_at)"
        " VALUES (%s, '[]', clock_timestamp())",
        (run,),
    )
    session.execute(
        "INSERT INTO taskplatform.keys (pipeline, key, run_id, expires_at)"
        " VALUES ('p', 'k', %s, now())",
        (run,),
    )
    session.execute("INSERT INTO taskplatform.pauses (pipeline, reason) VALUES ('p', 'paused')")
    session.execute("INSERT INTO taskplatform.wider_pauses (kind, name) VALUES ('queue', 'q')")
    session.execute("INSERT INTO taskplatform.canaries (run_id) VALUES (%s)", (run,))
    session.execute(
        "INSERT INTO taskplatform.crashes (pipeline, run_id, step_name) VALUES ('p', %s, 's')",
        (run,),
    )
    session.execute(
        "INSERT INTO taskplatform.reservations (gate, weight, until) VALUES ('g', 1, now())"
    )
    session.execute(
        "INSERT INTO taskplatform.throttle_buckets (name, scope, most, per, closed_until, next_at)"
        " VALUES ('t', '', 1, 1, now(), now()), ('t', 'u', 1, 1, '-infinity', NULL)"
    )
    session.execute("INSERT INTO taskplatform.throttle_slices VALUES (1, now(), 1)")
    session.execute("INSERT INTO taskplatform.throttle_history VALUES ('t', '', now(), 1)")
    session.execute("INSERT INTO taskplatform.limits (kind, name) VALUES ('throttle', 't')")
    session.execute(
        "INSERT INTO taskplatform.slots (gate, run_id, most) VALUES ('g', %s, 1)", (run,)
    )
    session.execute(
        "INSERT INTO taskplatform.breakers (name, state, until) VALUES ('b', 'open', now())"
    )
    session.execute("INSERT INTO taskplatform.breaker_counts VALUES ('b', now(), 1, 1)")
    session.execute("INSERT INTO taskplatform.attempt_counts VALUES ('p', now(), 1, 1)")
    session.execute(
        "INSERT INTO taskplatform.retry_budgets (pipeline, share, ended, failed)"
        " VALUES ('p', 0.2, 1, 1)"
    )
    session.execute("INSERT INTO taskplatform.lanes (queue, lane, vtime) VALUES ('q', 'l', 0)")


def test_every_stored_moment_moves_but_infinite_ones(database_url: str) -> None:
    """Three days pass for runs, work, items, waits, events, canvases, keys, pauses, limits."""
    with connect(database_url, pinned=False) as session:
        _fill(session)
        queries = {
            table: f"SELECT {', '.join(names)} FROM taskplatform.{table}"
            f" WHERE NOT ('infinity' = ANY (ARRAY[{', '.join(names)}]))"
            for table, names in _MOMENTS.items()
        }
        before = {table: session.execute(query).fetchall() for table, query in queries.items()}
        advance("3d", connection=session)
        after = {table: session.execute(query).fetchall() for table, query in queries.items()}
        for table, (moments,) in before.items():
            moved = [old - new for old, new in zip(moments, after[table][0], strict=True)]
            assert set(moved) == {timedelta(days=3)}, table
        endless = "SELECT count(*) FROM taskplatform.waits WHERE expires_at = 'infinity'"
        assert session.execute(endless).fetchone() == (1,)


def test_no_stored_moment_is_forgotten(database_url: str) -> None:
    """A new column with a time has to be moved, or to be said here."""
    with connect(database_url, pinned=False) as session:
        columns = session.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'taskplatform' AND data_type LIKE 'timestamp%'"
        ).fetchall()
    moved_elsewhere = {"step_results", "step_attempts"}
    known = {(table, name) for table, names in _MOMENTS.items() for name in names}
    stays = {(table, name) for table, names in _STAYS.items() for name in names}
    assert {one for one in columns if one[0] not in moved_elsewhere} == known | stays
