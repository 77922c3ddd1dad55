"""Runs of every shape under all that can happen to them, by random walks.

TASKPLATFORM_RACES_EXAMPLES=2000 walks for longer, and elsewhere each time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from taskplatform.core import registry
from taskplatform.executor.slots import SlotTable
from tests.integration.races.shape_life import Life
from tests.integration.races.shaped import declare
from tests.integration.races.stage import Stage

FEW = 25
EXAMPLES = int(os.environ.get("TASKPLATFORM_RACES_EXAMPLES", FEW))


@pytest.mark.timeout(3600)
def test_the_life_of_runs_of_every_shape(stage: Stage) -> None:
    """G3-G5, G10, [X]: whatever happens in whatever order, runs go on, once, or say why not."""
    registry.clear()
    for pipeline in declare():
        pipeline.finalize()
    machine = type("OneLife", (Life,), {"stage": stage, "table": SlotTable.create()})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                deadline=None,
                derandomize=EXAMPLES <= FEW,
                database=None,
                max_examples=EXAMPLES,
                stateful_step_count=60,
                # A walk is short, and its tables are large: to shrink it takes minutes.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        registry.clear()
