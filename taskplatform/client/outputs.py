"""A run's output: that of its last stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskplatform.core import registry
from taskplatform.core.sealing import shown
from taskplatform.errors import CannotOpen, PipelineNotFound


def last_steps(output_step: str) -> list[str]:
    """The steps of the last stage, from the names that are stored with the run."""
    return output_step.split(",")


def typed_output(pipeline: str, steps: Sequence[str], stored: Mapping[str, bytes]) -> Any:
    """The output in its declared type, or plain JSON if that is unknown; None if it is gone.

    Without its type, secrets are shown as ***. Raises CannotOpen.
    Of several steps, those of a group: a dict by their names.
    """
    values = {name: _typed(pipeline, name, stored[name]) for name in steps if name in stored}
    return values if len(steps) > 1 else values.get(steps[0])


def plain_output(steps: Sequence[str], stored: Mapping[str, bytes]) -> Any:
    """The output as JSON, as it is shown."""
    values = {name: shown(stored[name]) for name in steps if name in stored}
    return values if len(steps) > 1 else values.get(steps[0])


def _typed(pipeline: str, step: str, stored: bytes) -> Any:
    try:
        declared = registry.get(pipeline).find(step)
    except PipelineNotFound:
        declared = None
    if declared is not None:
        try:
            return declared.output.decode(stored)
        except CannotOpen:
            raise
        except ValueError:
            # Stored by other code than ours: shown as it is.
            pass
    return shown(stored)
