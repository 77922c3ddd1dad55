"""Five demo runs of different kinds, to have something to look at."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from taskplatform.client.pipeline import Pipeline
from taskplatform.core import registry
from taskplatform.errors import PipelineNotFound

# Name, what it shows, its input, options of the enqueue.
_KINDS: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    ("quick", "five steps, succeeds at once", {}, {}),
    ("slow", "its third step takes 5 s", {"delay_ms": 5000}, {}),
    ("failing", "fails at step 4, then waits for a retry", {"simulate_failure": True}, {}),
    ("urgent", "goes before others", {"priority": 300}, {}),
    ("later", "starts in a minute", {}, {"delay": "1m"}),
)


def enqueue_demo_runs() -> Iterator[str]:
    """Enqueue them; a line about each. Raises PipelineNotFound."""
    demo = registry.get("demo")
    if not isinstance(demo, Pipeline):
        raise PipelineNotFound("'demo' cannot be enqueued")
    stamp = f"{datetime.now(UTC):%H%M%S}"
    for name, meaning, data, options in _KINDS:
        run = demo.enqueue({"task_id": f"{name}-{stamp}", **data}, **options)
        yield f"run {run.id}  {name}: {meaning}"
