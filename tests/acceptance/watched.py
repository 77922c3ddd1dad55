"""Pipelines for tools that watch Celery, and those tools as their users set them up.

Imported by real workers; what is watched with is said by the environment.
"""

import os
from pathlib import Path
from typing import Any

from celery import current_task, signals
from celery.signals import worker_process_init
from celery.utils.log import get_task_logger
from pydantic import BaseModel

from taskplatform import Permanent, Pipeline, Retry, RetryAfter
from tests.acceptance.ledger import Order, write

logger = get_task_logger(__name__)
retry = Retry(delays=["0s"] * 3)


class Seen(BaseModel):
    """What a body saw of Celery."""

    id: str
    name: str
    retries: int
    queue: str


watched = Pipeline("watched", input=Order, retry=retry)


@watched.step
def plain(input: Order) -> Seen:
    """Look around, and log by Celery's logger."""
    logger.warning("in the body")
    task = current_task
    return Seen(
        id=task.request.id,
        name=task.name,
        retries=task.request.retries,
        queue=task.request.delivery_info["routing_key"],
    )


@watched.step
def unsteady(input: Order, plain: Seen) -> Seen:
    """Fail twice, then succeed."""
    task = current_task
    if task.request.retries < 2:
        raise ValueError(f"not yet, {task.request.retries}")
    return Seen(id=task.request.id, name=task.name, retries=task.request.retries, queue="")


@watched.step
async def asynchronous(input: Order, unsteady: Seen) -> str:
    """Log in an async body."""
    logger.warning("in the async body")
    return str(current_task.name)


@watched.step
def late(input: Order, asynchronous: str) -> None:
    """Ask to come back once."""
    once = Path(f"{input.ledger}.late")
    if not once.exists():
        once.touch()
        raise RetryAfter(0)


broken = Pipeline("broken", input=Order, retry=Retry(0))


@broken.step
def breaks(input: Order) -> None:
    """Fail for good."""
    raise Permanent("beyond repair")


def _count(name: str) -> Any:
    def receive(sender: Any = None, **known: Any) -> None:
        task = getattr(sender, "name", sender)
        write(Order(ledger=Path(os.environ["WATCH_SIGNALS"]), id=str(task)), name)

    return receive


_NAMES = ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry")
if "WATCH_SIGNALS" in os.environ:
    for _name in _NAMES:
        getattr(signals, _name).connect(_count(_name), weak=False)

if "WATCH_SENTRY" in os.environ:
    import sentry_sdk

    sentry_sdk.init(
        os.environ["WATCH_SENTRY"],
        traces_sample_rate=1.0,
        trace_lifecycle=os.environ.get("WATCH_LIFECYCLE"),  # type: ignore[arg-type]
    )

if "WATCH_OTEL" in os.environ:

    @worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def _trace(**_: Any) -> None:
        from opentelemetry import trace  # noqa: PLC0415 after the fork, as its users are told
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

        provider = TracerProvider()
        exporter = OTLPSpanExporter(endpoint=os.environ["WATCH_OTEL"])
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
