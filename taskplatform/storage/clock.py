"""Move every stored moment into the past, so that time seems to have passed; for tests."""

from taskplatform.storage.connection import Session

_LOCK_RUNS = "SELECT FROM taskplatform.runs ORDER BY id FOR UPDATE"
_LOCK_WORK = "SELECT FROM taskplatform.work ORDER BY id FOR UPDATE"

_BACK = "make_interval(secs => %(seconds)s)"

# Infinite moments stay what they are. Leases and the start of running bodies stay too: workers
# that are alive must not look dead.
_MOVES = (
    f"""
    UPDATE taskplatform.runs
    SET created_at = created_at - {_BACK}, started_at = started_at - {_BACK},
        finished_at = finished_at - {_BACK}, due_at = due_at - {_BACK},
        deadline = deadline - {_BACK}, start_by = start_by - {_BACK}
    """,
    f"""
    UPDATE taskplatform.work
    SET due_at = due_at - {_BACK}, heartbeat_at = heartbeat_at - {_BACK},
        rank = rank - (%(seconds)s * 1000000)::bigint
    """,
    f"""
    UPDATE taskplatform.waits
    SET expires_at = expires_at - {_BACK}, created_at = created_at - {_BACK}
    """,
    f"UPDATE taskplatform.events SET created_at = created_at - {_BACK}",
    f"""
    UPDATE taskplatform.canvases
    SET created_at = created_at - {_BACK}, published_at = published_at - {_BACK}
    """,
    f"""
    UPDATE taskplatform.items
    SET started_at = started_at - {_BACK}, finished_at = finished_at - {_BACK}
    WHERE started_at IS NOT NULL OR finished_at IS NOT NULL
    """,
    f"UPDATE taskplatform.keys SET expires_at = expires_at - {_BACK} WHERE expires_at IS NOT NULL",
    f"""
    UPDATE taskplatform.step_results
    SET started_at = started_at - {_BACK}, finished_at = finished_at - {_BACK}
    """,
    f"""
    UPDATE taskplatform.step_attempts
    SET started_at = started_at - {_BACK}, finished_at = finished_at - {_BACK}
    """,
    f"UPDATE taskplatform.reservations SET until = until - {_BACK}",
    f"UPDATE taskplatform.slots SET since = since - {_BACK}",
    f"UPDATE taskplatform.breakers SET since = since - {_BACK}, until = until - {_BACK}",
    # Far away first: two of one breaker would be at one time for a moment.
    f"UPDATE taskplatform.breaker_counts SET began = began - {_BACK} - interval '300000 days'",
    "UPDATE taskplatform.breaker_counts SET began = began + interval '300000 days'",
    f"UPDATE taskplatform.attempt_counts SET began = began - {_BACK} - interval '300000 days'",
    "UPDATE taskplatform.attempt_counts SET began = began + interval '300000 days'",
    f"UPDATE taskplatform.retry_budgets SET since = since - {_BACK}",
    f"UPDATE taskplatform.limits SET changed_at = changed_at - {_BACK}",
    f"""
    UPDATE taskplatform.throttle_buckets
    SET swept = swept - {_BACK}, closed_until = closed_until - {_BACK}, next_at = next_at - {_BACK}
    """,
    # By way of a place that no time reaches: slices of one bucket must not meet on the way.
    f"UPDATE taskplatform.throttle_slices SET at = at - {_BACK} - interval '1000 years'",
    "UPDATE taskplatform.throttle_slices SET at = at + interval '1000 years'",
    f"""
    UPDATE taskplatform.throttle_history SET minute = minute - {_BACK} - interval '1000 years'
    """,
    "UPDATE taskplatform.throttle_history SET minute = minute + interval '1000 years'",
    f"UPDATE taskplatform.lanes SET charged_at = charged_at - {_BACK}",
    f"UPDATE taskplatform.crashes SET crashed_at = crashed_at - {_BACK}",
    f"UPDATE taskplatform.pauses SET since = since - {_BACK}",
    f"UPDATE taskplatform.wider_pauses SET since = since - {_BACK}",
    f"UPDATE taskplatform.canaries SET since = since - {_BACK}",
)


def advance(connection: Session, seconds: float) -> None:
    """Let `seconds` pass for all that is stored, in one transaction."""
    with connection.transaction():
        connection.execute(_LOCK_RUNS)
        connection.execute(_LOCK_WORK)
        for move in _MOVES:
            connection.execute(move, {"seconds": float(seconds)})
