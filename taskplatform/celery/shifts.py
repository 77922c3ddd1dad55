"""What a message makes a pool child do: a shift of its kind, or one step of a canvas."""

import os
import signal
from time import monotonic
from uuid import UUID

from celery import Celery

from taskplatform.celery.address import address_of
from taskplatform.celery.bell import bell
from taskplatform.celery.crowd_shift import CrowdShift
from taskplatform.celery.identity import current_child, current_desk, identity
from taskplatform.celery.queues import served
from taskplatform.celery.shift import Shift
from taskplatform.executor.one_step import OneStep
from taskplatform.executor.slot import IDLE, SHIFT
from taskplatform.settings import get_settings

# The length of a shift in a worker that cannot see what waits for its children.
BLIND = 0.5


def work(app: Celery) -> None:
    """Work one shift: claim, execute, linger; end when nothing comes or the time is up."""
    settings = get_settings()
    if identity().seats > 1:
        desk = current_desk(app)
        CrowdShift(desk, served(app), bell(address_of(app)), settings.linger_seconds).work()
        return
    child = current_child(app)
    shift = Shift(child, served(app), bell(address_of(app)), settings.linger_seconds)
    seconds = settings.shift_seconds
    if app.conf.worker_disable_prefetch:
        # The worker takes no message while all its children are in shifts, so it cannot ask.
        seconds = min(seconds, BLIND)
    shift.work(until=monotonic() + seconds)


def work_on(app: Celery, run_id: UUID) -> None:
    """Execute the step that a run stands at; a run that somebody holds is left alone."""
    child = current_child(app)
    shift = Shift(child, served(app), bell(address_of(app)), 0)
    child.slot.state = SHIFT
    try:
        claimed = child.claim_run(run_id)
        child.remember(claimed)
        OneStep(child, shift.ring).execute(claimed)
    finally:
        child.slot.state = IDLE
    if child.leaving and not child.table.shutting_down:
        os.kill(os.getpid(), signal.SIGTERM)
