"""`taskplatform config`."""

from typing import Any

import rich_click as click
from pydantic import SecretStr
from rich.text import Text

from taskplatform.cli import place
from taskplatform.cli.output import output_option, table, write_json, write_table
from taskplatform.cli.root import state
from taskplatform.cli.sources import sources
from taskplatform.core.redaction import SHOWN, redact
from taskplatform.settings import PREFIX, Settings, get_settings


@click.group()
def config() -> None:
    """Show the settings in force and where each comes from.

    \b
    taskplatform config show
    """


@config.command()
@output_option
@click.pass_context
def show(ctx: click.RichContext, /, form: str) -> None:
    """Show each setting in force: its value, where it comes from, what it is.

    \b
    taskplatform config show
    psql "$(taskplatform config show -o json | jq -r .database_url)"

    Flag wins over environment, .env, [tool.taskplatform] in pyproject.toml, default. URLs that
    are not set are those of embedded servers, which are started if they do not run. The table
    hides passwords; -o json and -o jsonl show those of the URLs. Secret keys are never shown.
    """
    settings = get_settings()
    found = place.servers()
    urls = {"database_url": found.database_url, "broker_url": found.broker_url}
    values = {name: _plain(getattr(settings, name)) for name in Settings.model_fields} | urls
    if settings.secret_keys is not None:
        values["secret_keys"] = SHOWN
    came_from = dict(sources(state(ctx)["flags"]))
    for name in urls:
        if getattr(settings, name) is None:
            came_from[name] = "embedded"
    if form != "table":
        write_json({**values, "sources": came_from}, form)
        return
    made = table("setting", "value", "from", "what it is", whole=("setting", "value"))
    for name, field in Settings.model_fields.items():
        shown = redact(values[name]) if name in urls else str(values[name])
        strange = "" if came_from[name] == "default" else "bold"
        made.add_row(
            f"{PREFIX}{name.upper()}",
            Text(shown, style=strange),
            came_from[name],
            Text(field.description or "", style="dim"),
        )
    write_table(made)


def _plain(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
