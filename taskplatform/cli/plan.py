"""`taskplatform pipelines plan`."""

from collections.abc import Iterator, Sequence

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.failures import Exit
from taskplatform.cli.output import note, output_option, write, write_json
from taskplatform.client.plan import plans
from taskplatform.client.plan_view import Misfit, Plans, RunPlan, SamePlan, together
from taskplatform.core import registry
from taskplatform.core.run import FINAL, Status

_OPEN = [status.value for status in Status if status not in FINAL]


@click.command()
@click.argument("pipeline", required=False)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_OPEN),
    help="Only runs in this state; several may be given.",
)
@click.option("--failed", is_flag=True, help="Also failed runs, as if they were retried.")
@click.option("--limit", type=click.IntRange(min=1), help="Look at no more runs, oldest first.")
@output_option
def plan(
    pipeline: str | None, statuses: Sequence[str], failed: bool, limit: int | None, form: str
) -> Exit:
    """Show what the code here would do with the runs in flight, before it is deployed.

    \b
    taskplatform pipelines plan
    taskplatform pipelines plan enrich-track --failed
    taskplatform pipelines plan -o jsonl | jq 'select(.park != [])'

    Which outputs a run would reuse, which steps it would execute next and later, which outputs
    belong to no step any more, and which step would park because it cannot read what is stored.
    Nothing is executed or changed. Runs of which the same is planned are one entry; -o jsonl has
    a line for each run.

    The exit code is 1 if any run would park, so that a pipeline of CI can stop there.
    """
    place.pipelines()
    place.servers()
    found = plans(pipeline, statuses, failed=failed, limit=limit)
    if form == "jsonl":
        return _write_lines(found)
    all = together(found)
    if pipeline is not None and not all.runs:
        registry.get(pipeline)
    if form == "json":
        write_json(all, form)
    else:
        _write(all)
    return Exit.FAILED if all.parks else Exit.OK


def _write_lines(found: Iterator[RunPlan]) -> Exit:
    parks = False
    for one in found:
        write_json(one, "jsonl")
        parks = parks or bool(one.park)
    return Exit.FAILED if parks else Exit.OK


def _write(all: Plans) -> None:
    if not all.runs:
        note("no runs in flight")
        return
    for one in all.plans:
        for line in _lines(one):
            write(line)
        write(Text())
    park = f"{all.parks:,} would park" if all.parks else "none would park"
    write(Text(f"{_runs(all.runs)}, {park}", style="bold red" if all.parks else "bold"))


def _lines(one: SamePlan) -> Iterator[Text]:
    counts = ", ".join(f"{many:,} {status}" for status, many in one.statuses.items())
    yield Text.assemble((f"{_runs(one.runs)} of {one.pipeline}", "bold"), (f"  ({counts})", "dim"))
    for what, names, style in (
        ("reuse", one.reuse, words.colour("succeeded")),
        ("execute", one.execute, words.colour("running")),
        ("drop", one.drop, words.colour("cancelled")),
    ):
        if names:
            yield Text.assemble((f"  {what.ljust(8)}", style), ", ".join(names))
    if len(one.next) > 1:
        yield Text(f"  next    {', '.join(one.next)}, side by side")
    for misfit in one.park:
        yield Text.assemble(("  park    ", words.colour("failed")), _told(misfit))
    if one.note:
        yield Text.assemble(("  note    ", words.colour("waiting")), one.note)
    yield Text(f"  example {one.example}", style="dim")


def _told(misfit: Misfit) -> str:
    what = "the stored input" if misfit.needs == "input" else f"the stored output of {misfit.needs}"
    return f"step {misfit.step} cannot read {what}: {misfit.why}"


def _runs(many: int) -> str:
    return f"{many:,} run" if many == 1 else f"{many:,} runs"
