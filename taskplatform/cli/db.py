"""`taskplatform db`."""

import rich_click as click
from rich.text import Text

from taskplatform.cli.failures import Exit
from taskplatform.cli.output import note, output_option, write, write_json
from taskplatform.endpoints import database_url
from taskplatform.storage import migrations


@click.group()
def db() -> None:
    """Bring the database to the newest schema.

    \b
    taskplatform db check
    taskplatform db upgrade
    """


@db.command()
@output_option
def upgrade(form: str) -> Exit:
    """Bring the database to the newest schema; safe if several do so at once.

    \b
    taskplatform db upgrade
    """
    url = database_url()
    migrations.upgrade(url)
    return _report(url, form)


@db.command()
@output_option
def check(form: str) -> Exit:
    """Compare the database's schema with the newest; exit 0 if it is that, else 1.

    \b
    taskplatform db check
    """
    return _report(database_url(), form)


def _report(url: str, form: str) -> Exit:
    current, newest = migrations.check(url)
    if form != "table":
        write_json({"current": current, "head": newest, "up_to_date": current == newest}, form)
    elif current != newest:
        write(Text(f"the schema is at {current or 'nothing'}, the newest is {newest}"))
    else:
        write(Text(f"the schema is at {current}, the newest"))
    if current == newest:
        return Exit.OK
    note("run `taskplatform db upgrade`")
    return Exit.FAILED
