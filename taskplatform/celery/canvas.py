"""A run as a part of a user's own canvas: the chain of messages that execute it."""

from typing import Any
from uuid import UUID

from celery import Celery, chain
from celery.canvas import Signature
from kombu.serialization import prepare_accept_content

from taskplatform.core.pipeline import Declaration
from taskplatform.errors import DeclarationError
from taskplatform.settings import get_settings


def canvas(app: Celery, declaration: Declaration[Any], run_id: UUID) -> Signature:
    """One immutable signature for each stage with a body: for several steps at once the first.

    Raises DeclarationError for a pipeline without any.
    """
    bodies = [[step for step in stage if step.has_body] for stage in declaration.stages]
    signatures = [
        app.signature(
            stage[0].task_name,
            kwargs={"run_id": str(run_id)},
            immutable=True,
            queue=stage[0].queue or declaration.queue or get_settings().queue,
            serializer=_serializer(app),
            ignore_result=True,
        )
        for stage in bodies
        if stage
    ]
    if not signatures:
        raise DeclarationError(
            f"pipeline '{declaration.name}' has no step with a body, so no canvas can execute it"
        )
    return chain(*signatures, app=app)


def _serializer(app: Celery) -> str:
    accepted = prepare_accept_content(app.conf.accept_content)  # type: ignore[no-untyped-call]
    json = accepted is None or "application/json" in accepted
    return "json" if json else str(app.conf.task_serializer)
