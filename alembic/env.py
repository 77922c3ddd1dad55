"""Alembic's environment: one transaction, one lock, so that two migrators are safe."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from taskplatform.endpoints import database_url
from taskplatform.storage.urls import sqlalchemy_url

SCHEMA = "taskplatform"
LOCK = 7_206_116_425_110_001


def run() -> None:
    url = context.config.attributes.get("url")
    if url is None:
        url = database_url()
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.begin() as connection:
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
