"""A pipeline, as the application declares and enqueues it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from taskplatform.client.numbers import priority_of
from taskplatform.client.run import Run
from taskplatform.client.storing import astore, store
from taskplatform.client.unset import UNSET, Unset
from taskplatform.client.when import due
from taskplatform.core.duration import Duration
from taskplatform.core.fields import text_of
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration, In, Out
from taskplatform.errors import InvalidInput
from taskplatform.settings import get_settings
from taskplatform.storage.new_run import NewRun

Input = BaseModel | Mapping[str, Any] | str | bytes


@dataclass(frozen=True, slots=True)
class _Options:
    key: str | Callable[[Any], str | None] | Unset | None
    owner: str | None
    priority: int | None
    delay: float | None
    at: datetime | None
    force: bool | None
    hold: bool = False


class Pipeline(Declaration[In, Out]):
    """A named, typed chain of steps that can be enqueued."""

    def enqueue(
        self,
        input: Input,
        *,
        key: str | Unset | None = UNSET,
        owner: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        force: bool | None = None,
        request_id: str | None = None,
        connection: object = None,
        hold: bool = False,
    ) -> Run[Out]:
        """Ask for a run; when this returns it is durable, and workers are being rung.

        What is not given comes from the input, as declared; `key=None` is no key. If an active
        run owns the key, or a finished one within the idempotency window, that is the answer,
        unless `force`. A repeated `request_id` gives the run of the first time.

        With `connection`, of psycopg 3 or SQLAlchemy, the run is a part of the transaction that
        is open there: it exists once that commits, and what is raised here does not end it.

        With `hold` the run waits for the messages of a canvas (see `canvas`); after 10 s without
        one it is executed like any other.

        Raises InvalidInput (nothing is stored), NoSecretKey, RequestIdReused, KeyBusy,
        UnusableConnection and Unavailable.
        """
        options = _Options(key, owner, _priority(priority), *due(delay, at), force, hold)
        asked = [self._asked(input, options, text_of(request_id, "request_id"))]
        return store(self, asked, connection)[0]

    def canvas(self, run: Run[Out] | UUID) -> Any:
        """The Celery chain of messages that execute a run enqueued with `hold`.

        It goes anywhere in a canvas: `chain(before.s(), p.canvas(run), after.s())`. What comes
        after it is given the run's output, once the run has succeeded.
        Raises DeclarationError for a pipeline without a body.
        """
        # Loads Celery, which a process that only enqueues need not.
        from taskplatform.celery.canvas import canvas  # noqa: PLC0415
        from taskplatform.celery.installed import platform_app  # noqa: PLC0415

        return canvas(platform_app(), self, run if isinstance(run, UUID) else run.id)

    async def aenqueue(
        self,
        input: Input,
        *,
        key: str | Unset | None = UNSET,
        owner: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        force: bool | None = None,
        request_id: str | None = None,
        connection: object = None,
        hold: bool = False,
    ) -> Run[Out]:
        """Like `enqueue`, without blocking the event loop; `connection` is an async one."""
        options = _Options(key, owner, _priority(priority), *due(delay, at), force, hold)
        asked = [self._asked(input, options, text_of(request_id, "request_id"))]
        return (await astore(self, asked, connection))[0]

    def _asked(
        self, input: object, options: _Options, request_id: str | None = None
    ) -> tuple[NewRun, In]:
        if options.hold and (options.delay is not None or options.at is not None):
            raise InvalidInput("hold=True goes with neither delay nor at: its canvas says when")
        inputs, settings, first = self.inputs, get_settings(), self.steps[0]
        data, model = inputs.accept(
            input.encode(errors="replace") if isinstance(input, str) else input
        )
        self.check_keys()
        for limit in self.concurrency:
            # Whoever enqueues hears of a key that cannot be used, and not a worker later on.
            limit.scope(model)
        if options.key is UNSET:
            key = inputs.key_of(model)
        else:
            key = text_of(options.key(model) if callable(options.key) else options.key, "key")
        owner = inputs.owner_of(model) if options.owner is None else text_of(options.owner, "owner")
        row = NewRun(
            id=uuid7(),
            pipeline=self.name,
            first_step=first.name,
            queue=first.queue or settings.queue,
            input=data,
            key=key,
            owner=owner,
            fair_key=inputs.fair_key_of(model, owner),
            priority=inputs.priority_of(model) if options.priority is None else options.priority,
            ageing=settings.priority_ageing,
            delay=options.delay,
            at=options.at,
            request_id=request_id,
            forced=inputs.force_of(model) if options.force is None else options.force,
            run_timeout=self.run_timeout,
            queue_timeout=self.queue_timeout,
            hold=options.hold,
        )
        return row, model


def enqueue_many(
    pipeline: Pipeline[In, Out],
    inputs: Iterable[Input],
    *,
    key: str | Callable[[Any], str | None] | Unset | None = UNSET,
    owner: str | None = None,
    priority: int | None = None,
    delay: Duration | None = None,
    at: datetime | None = None,
    force: bool | None = None,
    connection: object = None,
) -> list[Run[Out]]:
    """Ask for a run of every input, in their order; options are as in `Pipeline.enqueue`.

    `key` may be a function of the input. All inputs are checked before any is stored; then up to
    a thousand are stored at a time, so an outage in the middle leaves the first of them. With
    `connection` all are stored, if its transaction commits, or none.

    Raises InvalidInput (naming the input by its place, from 0), KeyBusy, UnusableConnection and
    Unavailable.
    """
    options = _Options(key, owner, _priority(priority), *due(delay, at), force)
    return store(pipeline, _asked(pipeline, inputs, options), connection)


async def aenqueue_many(
    pipeline: Pipeline[In, Out],
    inputs: Iterable[Input],
    *,
    key: str | Callable[[Any], str | None] | Unset | None = UNSET,
    owner: str | None = None,
    priority: int | None = None,
    delay: Duration | None = None,
    at: datetime | None = None,
    force: bool | None = None,
    connection: object = None,
) -> list[Run[Out]]:
    """Like `enqueue_many`, without blocking the event loop; `connection` is an async one."""
    options = _Options(key, owner, _priority(priority), *due(delay, at), force)
    asked = await asyncio.to_thread(_asked, pipeline, inputs, options)
    return await astore(pipeline, asked, connection)


def _asked(
    pipeline: Pipeline[In, Any], inputs: Iterable[Input], options: _Options
) -> list[tuple[NewRun, In]]:
    asked = []
    for place, one in enumerate(inputs):
        try:
            asked.append(pipeline._asked(one, options))
        except InvalidInput as error:
            raise InvalidInput(f"input {place}: {error}") from error
    return asked


def _priority(value: int | None) -> int | None:
    return None if value is None else priority_of(value)
