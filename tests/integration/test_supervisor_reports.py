"""What a supervisor tells the others of its worker."""

from contextlib import closing
from uuid import uuid4

from taskplatform.executor.slots import SlotTable
from taskplatform.storage import workers
from taskplatform.storage.connection import connect
from taskplatform.supervisor.about import About
from taskplatform.supervisor.reports import Reports
from taskplatform.supervisor.session import Database


def test_claims_of_all_children_make_a_rate_that_fades(database_url: str) -> None:
    """Q15: it rises with what is claimed, also by a child in a slot that another had, and fades."""
    table = SlotTable.create()
    one, other = table.allocate(), table.allocate()
    about = About(1, uuid4(), "w", "prefork", 2, ["q"], ["p"])
    database = Database(database_url, "w")
    reports = Reports(about, table, database)

    def rate() -> float:
        reports.tick()
        with closing(connect(database_url)) as connection:
            (worker,) = workers.live(connection)
        return worker.claims_per_second

    assert rate() == 0
    one.claimed += 1000
    first = rate()
    assert first > 0
    other.claimed += 1000
    second = rate()
    assert second > first
    one.reset(one.pid)
    one.claimed += 10
    third = rate()
    assert 0 < rate() < third
    database.ask(lambda connection: connection.close(), None)
