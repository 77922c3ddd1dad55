"""`taskplatform why`."""

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.output import output_option, write, write_json
from taskplatform.cli.run_page import heading
from taskplatform.cli.wait_lines import wait_lines
from taskplatform.client.reading import get_run
from taskplatform.client.view import RunView


@click.command()
@click.argument("run_id", metavar="ID")
@output_option
def why(run_id: str, form: str) -> None:
    """Say in words why a run is where it is, and when it goes on.

    \b
    taskplatform why ID
    taskplatform why ID -o json

    It names the limit, the key and who holds it, the place in line, and when the run starts if
    all goes on as it went lately.
    """
    place.servers()
    place.pipelines_if_possible()
    view = get_run(run_id).view()
    if form != "table":
        write_json(
            {"id": view.id, "status": view.status, "why": _said(view), "waits": view.waits}, form
        )
        return
    write(heading(view))
    for line in wait_lines(view.waits):
        write(line)
    if not view.waits:
        write(Text(f"  {_said(view)}"))


def _said(view: RunView) -> str:
    if view.waits:
        return "; ".join(f"{one.step}: {one.why}" for one in view.waits)
    if view.error is not None:
        where = f" in step {view.error.step}" if view.error.step else ""
        return f"it {view.status}{where}: {view.error.type}: {view.error.message}"
    at = f" at {words.moment(view.finished_at)}" if view.finished_at else ""
    return f"it {'was ' if view.status == 'cancelled' else ''}{view.status}{at}"
