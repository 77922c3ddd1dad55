"""The breaker: a pipeline that goes on killing pool children pauses itself."""

import logging
from collections.abc import Sequence

from taskplatform.executor.notes import Note
from taskplatform.storage import crashes
from taskplatform.supervisor.session import Database

logger = logging.getLogger(__name__)


class Breaker:
    """Counts the children that died in a body; at `most` within a minute the pipeline is paused.

    0 is never. Several supervisors count together, in the database.
    """

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most

    def died(self, bodies: Sequence[Note]) -> None:
        """Count children that died at once, before what they held is given back."""
        if not (bodies and self._most):
            return
        died = [(note.work_id, note.epoch) for note in bodies]
        pipelines = self._database.ask(lambda connection: crashes.note(connection, died), ())
        if not pipelines:
            return
        for pipeline, why in self._database.ask(
            lambda connection: crashes.trip(connection, pipelines, self._most), ()
        ):
            logger.error(
                "pipeline %s is paused: %s; when it is mended: taskplatform pipelines resume %s",
                pipeline,
                why,
                pipeline,
            )
