"""`taskplatform enqueue`."""

import time
from datetime import datetime

import rich_click as click

from taskplatform.cli import place
from taskplatform.cli.failures import Exit
from taskplatform.cli.output import note, output_option
from taskplatform.cli.parsing import Input, Length, Moment
from taskplatform.cli.printing import wait_and_print, wait_option_pair, write_run
from taskplatform.client.pipeline import Pipeline
from taskplatform.client.unset import UNSET
from taskplatform.core import registry
from taskplatform.core.names import HANDLER_PREFIX
from taskplatform.errors import PipelineNotFound


@click.command()
@click.argument("pipeline")
@click.option(
    "--input",
    "data",
    type=Input(),
    default=b"{}",
    metavar="JSON|@FILE|-",
    help="The input; {} if not given, - reads stdin.",
)
@click.option("--key", help="The business key, instead of the pipeline's own.")
@click.option("--priority", type=int, help="Higher goes first; 0 is usual.")
@click.option("--delay", type=Length(), metavar="5m", help="Start so much later.")
@click.option("--at", type=Moment(), metavar="TIME", help="Start at a moment, ISO 8601.")
@click.option("--force", is_flag=True, help="Make a run even if the key has one.")
@click.option("--request-id", help="Repeated with the same id, it is the same run.")
@wait_option_pair
@output_option
def enqueue(
    pipeline: str,
    data: bytes,
    key: str | None,
    priority: int | None,
    delay: float | None,
    at: datetime | None,
    force: bool,
    request_id: str | None,
    wait: bool,
    timeout: float | None,
    form: str,
) -> Exit:
    """Ask for a run of a pipeline.

    \b
    taskplatform enqueue demo --input '{"task_id": "t1"}' --wait
    taskplatform enqueue demo --input @task.json --delay 5m --priority 300
    taskplatform enqueue demo --input - -o json < task.json

    Once this returns the run is stored durably. If an active run has the same key, or a finished
    one within the pipeline's idempotency window, that run is the answer, unless --force.

    With --wait the exit code says how the run ended: 0 succeeded, 1 failed or cancelled, 124 not
    ended within --timeout.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    if delay is not None and at is not None:
        raise click.UsageError("--delay and --at are both given: give one of them")
    place.pipelines()
    declared = registry.get(pipeline)
    if not isinstance(declared, Pipeline) or pipeline.startswith(HANDLER_PREFIX):
        raise PipelineNotFound(f"'{pipeline}' handles an event: it cannot be enqueued")
    place.servers()
    before = time.time_ns() // 1_000_000
    run = declared.enqueue(
        data,
        key=UNSET if key is None else key,
        priority=priority,
        delay=delay,
        at=at,
        # What the input says about it counts, if the option is not given.
        force=True if force else None,
        request_id=request_id,
    )
    # An id of version 7 begins with its milliseconds.
    if run.id.int >> 80 < before:
        same = "this request id" if request_id else "this key"
        note(f"note: run {run.id} exists with {same}; --force makes another")
    if wait:
        return wait_and_print(run, timeout, form)
    write_run(run.view(), form)
    return Exit.OK
