"""Others use up all connections of the database; a worker outlasts it."""

from contextlib import ExitStack
from pathlib import Path

import psycopg

from taskplatform import enqueue_many
from taskplatform.client.session import call
from tests.acceptance import ledger as pipelines
from tests.acceptance.conftest import Ledger
from tests.acceptance.processes import wait_for, worker
from tests.integration.roles import limited_role

Env = dict[str, str]
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"


def test_a_worker_outlasts_the_loss_of_all_its_connections(
    env: Env, ledger: Ledger, log: Path
) -> None:
    """F24: no crash loop, nothing lost, few tries; all goes on when there is room again."""
    with limited_role(env["TASKPLATFORM_DATABASE_URL"], limit=4) as url:
        role = psycopg.conninfo.conninfo_to_dict(url)["user"]
        with worker({**env, "TASKPLATFORM_DATABASE_URL": url}, log, "-c", "2") as one:
            held = pipelines.three.enqueue(
                {"ledger": ledger.path, "id": "held", "seconds": 3, "do": "sleep:second"}
            )
            wait_for(lambda: ledger.has("start:second", "held"), 20, "a body runs")
            children, supervisors = one.children(), one.supervisors()
            with ExitStack() as outsiders:
                call(lambda connection, _: connection.execute(_END, (role,)).fetchall())
                taken = 0
                while taken < 4:
                    try:
                        outsiders.enter_context(psycopg.connect(url))
                        taken += 1
                    except psycopg.OperationalError:
                        call(lambda connection, _: connection.execute(_END, (role,)).fetchall())
                        outsiders.close()
                        taken = 0
                runs = enqueue_many(
                    pipelines.three, [{"ledger": ledger.path, "id": str(n)} for n in range(30)]
                )
                wait_for(lambda: ledger.has("end:second", "held"), 20, "the body has ended")
                wait_for(
                    lambda: log.read_text().count("too many connections") >= 3, 20, "it has tried"
                )
                assert held.refresh().status == "running"
            for run in [held, *runs]:
                assert run.wait(timeout=40).status == "succeeded"
            assert (one.children(), one.supervisors()) == (children, supervisors)
            # Three processes, pauses that double: not a try every tick.
            assert log.read_text().count("too many connections") < 60
    assert set(ledger.count("start:second").values()) == {1}
