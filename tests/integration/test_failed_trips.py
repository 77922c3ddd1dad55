"""What a connection is good for after a transaction that failed."""

from contextlib import suppress

import psycopg
import pytest

from taskplatform.storage.connection import connect, one_trip

NEXT = "SELECT %s::int + 1"


@pytest.mark.parametrize("behind", [1, 3, 3000])
def test_a_failed_trip_leaves_a_connection_that_works(database_url: str, behind: int) -> None:
    """A statement that was prepared behind a failing one can be executed afterwards.

    With many behind it, the failure is told while they are still being sent.
    """
    with connect(database_url) as connection:
        for _ in range(4):
            with suppress(psycopg.errors.DivisionByZero), one_trip(connection):
                connection.execute("SELECT 1 / %s::int", (0,))
                for _ in range(behind):
                    connection.execute(NEXT, (1,))
        for _ in range(4):
            with one_trip(connection):
                answer = connection.execute(NEXT, (1,))
            assert answer.fetchone() == (2,)
