"""Alembic's environment: one transaction, one lock, so that two migrators are safe."""

from alembic import context
from sqlalchemy import text

from taskplatform.endpoints import database_url
from taskplatform.storage.migrations import SCHEMA, engine

LOCK = 7_206_116_425_110_001


def run() -> None:
    url = context.config.attributes.get("url")
    if url is None:
        url = database_url()
    with engine(url).begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        context.configure(
            connection=connection,
            version_table="alembic_version",
            version_table_schema=SCHEMA,
            transaction_per_migration=False,
        )
        context.run_migrations()


run()
