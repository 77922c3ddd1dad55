"""The transaction of a transactional step, on the connection that the test gives."""

from collections.abc import Callable
from typing import Any

import psycopg

from taskplatform.core.outcome import Succeeded
from taskplatform.core.step import Step
from taskplatform.testing.bodies import Ended
from taskplatform.testing.given import NotGiven


def connection_for(step: Step, given: object) -> "psycopg.Connection[Any]":
    """What the body gets as `ctx.connection`.

    Raises NotGiven if the test gives none, and ValueError for what is none.
    """
    if given is None:
        raise NotGiven(
            f"step '{step.task_name}' is transactional: give connection=, a psycopg Connection "
            "(in a transaction of the test's own, nothing of it stays)"
        )
    if not isinstance(given, psycopg.Connection):
        raise ValueError(f"connection= is a {type(given).__name__}: give a psycopg Connection")
    return given


def in_transaction(connection: "psycopg.Connection[Any]", attempt: Callable[[], Ended]) -> Ended:
    """What the body wrote stays if its output is stored, and is taken back if it is not.

    In a transaction of the test's own that is a savepoint.
    """
    with connection.transaction() as transaction:
        ended = attempt()
        if not isinstance(ended.outcome, Succeeded):
            raise psycopg.Rollback(transaction)
    return ended
