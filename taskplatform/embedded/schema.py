"""The schema of an embedded database: nobody has to be told to migrate it."""

from importlib import import_module

from taskplatform.storage import revision
from taskplatform.storage.connection import connect


def ensure(url: str) -> None:
    """Bring the database to the newest schema; one short look if it has it.

    Safe when several processes do so at once. Raises Unavailable.
    """
    with connect(url, pinned=False, name="taskplatform schema") as connection:
        current = revision.current(connection)
    if current != revision.head():
        # Alembic takes longer to import than the look above takes.
        import_module("taskplatform.storage.migrations").upgrade(url)
