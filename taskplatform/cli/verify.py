"""`taskplatform verify`."""

import random
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place
from taskplatform.cli.failures import Exit
from taskplatform.cli.output import note, output_option, write, write_json
from taskplatform.cli.parsing import Input
from taskplatform.client.pipeline import Pipeline
from taskplatform.core import registry
from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.errors import PipelineNotFound
from taskplatform.verify.trial import Report, trial


@click.command()
@click.argument("pipeline")
@click.option(
    "--input",
    "data",
    type=Input(),
    default=b"{}",
    metavar="JSON|@FILE|-",
    help="The input of each run; {} if not given, - reads stdin.",
)
@click.option("--runs", type=click.IntRange(1, 10_000), default=60, help="How many runs.")
@click.option("--faults", type=click.IntRange(0, 1000), default=20, help="How many faults.")
@click.option("--seed", type=int, help="Repeats the faults of an earlier trial.")
@click.option("--settle", type=float, default=90.0, help="Seconds that the rest may take.")
@output_option
def verify(
    pipeline: str, data: bytes, runs: int, faults: int, seed: int | None, settle: float, form: str
) -> Exit:
    """Try a pipeline under faults: is a step safe to be executed twice?

    \b
    taskplatform verify demo --input '{"task_id": "t1"}'
    taskplatform verify demo --input @task.json --runs 200 --faults 50 --seed 7

    On servers and workers of its own, with the code that is here: your database is not touched,
    but what bodies do elsewhere they really do, and some of it twice. Workers are killed,
    messages doubled, Redis emptied, connections cut. Exit 1 if something was lost or done
    twice, or a step returned something else, or failed, when it was executed again.
    """
    place.pipelines()
    declared = registry.get(pipeline)
    if not isinstance(declared, Pipeline) or pipeline.startswith(HANDLER_PREFIX):
        raise PipelineNotFound(f"{pipeline!r} is no pipeline that can be enqueued")
    declared.accept(data)
    chosen = random.randrange(10**6) if seed is None else seed
    note(f"{runs} runs under {faults} faults, seed {chosen}")
    report = trial(declared, data, runs=runs, faults=faults, seed=chosen, settle=settle)
    if form == "table":
        _tell(report)
    else:
        write_json(_json(report), form)
    return Exit.OK if report.passed else Exit.FAILED


def _json(report: Report) -> dict[str, Any]:
    return {
        "passed": report.passed,
        "verdict": report.verdict.as_json(),
        "steps": report.steps,
        "errors": report.errors,
        "seconds": report.seconds,
    }


def _tell(report: Report) -> None:
    write(Text(report.verdict.text()))
    for error, many in report.errors.items():
        write(Text(f"failed      {many} runs: {error}"))
    for step, kinds in report.steps.items():
        _tell_of(step, kinds)


def _tell_of(step: str, kinds: dict[str, list[str]]) -> None:
    caught = [kinds[kind][0] for kind in ("not-idempotent", "unstable") if kind in kinds]
    for what in caught:
        write(Text.assemble(("✗", "bold red"), f" {step}: {what}"))
    if caught:
        return
    if "outside" in kinds and "key" not in kinds:
        what = kinds["outside"][0]
        hint = "executed again, it does so again; if that matters, hand on ctx.idempotency_key"
        write(Text.assemble(("!", "yellow"), f" {step}: {what}; {hint}"))
    elif "twice" in kinds:
        write(Text.assemble(("✓", "green"), f" {step}: executed twice, returned the same"))
