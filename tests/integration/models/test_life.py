"""The life of runs against a model of it, by random walks over the real tables.

TASKPLATFORM_RACES_EXAMPLES=2000 walks for longer, and elsewhere each time.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.models import journal
from tests.integration.models.life import Life
from tests.integration.races.stage import Stage

FEW = 100
EXAMPLES = int(os.environ.get("TASKPLATFORM_RACES_EXAMPLES", FEW))
STEPS = 50


@pytest.mark.timeout(3600)
def test_the_life_of_runs(stage: Stage) -> None:
    """G3-G8, G10, I2-I5, I7, I8, I11: every walk through the transitions is the model's."""
    journal.keep(stage)
    machine = type("OneLife", (Life,), {"stage": stage})
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None,
            derandomize=EXAMPLES <= FEW,
            database=None,
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
