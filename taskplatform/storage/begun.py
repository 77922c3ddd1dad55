"""Whether anybody has begun to execute a run: the one definition, for all that may change it."""

# Also while it waits: who was claimed, and put back because a limit held it, has not begun. What
# is parked waits for a person, who is to find it as it is.
_WORK = """(w.holder IS NOT NULL OR w.tried OR w.branch <> '' OR w.failing
            OR coalesce(w.rest, 'canvas') <> 'canvas' OR coalesce(w.reason, '') = 'parked')"""


def begun(run: str) -> str:
    """True, or NULL: a condition on the run whose id is `run`.

    What a statement's snapshot does not show has not begun. Not EXISTS, which may be planned as a
    hash of all work.
    """
    return f"""coalesce(
        (SELECT true FROM taskplatform.runs r
         WHERE r.id = {run} AND (r.started_at IS NOT NULL OR r.finished_at IS NOT NULL) LIMIT 1),
        (SELECT true FROM taskplatform.work w WHERE w.run_id = {run} AND {_WORK} LIMIT 1))"""
