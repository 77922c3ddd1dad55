"""A pipeline, as the application declares and enqueues it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from taskplatform.client import ringer, within
from taskplatform.client.run import Run
from taskplatform.client.session import call
from taskplatform.client.unset import UNSET, Unset
from taskplatform.client.when import due
from taskplatform.core.duration import Duration
from taskplatform.core.fields import text_of
from taskplatform.core.ids import uuid7
from taskplatform.core.pipeline import Declaration
from taskplatform.errors import InvalidInput
from taskplatform.settings import get_settings
from taskplatform.storage.enqueue import enqueue
from taskplatform.storage.known import Enqueued
from taskplatform.storage.new_run import NewRun

In = TypeVar("In", bound=BaseModel)
Input = BaseModel | Mapping[str, Any] | str | bytes

_CHUNK_ROWS = 1000
_CHUNK_BYTES = 8 << 20
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Options:
    key: str | Callable[[Any], str | None] | Unset | None
    owner: str | None
    priority: int | None
    delay: float | None
    at: datetime | None
    force: bool | None


class Pipeline(Declaration[In]):
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
    ) -> Run:
        """Ask for a run; when this returns it is durable, and workers are being rung.

        What is not given comes from the input, as declared; `key=None` is no key. If an active
        run owns the key, or a finished one within the idempotency window, that is the answer,
        unless `force`. A repeated `request_id` gives the run of the first time.

        With `connection`, of psycopg 3 or SQLAlchemy, the run is a part of the transaction that
        is open there: it exists once that commits, and what is raised here does not end it.

        Raises InvalidInput (nothing is stored), RequestIdReused, KeyBusy, UnusableConnection and
        Unavailable.
        """
        options = _Options(key, owner, _priority(priority), *due(delay, at), force)
        row = self._row(input, options, text_of(request_id, "request_id"))
        return _store(self, [row], connection)[0]

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
    ) -> Run:
        """Like `enqueue`, without blocking the event loop; `connection` is an async one."""
        options = _Options(key, owner, _priority(priority), *due(delay, at), force)
        row = self._row(input, options, text_of(request_id, "request_id"))
        return (await _astore(self, [row], connection))[0]

    def _row(self, input: object, options: _Options, request_id: str | None = None) -> NewRun:
        model, data = self.accept(
            input.encode(errors="replace") if isinstance(input, str) else input
        )
        first = self.steps[0]
        if options.key is UNSET:
            key = self.key_of(model)
        else:
            key = text_of(options.key(model) if callable(options.key) else options.key, "key")
        return NewRun(
            id=uuid7(),
            pipeline=self.name,
            first_step=first.name,
            queue=first.queue or get_settings().queue,
            input=data,
            key=key,
            owner=(
                self.owner_of(model) if options.owner is None else text_of(options.owner, "owner")
            ),
            priority=self.priority_of(model) if options.priority is None else options.priority,
            delay=options.delay,
            at=options.at,
            request_id=request_id,
            forced=self.force_of(model) if options.force is None else options.force,
            run_timeout=self.run_timeout,
            queue_timeout=self.queue_timeout,
        )


def enqueue_many(
    pipeline: Pipeline[Any],
    inputs: Iterable[Input],
    *,
    key: str | Callable[[Any], str | None] | Unset | None = UNSET,
    owner: str | None = None,
    priority: int | None = None,
    delay: Duration | None = None,
    at: datetime | None = None,
    force: bool | None = None,
    connection: object = None,
) -> list[Run]:
    """Ask for a run of every input, in their order; options are as in `Pipeline.enqueue`.

    `key` may be a function of the input. All inputs are checked before any is stored; then a
    thousand are stored at a time, so an outage in the middle leaves the first thousands. With
    `connection` all are stored when its transaction commits, or none.

    Raises InvalidInput (naming the input by its place, from 0), KeyBusy, UnusableConnection and
    Unavailable.
    """
    options = _Options(key, owner, _priority(priority), *due(delay, at), force)
    rows = _rows(pipeline, inputs, options)
    return [run for chunk in _chunks(rows) for run in _store(pipeline, chunk, connection)]


def _rows(pipeline: Pipeline[Any], inputs: Iterable[Input], options: _Options) -> list[NewRun]:
    rows = []
    for place, one in enumerate(inputs):
        try:
            rows.append(pipeline._row(one, options))
        except InvalidInput as error:
            raise InvalidInput(f"input {place}: {error}") from error
    return rows


def _store(pipeline: Declaration[Any], rows: list[NewRun], connection: object) -> list[Run]:
    if connection is not None:
        return _runs(pipeline, *within.store(connection, rows))
    found = call(lambda connection, again: enqueue(connection, rows, again=again))
    ready = sum(_is_ready(one) for one in found)
    if ready:
        ringer.RINGER.ring(rows[0].queue, ready)
    return _runs(pipeline, found)


async def _astore(pipeline: Declaration[Any], rows: list[NewRun], connection: object) -> list[Run]:
    if connection is None:
        return await asyncio.to_thread(_store, pipeline, rows, None)
    return _runs(pipeline, *await within.astore(connection, rows))


def _runs(
    pipeline: Declaration[Any], found: Sequence[Enqueued], uncommitted: within.Open | None = None
) -> list[Run]:
    return [Run(one.id, pipeline.name, status=one.status, uncommitted=uncommitted) for one in found]


def _is_ready(one: Enqueued) -> bool:
    return one.created and one.status == "queued"


def _chunks(rows: Sequence[NewRun]) -> Iterator[list[NewRun]]:
    chunk: list[NewRun] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == _CHUNK_ROWS or size + len(row.input) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row.input)
    if chunk:
        yield chunk


def _priority(value: int | None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not _LOWEST <= value <= _HIGHEST:
        raise InvalidInput(f"priority={value!r}: give a whole number of 32 bits, 0 is usual")
    return value
