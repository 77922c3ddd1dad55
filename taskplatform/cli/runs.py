"""`taskplatform runs`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, watching, words
from taskplatform.cli.failures import Exit
from taskplatform.cli.output import console, note, output_option, table, write_rows, write_table
from taskplatform.cli.parsing import Input, Length, Moment
from taskplatform.cli.printing import wait_and_print, wait_option_pair, write_run, write_runs
from taskplatform.client.reading import get_run, list_runs
from taskplatform.client.unset import UNSET
from taskplatform.client.view import RunSummary
from taskplatform.core.run import Status


@click.group()
def runs() -> None:
    """List, show, watch, retry, replay and cancel runs.

    \b
    taskplatform runs list --status failed --since 24h
    taskplatform runs show ID
    taskplatform runs retry ID
    """


@runs.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Several may be given.",
)
@click.option("--pipeline", help="Of this pipeline.")
@click.option("--key", help="With this business key.")
@click.option("--owner", help="Of this user or organization.")
@click.option("--since", type=Moment(ago=True), metavar="24h|TIME", help="Created from then on.")
@click.option("--until", type=Moment(ago=True), metavar="1h|TIME", help="Created before.")
@click.option("--handlers", is_flag=True, help="Also the runs of event handlers.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--after", metavar="ID", help="The page after this run, the last one shown.")
@output_option
def list_command(
    statuses: Sequence[str],
    pipeline: str | None,
    key: str | None,
    owner: str | None,
    since: datetime | None,
    until: datetime | None,
    handlers: bool,
    limit: int,
    after: str | None,
    form: str,
) -> None:
    """List runs, newest first.

    \b
    taskplatform runs list --status failed --status waiting --since 24h
    taskplatform runs list --pipeline demo --key t1 -o json
    taskplatform runs list --since 2026-01-31 --until 2026-02-01
    """
    place.servers()
    found = list_runs(
        pipeline=pipeline,
        key=key,
        owner=owner,
        status=statuses,
        since=since,
        until=until,
        limit=limit,
        after=after,
        handlers=handlers,
    )
    if form != "table":
        write_rows(found, form)
    elif found:
        _write_list(found)
    else:
        note("no such runs")
    if len(found) == limit:
        note(f"more: the same with --after {found[-1].id}")


@runs.command()
@click.argument("run_id", metavar="ID")
@output_option
def show(run_id: str, form: str) -> None:
    """Show a run: its steps, attempts, error, and what to do next.

    \b
    taskplatform runs show ID
    taskplatform runs show ID -o json
    """
    place.servers()
    place.pipelines_if_possible()
    write_run(get_run(run_id).view(), form)


@runs.command()
@click.argument("run_id", metavar="[ID]", required=False)
@click.option("--timeout", type=Length(), metavar="S", help="Watch no longer, as 90 or 2m.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, help="Runs shown without an ID.")
@output_option
def watch(run_id: str | None, timeout: float | None, limit: int, form: str) -> Exit:
    """Follow a run to its end, or the newest runs.

    \b
    taskplatform runs watch ID
    taskplatform runs watch ID -o jsonl --timeout 10m
    taskplatform runs watch

    The exit code says how the run ended, as with `enqueue --wait`. With -o jsonl each change is
    a line, with -o json the end is printed. Without an ID it goes on until Ctrl-C.
    """
    place.servers()
    out = console()
    if run_id is None:
        if timeout is not None or form != "table":
            raise click.UsageError("--timeout and -o go with the ID of a run")
        watching.watch_newest(limit, out)
        return Exit.OK
    place.pipelines_if_possible()
    run = get_run(run_id)
    if form == "table":
        view = watching.show_until_end(run, timeout, out)
        if out.is_terminal:
            write_run(view, form)
    else:
        each = form == "jsonl"
        view = watching.follow(run, timeout, lambda one: write_run(one, form) if each else None)
        if not each:
            write_run(view, form)
    return watching.exit_code(view.status)


@runs.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@output_option
def retry(ids: Sequence[str], form: str) -> None:
    """Go on with failed, parked or waiting runs from the failed step, in the same run.

    \b
    taskplatform runs retry ID
    taskplatform runs retry $(taskplatform runs list --status failed -o jsonl | jq -r .id)

    Finished steps are not executed again; the step gets a fresh budget of retries.
    """
    place.pipelines()
    place.servers()
    write_runs([get_run(one).retry().view() for one in ids], form)


@runs.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@output_option
def cancel(ids: Sequence[str], form: str) -> None:
    """End runs for good and free their keys.

    \b
    taskplatform runs cancel ID

    No further step starts, and a late result is refused. A run that has ended stays as it is.
    """
    place.servers()
    place.pipelines_if_possible()
    views = []
    for one in ids:
        run = get_run(one)
        if not run.cancel():
            note(f"note: run {run.id} had ended before, it is {run.status}")
        views.append(run.view())
    write_runs(views, form)


@runs.command()
@click.argument("run_id", metavar="ID")
@click.argument("value", metavar="N", type=int)
@output_option
def priority(run_id: str, value: int, form: str) -> None:
    """Move a run in line: higher goes first, 0 is usual.

    \b
    taskplatform runs priority ID 300
    taskplatform runs priority ID -- -300
    """
    place.servers()
    place.pipelines_if_possible()
    write_run(get_run(run_id).set_priority(value).view(), form)


@runs.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--from", "from_step", metavar="STEP", help="Reuse the outputs of earlier steps.")
@click.option("--input", "data", type=Input(), metavar="JSON|@FILE|-", help="Another input.")
@wait_option_pair
@output_option
def replay(
    ids: Sequence[str],
    from_step: str | None,
    data: bytes | None,
    wait: bool,
    timeout: float | None,
    form: str,
) -> Exit:
    """Make a new run of an old one, with its input or another.

    \b
    taskplatform runs replay ID
    taskplatform runs replay ID --from simulate-api-call --wait
    taskplatform runs replay ID --input '{"task_id": "t2"}'

    The old run stays as it is; the new one names it and owns no key.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    if wait and len(ids) > 1:
        raise click.UsageError("--wait goes with one ID")
    place.pipelines()
    place.servers()
    new = [get_run(one).replay(from_step, UNSET if data is None else data) for one in ids]
    if wait:
        return wait_and_print(new[0], timeout, form)
    write_runs([run.view() for run in new], form)
    return Exit.OK


def _write_list(found: Sequence[RunSummary]) -> None:
    optional = [
        name for name in ("key", "owner") if any(getattr(run, name) is not None for run in found)
    ]
    made = table(
        "id", "status", "pipeline", *optional, "created", "took", whole=("id",), right=("took",)
    )
    for run in found:
        state = run.status if run.reason is None else f"{run.status} ({run.reason})"
        cells: list[Any] = [
            str(run.id),
            Text(f"{words.mark(run.status)} {state}", style=words.colour(run.status)),
            Text(run.pipeline),
            *(Text(getattr(run, name) or "") for name in optional),
            words.moment(run.created_at),
            words.took(run.started_at, run.finished_at),
        ]
        made.add_row(*cells)
    write_table(made)
