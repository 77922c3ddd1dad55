"""Admission: a run of a pipeline with a concurrency limit begins only with a slot of it."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any
from uuid import UUID

import psycopg

from taskplatform.core import registry
from taskplatform.core.disposition import InLine
from taskplatform.core.failure import Failure
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import PipelineNotFound, Unavailable
from taskplatform.executor import standing
from taskplatform.executor.branch import Branch
from taskplatform.executor.child import Child
from taskplatform.executor.ending import settled
from taskplatform.middleware.concurrency import told, wanted_of
from taskplatform.storage import overlaps, slots
from taskplatform.storage.cancel import cancel
from taskplatform.storage.claim import Claimed
from taskplatform.storage.settlement import End, PutBack, Settlement
from taskplatform.storage.slots import Asking, Full

logger = logging.getLogger(__name__)

Wanted = tuple[Claimed, "Declaration[Any]", dict[str, int]]


def admit(child: Child, claimed: Sequence[Claimed]) -> tuple[Sequence[Claimed], list[Settlement]]:
    """Take the slots of the runs that need one; who may go on, and what becomes of the others.

    Only a run's main row is asked for: what it forks has begun.
    """
    refused = _refusals(child, claimed)
    if not refused:
        return claimed, refused
    gone = {one.work_id for one in refused}
    return [one for one in claimed if one.work_id not in gone], refused


def _refusals(child: Child, claimed: Sequence[Claimed]) -> list[Settlement]:
    wanted: list[Wanted] = []
    refused: list[Settlement] = []
    for one in claimed:
        declaration = _limited(one)
        if declaration is None:
            continue
        try:
            limits = wanted_of(declaration.concurrency, _input(declaration, one))
        except Exception as error:
            why = f"the key of a concurrency limit: {Failure.of(error).message}"
            refused.append(standing.parked(one, child.default_queue, why))
            continue
        wanted.append((one, declaration, limits))
    if not wanted:
        return refused
    try:
        return refused + _take(child, wanted)
    except (psycopg.Error, Unavailable) as error:
        logger.warning("whether runs may begin is not known: %s", error)
        return refused + [standing.given_back(one, child.default_queue) for one, _, _ in wanted]


def give_up(child: Child, refused: Sequence[Branch]) -> dict[str, int]:
    """Free the slots of runs that were cancelled while these bodies of theirs executed.

    How many are ready by that, by queue. While the database is away: they are free when the
    child's lease is over.
    """
    epochs = [one.claimed.epoch for one in refused if one.declaration.concurrency]
    if epochs:
        with suppress(psycopg.Error, Unavailable):
            return child.look(partial(slots.give_up, epochs=epochs))
    return {}


def _limited(one: Claimed) -> Declaration[Any] | None:
    if one.branch or one.failing:
        return None
    try:
        declaration = registry.get(one.pipeline)
    except PipelineNotFound:
        return None
    return declaration if declaration.concurrency else None


def _input(declaration: Declaration[Any], one: Claimed) -> Any:
    return declaration.steps[0].read_input(one.input)


def _take(child: Child, wanted: Sequence[Wanted]) -> list[Settlement]:
    asked = [(Asking(one.work_id, one.run_id), limits) for one, _, limits in wanted]
    full = child.look(lambda connection: slots.take_for_runs(connection, asked))
    made = []
    for (one, declaration, limits), found in zip(wanted, full, strict=True):
        if found is not None:
            made.append(_refused(child, one, declaration, limits, found))
        elif declaration.concurrency[0].overlap.startswith("cancel"):
            made += _outdone(child, one, declaration, limits)
    return made


def _refused(
    child: Child, one: Claimed, declaration: Declaration[Any], limits: dict[str, int], full: Full
) -> Settlement:
    overlap = declaration.concurrency[0].overlap
    if overlap == "skip":
        return _skipped(one, limits, f"skipped: {told(full)}")
    if overlap.startswith("cancel") and (ended := _outdone(child, one, declaration, limits)):
        return ended[0]
    one.gates = limits
    then = PutBack(
        one.step,
        one.queue or child.default_queue,
        delay=standing.capped(inf, one.seconds_left),
        reason="concurrency",
        waiting_for=told(full),
        failures=one.failures,
        put_off=one.put_off,
        line=InLine(full.gate),
    )
    return settled(one, then)


def _outdone(
    child: Child, one: Claimed, declaration: Declaration[Any], limits: dict[str, int]
) -> list[Settlement]:
    """Cancel the runs that are too many at a gate; if this one is among them, it is returned."""
    newest = declaration.concurrency[0].overlap == "cancel-newest"
    too_many: dict[UUID, str] = {}
    for gate, most in limits.items():
        runs = child.look(
            partial(overlaps.too_many, gate=gate, most=most, run_id=one.run_id, newest=newest)
        )
        too_many |= dict.fromkeys(runs, gate)
    for run in too_many:
        if run != one.run_id:
            child.look(partial(cancel, run_id=run))
    if one.run_id not in too_many:
        return []
    kept = "older" if newest else "newer"
    why = f"skipped: {kept} runs have the places of {too_many[one.run_id]}"
    return [_skipped(one, limits, why)]


def _skipped(one: Claimed, limits: dict[str, int], why: str) -> Settlement:
    end = End("cancelled", error=Failure("Skipped", why, "").encode(), owns_key=one.key is not None)
    one.gates = limits
    return settled(one, end, ends_limited=True)
