"""What contradicts the promises in the tables of runs with several branches, as queries."""

from taskplatform.storage.settlement import Settlement
from tests.integration.races.stage import Stage

_FACTS = {
    "an open run without exactly one main row": """
        SELECT r.id FROM taskplatform.runs r WHERE r.finished_at IS NULL
        AND (SELECT count(*) FROM taskplatform.work w
             WHERE w.run_id = r.id AND w.branch = '') <> 1""",
    "work of a run that has ended": """
        SELECT r.id FROM taskplatform.runs r JOIN taskplatform.work w ON w.run_id = r.id
        WHERE r.finished_at IS NOT NULL""",
    "a join that waits for another number than there is": """
        SELECT j.run_id FROM taskplatform.work j
        JOIN taskplatform.work main ON main.run_id = j.run_id AND main.branch = ''
        WHERE j.rest = 'branches' AND main.failing IS NOT TRUE AND j.pending IS DISTINCT FROM
            (SELECT count(*) FROM taskplatform.work b WHERE b.parent = j.id)
            + (SELECT count(*) FROM taskplatform.items i
               WHERE i.run_id = j.run_id AND i.step_name = j.step AND j.next_item IS NOT NULL
                 AND i.finished_at IS NULL AND i.position >= j.next_item)""",
    "an item that nobody will come to": """
        SELECT j.run_id FROM taskplatform.work j
        JOIN taskplatform.items i ON i.run_id = j.run_id AND i.step_name = j.step
        JOIN taskplatform.work main ON main.run_id = j.run_id AND main.branch = ''
        WHERE j.rest = 'branches' AND j.next_item > i.position AND i.finished_at IS NULL
          AND main.failing IS NOT TRUE
          AND NOT EXISTS (SELECT FROM taskplatform.work b
                          WHERE b.parent = j.id AND b.item = i.position)""",
    "a branch without its join": """
        SELECT b.run_id FROM taskplatform.work b
        JOIN taskplatform.work main ON main.run_id = b.run_id AND main.branch = ''
        WHERE b.branch <> '' AND main.failing IS NOT TRUE
          AND NOT EXISTS (SELECT FROM taskplatform.work j WHERE j.id = b.parent)""",
    "a branch of a failing run in nobody's hands": """
        SELECT b.run_id FROM taskplatform.work b
        JOIN taskplatform.work main ON main.run_id = b.run_id AND main.branch = ''
        WHERE b.branch <> '' AND main.failing AND b.holder IS NULL""",
    "a join that rests on nothing": """
        SELECT j.run_id FROM taskplatform.work j
        WHERE j.rest = 'branches' AND j.holder IS NULL AND j.due_at IS NOT NULL
          AND j.reason IS DISTINCT FROM 'parked'
          AND NOT EXISTS (SELECT FROM taskplatform.work b WHERE b.run_id = j.run_id
                          AND b.parent = j.id OR j.failing AND b.run_id = j.run_id
                          AND b.branch <> '')""",
    "a step that waits for a child that has ended": """
        SELECT w.run_id FROM taskplatform.work w
        WHERE w.rest = 'child' AND w.holder IS NULL AND w.due_at IS NOT NULL
          AND w.reason IS DISTINCT FROM 'paused'
          AND (SELECT c.finished_at FROM taskplatform.runs c
               WHERE c.parent_run = w.run_id AND c.parent_step = w.step
               ORDER BY c.id DESC LIMIT 1) IS NOT NULL""",
    "a wait that does not know of its event": """
        SELECT w.run_id FROM taskplatform.work w
        JOIN taskplatform.waits m ON m.run_id = w.run_id AND m.step_name = w.step
        JOIN taskplatform.runs r ON r.id = w.run_id
        WHERE w.rest = 'event' AND w.holder IS NULL AND w.due_at IS NOT NULL
          AND w.reason IS DISTINCT FROM 'paused'
          AND (m.event_id IS NOT NULL OR EXISTS (
              SELECT FROM taskplatform.events e
              WHERE e.name = m.event AND e.created_at >= r.created_at
                AND (m.field = '' OR e.data ->> m.field = m.value)
                AND m.expires_at > clock_timestamp()
                AND NOT EXISTS (SELECT FROM taskplatform.waits used WHERE used.run_id = w.run_id
                                AND (used.event_id = e.id OR e.id = ANY (used.passed)))))""",
    "an event that a run has used twice": """
        SELECT run_id, event_id FROM taskplatform.waits WHERE event_id IS NOT NULL
        GROUP BY run_id, event_id HAVING count(*) > 1""",
    "an event that was passed over and fits": """
        SELECT w.run_id, e.id FROM taskplatform.waits w
        JOIN taskplatform.events e ON e.id = ANY (w.passed)
        WHERE e.name <> 'approved' OR e.data ->> 'ok' = 'true'""",
    "an open child of a run that is not to go on": """
        SELECT c.id FROM taskplatform.runs c JOIN taskplatform.runs p ON p.id = c.parent_run
        LEFT JOIN taskplatform.work main ON main.run_id = p.id AND main.branch = ''
        WHERE c.finished_at IS NULL AND (p.finished_at IS NOT NULL OR main.failing)""",
    "a run that says another thing than its work": """
        SELECT r.id, r.status FROM taskplatform.runs r CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(holder IS NOT NULL), false) AS held,
                   coalesce(bool_or(holder IS NULL AND due_at IS NULL), false) AS ready
            FROM taskplatform.work WHERE run_id = r.id) AS w
        WHERE r.finished_at IS NULL
          AND (r.status IN ('waiting', 'scheduled')) = (w.held OR w.ready)""",
    "a run that waits for no reason, or has one and does not wait": """
        SELECT id FROM taskplatform.runs WHERE (status = 'waiting') <> (reason IS NOT NULL)""",
    "a list that is not its items in order": """
        SELECT s.run_id, s.output::text FROM taskplatform.step_results s CROSS JOIN LATERAL (
            SELECT '[' || string_agg(output::text, ',' ORDER BY position) || ']' AS list,
                   bool_and(finished_at IS NOT NULL) AS done, count(*) AS many
            FROM taskplatform.items i WHERE i.run_id = s.run_id AND i.step_name = s.step_name
        ) AS i WHERE i.many > 0 AND (NOT i.done OR i.list <> s.output::text)""",
    "an attempt at a step after its end": """
        SELECT a.run_id, a.step_name, a.outcome FROM taskplatform.step_attempts a
        JOIN taskplatform.step_results s USING (run_id, step_name)
        WHERE a.started_at > s.finished_at AND a.epoch <> s.epoch""",
    "an attempt at an item after its end": """
        SELECT a.run_id, a.step_name, a.outcome FROM taskplatform.step_attempts a
        JOIN taskplatform.items i ON i.run_id = a.run_id
             AND i.step_name || '[' || i.position || ']' = a.step_name
        WHERE a.started_at > i.finished_at AND a.epoch <> i.epoch""",
}

_ALL = " UNION ALL ".join(
    f"SELECT '{what.replace(chr(39), chr(39) * 2)}', row_to_json(f)::text FROM ({query}) AS f"
    for what, query in _FACTS.items()
)


def wrong(stage: Stage) -> list[tuple[str, str]]:
    """What contradicts the promises, with what was found."""
    return stage.rows(_ALL)


def done_before(stage: Stage, one: Settlement) -> bool:
    """Whether the output that is offered is stored already."""
    made = one.result
    if made is None:
        return False
    found = stage.value(
        "SELECT true FROM taskplatform.step_results WHERE run_id = %s AND step_name = %s"
        " UNION ALL SELECT true FROM taskplatform.items WHERE run_id = %s"
        " AND step_name = %s AND position = %s AND finished_at IS NOT NULL",
        *(one.run_id, made.step, one.run_id, made.step, made.position),
    )
    return bool(found)
