"""Every write of an output, an attempt, an epoch and a state, in the order of their commits."""

from uuid import UUID

from tests.integration.races.stage import Stage

_WATCHED = {
    "step_results": (
        "result",
        "INSERT OR UPDATE OF output, epoch",
        "step_name",
        "epoch",
        "output::text",
    ),
    "step_attempts": ("attempt", "INSERT", "step_name", "epoch", "outcome"),
    "work": ("grant", "UPDATE OF epoch", "step", "epoch", "holder::text"),
    "runs": ("state", "INSERT OR UPDATE OF status", "coalesce(reason, '')", "version", "status"),
}

_FACTS = {
    "I2 work was granted at a step that has its output": """
        SELECT g.run, g.step, g.epoch FROM public.journal g JOIN public.journal r USING (run, step)
        WHERE g.what = 'grant' AND r.what = 'result' AND r.n < g.n
          AND EXISTS (SELECT FROM taskplatform.runs WHERE id = g.run)""",
    "I3 a step has two commits": """
        SELECT run, step FROM public.journal WHERE what = 'result' GROUP BY run, step
        HAVING count(*) > 1""",
    "I3 what is stored is not what was committed": """
        SELECT s.run_id, s.step_name FROM taskplatform.step_results s
        JOIN public.journal j ON j.what = 'result' AND j.run = s.run_id AND j.step = s.step_name
        WHERE (j.epoch, j.value) IS DISTINCT FROM (s.epoch, s.output::text)""",
    "I3 an output is not that of the attempt that it names": """
        SELECT run_id, step_name, output::text FROM taskplatform.step_results
        WHERE output ->> 'epoch' <> epoch::text OR output ->> 'step' <> step_name""",
    "I4 an older epoch has written after a newer one was granted": """
        SELECT w.run, w.step, w.epoch FROM public.journal w JOIN public.journal g ON g.run = w.run
        JOIN taskplatform.runs r ON r.id = w.run
        WHERE w.what IN ('result', 'attempt') AND g.what = 'grant'
          AND g.n < w.n AND g.epoch > w.epoch
          AND NOT EXISTS (SELECT FROM taskplatform.step_results s WHERE s.run_id = w.run
                          AND s.step_name = w.step AND s.reused_from IS NOT NULL)""",
    "I4 an epoch was granted twice, or below an earlier one": """
        SELECT b.run, b.epoch FROM public.journal a JOIN public.journal b ON b.n > a.n
        WHERE a.what = 'grant' AND b.what = 'grant' AND b.epoch <= a.epoch""",
    "I5 an attempt or an output without a grant": """
        SELECT w.run, w.step, w.epoch FROM public.journal w
        WHERE w.what IN ('result', 'attempt') AND NOT EXISTS (
            SELECT FROM public.journal g
            WHERE g.what = 'grant' AND g.epoch = w.epoch AND g.n < w.n)""",
    "I5 attempts that are not numbered one by one": """
        SELECT run_id, step_name FROM taskplatform.step_attempts GROUP BY run_id, step_name
        HAVING max(number) <> count(*)""",
    "I5 a step crashed alone more often than it may": """
        SELECT run_id, step_name FROM taskplatform.step_attempts
        WHERE outcome = 'crashed' AND alone AND finished_at > clock_timestamp() - interval '24 h'
        GROUP BY run_id, step_name HAVING count(*) > 3""",
    "I7 more grants in a window than the limit": """
        SELECT bucket, sum(weight) FROM taskplatform.throttle_slices
        WHERE at > clock_timestamp() - interval '1 hour'
        GROUP BY bucket HAVING sum(weight) > 3""",
    "I8 two active runs of a key": """
        SELECT pipeline, key FROM taskplatform.runs
        WHERE finished_at IS NULL AND key IS NOT NULL AND NOT forced AND replay_of IS NULL
        GROUP BY pipeline, key HAVING count(*) > 1""",
    "I8 a request id has two runs": """
        SELECT pipeline, request_id FROM taskplatform.runs WHERE request_id IS NOT NULL
        GROUP BY pipeline, request_id HAVING count(*) > 1""",
    "I11 a run that is neither held, nor ready, nor waits for a stated reason": """
        SELECT r.id, r.status, r.reason FROM taskplatform.runs r
        LEFT JOIN taskplatform.work w ON w.run_id = r.id
        WHERE r.finished_at IS NULL AND NOT coalesce(
            w.holder IS NOT NULL AND r.status IN ('queued', 'running')
            OR w.holder IS NULL AND w.due_at IS NULL AND r.status = 'queued'
            OR w.due_at < 'infinity' AND r.due_at BETWEEN w.due_at - interval '1 s' AND w.due_at
               AND (r.status = 'scheduled' OR r.status = 'waiting' AND r.reason = w.reason)
            OR w.due_at = 'infinity' AND r.status = 'waiting' AND r.due_at IS NULL
               AND r.reason = 'parked' AND r.waiting_for IS NOT DISTINCT FROM w.waiting_for,
            false)""",
}
_ALL = " UNION ALL ".join(
    f"SELECT '{what}', row_to_json(f)::text FROM ({query}) AS f" for what, query in _FACTS.items()
)


def keep(stage: Stage) -> None:
    """Keep a journal in this database from now on."""
    stage.connection.execute(
        "CREATE TABLE public.journal (n bigserial, what text, run uuid, step text, epoch bigint,"
        " value text)"
    )
    for table, (what, when, step, epoch, value) in _WATCHED.items():
        run = "NEW.id" if table == "runs" else "NEW.run_id"
        columns = ", ".join(_of_new(one) for one in (step, epoch, value))
        stage.connection.execute(
            f"CREATE FUNCTION journal_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" INSERT INTO public.journal (what, run, step, epoch, value)"
            f" VALUES ('{what}', {run}, {columns}); RETURN NULL; END $$"
        )
        stage.connection.execute(
            f"CREATE TRIGGER journal AFTER {when} ON taskplatform.{table}"
            f" FOR EACH ROW EXECUTE FUNCTION journal_{table}()"
        )


def _of_new(column: str) -> str:
    return column.replace("coalesce(", "coalesce(NEW.") if "(" in column else f"NEW.{column}"


def forget(stage: Stage) -> None:
    """Begin a new one."""
    stage.connection.execute("DELETE FROM public.journal")


def wrong(stage: Stage) -> list[tuple[str, str]]:
    """What contradicts the promises, with what was found."""
    return stage.rows(_ALL)


def states(stage: Stage) -> dict[UUID, list[str]]:
    """The states that each run went through."""
    found: dict[UUID, list[str]] = {}
    for run, status in stage.rows(
        "SELECT run, value FROM public.journal WHERE what = 'state' ORDER BY n"
    ):
        found.setdefault(run, []).append(status)
    return found
