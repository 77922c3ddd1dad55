"""What is paused: pipelines, queues, owners and keys; and the runs that go on all the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskplatform.storage.connection import Session
from taskplatform.storage.direct import ask

_STANDING = """
SELECT 'pipeline', '', pipeline FROM taskplatform.pauses
UNION ALL SELECT kind, pipeline, name FROM taskplatform.wider_pauses
UNION ALL SELECT 'run', '', run_id::text FROM taskplatform.canaries
UNION ALL SELECT DISTINCT 'failing', '', pipeline FROM taskplatform.attempt_counts
UNION ALL SELECT 'failing', '', pipeline FROM taskplatform.retry_budgets
"""

# Something of it was set aside, and nothing pauses it any more.
_LOOK = f"""
{_STANDING}
UNION ALL SELECT 'resumed', '', known.pipeline
FROM unnest(%(pipelines)s::text[]) AS known(pipeline)
CROSS JOIN LATERAL (
    SELECT FROM taskplatform.work
    WHERE pipeline = known.pipeline AND reason IN ('paused', 'breaker') AND gate IS NULL
    LIMIT 1
) AS w
WHERE (SELECT true FROM taskplatform.pauses p WHERE p.pipeline = known.pipeline) IS NULL
"""

_PAUSE = """
INSERT INTO taskplatform.wider_pauses (kind, pipeline, name, why) VALUES (%s, %s, %s, %s)
ON CONFLICT (kind, pipeline, name) DO NOTHING
RETURNING kind
"""

_RESUME = """
DELETE FROM taskplatform.wider_pauses WHERE (kind, pipeline, name) = (%s, %s, %s)
RETURNING kind
"""

_LIST = """
SELECT kind, pipeline, name, why, since FROM taskplatform.wider_pauses
WHERE kind = %s ORDER BY pipeline, name
"""

# Whether work of a run is paused with its owner or its key; `r` is the run.
IS_PAUSED_WITH_RUN = """(
    SELECT true FROM taskplatform.wider_pauses o
    WHERE (o.kind = 'owner' AND o.pipeline = '' AND o.name = r.owner)
       OR (o.kind = 'key' AND o.pipeline = r.pipeline AND o.name = r.key) LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class WiderPause:
    """A queue, an owner, or a key of a pipeline of which nothing starts."""

    kind: str
    pipeline: str
    name: str
    why: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is paused at a moment; `canaries` are the runs that go on.

    `failing` are pipelines of which attempts failed lately: what they come to is counted.
    """

    pipelines: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    keys: frozenset[tuple[str, str]] = frozenset()
    canaries: frozenset[UUID] = frozenset()
    failing: frozenset[str] = frozenset()

    def why(self, pipeline: str, key: str | None, owner: str | None) -> str | None:
        """Which pause of an owner or a key a run is under, in words."""
        if owner in self.owners:
            return f"owner {owner}, who is paused"
        if key is not None and (pipeline, key) in self.keys:
            return f"key {key}, which is paused"
        return None


def standing(connection: Session) -> Standing:
    """What is paused now."""
    return look(connection, ())[0]


def look(connection: Session, pipelines: Sequence[str]) -> tuple[Standing, list[str]]:
    """What is paused now; and those of the pipelines that have something to be let go."""
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, pipeline, name in ask(connection, _LOOK, {"pipelines": list(pipelines)}):
        found.setdefault(kind, []).append((pipeline, name))

    def names(kind: str) -> frozenset[str]:
        return frozenset(name for _, name in found.get(kind, ()))

    now = Standing(
        names("pipeline"),
        names("queue"),
        names("owner"),
        frozenset(found.get("key", ())),
        frozenset(map(UUID, names("run"))),
        names("failing"),
    )
    return now, sorted(names("resumed"))


def pause(
    connection: Session, kind: str, name: str, why: str | None, *, pipeline: str = ""
) -> bool:
    """Pause a queue, an owner, or a key of a pipeline; False if it was paused already."""
    return connection.execute(_PAUSE, (kind, pipeline, name, why)).fetchone() is not None


def resume(connection: Session, kind: str, name: str, *, pipeline: str = "") -> bool:
    """End such a pause; False if there was none."""
    return connection.execute(_RESUME, (kind, pipeline, name)).fetchone() is not None


def wider_pauses(connection: Session, kind: str) -> list[WiderPause]:
    """The pauses of that kind."""
    return [WiderPause(*row) for row in connection.execute(_LIST, (kind,))]


def open_of(names: Collection[str], paused: Collection[str]) -> list[str]:
    """Those that are not paused."""
    return [one for one in names if one not in paused]
