"""The schema's migrations, run by Alembic from the repository or from the installed package."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import OperationalError

from taskplatform.errors import Unavailable
from taskplatform.storage.revision import scripts
from taskplatform.storage.urls import sqlalchemy_url

SCHEMA = "taskplatform"


def upgrade(url: str) -> None:
    """Bring the database to the newest schema; safe if several do so at once.

    Raises Unavailable if the database cannot be reached, or is of a newer version.
    """
    try:
        command.upgrade(_config(url), "head")
    except OperationalError as error:
        raise _unavailable(error) from None
    except CommandError as error:
        # Such as a revision of the database that this version does not know.
        raise Unavailable(
            f"the database cannot be upgraded: {error}; does it belong to a newer version?"
        ) from None


def check(url: str) -> tuple[str | None, str | None]:
    """The revision the database is at (None: empty) and the newest one there is.

    Raises Unavailable if the database cannot be reached.
    """
    head = ScriptDirectory.from_config(_config(url)).get_current_head()
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
            return context.get_current_revision(), head
    except OperationalError as error:
        raise _unavailable(error) from None


def _config(url: str) -> Config:
    config = Config()
    # Not through the configuration, which would interpolate the % of an encoded password.
    config.attributes["url"] = url
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config


def _unavailable(error: OperationalError) -> Unavailable:
    return Unavailable(f"the database cannot be reached: {error.orig}")
