"""Throttles: a strict window of weights, decided by the database clock.

What is granted is noted by its time, to a thousandth of the window, and counts until the window
and the time that a grant stays valid have passed; so no window of that length ever holds more than
the limit, whoever asks and however the processes die. Who asks locks the bucket, in a statement of
its own: the next one sees all that was granted before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskplatform.storage import direct, gates
from taskplatform.storage.connection import Session, one_trip

# A grant that was not used within this share of the window is void.
VALID_SHARE = 0.01
# So many times a window's length is divided: what is granted within one counts as one.
SLICES = 1000
KIND = "throttle"

WANTED = """unnest(%(names)s::text[], %(scopes)s::text[], %(gates)s::text[], %(limits)s::integer[],
                 %(windows)s::double precision[], %(weights)s::integer[],
                 %(shares)s::double precision[])
        WITH ORDINALITY AS d(name, scope, gate, most, per, weight, share, place)"""

# Who asks next need not wait for the disk: a grant is made durable after the lock is given up, and
# before it is used. If the server dies in between, nobody has started anything with it.
_FLUSH = """
SELECT pg_logical_emit_message(true, 'taskplatform', '')
"""

# In order of id, so that two who ask for several limits never wait for each other in a circle. The
# next statement has to know what was locked: it may see a bucket that was made in between.
_LOCK = """
SELECT set_config('taskplatform.locked', coalesce(string_agg(id::text, ','), ''), true),
       set_config('synchronous_commit', 'off', true) FROM (
    SELECT b.id FROM unnest(%(names)s::text[], %(scopes)s::text[]) AS d(name, scope)
    JOIN taskplatform.throttle_buckets b ON b.name = d.name AND b.scope = d.scope
    ORDER BY b.id FOR UPDATE OF b
) AS locked
"""

_MAKE = f"""
INSERT INTO taskplatform.throttle_buckets (name, scope, most, per)
SELECT name, scope, most, per FROM {WANTED} ORDER BY name COLLATE "C", scope COLLATE "C"
ON CONFLICT DO NOTHING
"""

# The weight that counts now: of a window whose length was changed it is added up anew.
HELD = """
CASE WHEN b.span = {span} THEN b.used - coalesce((
    SELECT sum(s.weight) FROM taskplatform.throttle_slices s
    WHERE s.bucket = b.id AND s.at > b.swept
      AND s.at <= {now} - make_interval(secs => {span})), 0)
ELSE coalesce((
    SELECT sum(s.weight) FROM taskplatform.throttle_slices s
    WHERE s.bucket = b.id AND s.at > {now} - make_interval(secs => {span})), 0) END::bigint"""

ALLOWED = "least({most}, greatest(1, floor({most} * {share})))::bigint"

# When `needed` of what counts will count no more. What is kept free for others becomes grants as
# it frees, and then counts for another window.
_FREE_AT = """
CASE WHEN {needed} <= 0 THEN {now}
     WHEN {weight} > {allowed} THEN 'infinity'::timestamptz
     WHEN {held} <= 0 THEN {now} + make_interval(secs => least({span}, 0.05))
     ELSE (
        SELECT gone.at + make_interval(secs => {span} * (1 + ({needed} - 1) / {held}))
        FROM (
            SELECT s.at, sum(s.weight) OVER (ORDER BY s.at ROWS UNBOUNDED PRECEDING) AS weight
            FROM taskplatform.throttle_slices s
            WHERE s.bucket = {id} AND s.at > {now} - make_interval(secs => {span})
        ) AS gone
        WHERE gone.weight > ({needed} - 1) %% {held} ORDER BY gone.at LIMIT 1
     ) END"""


def free_at(row: str, needed: str) -> str:
    """When so much of a bucket that is `needed` is free; `row` has what was counted of it."""
    names = {name: f"{row}.{name}" for name in ("weight", "allowed", "held", "span", "id")}
    return _FREE_AT.format(needed=needed, now=f"{row}.at", **names)


_ASK = f"""
WITH now AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), own AS MATERIALIZED (
    SELECT id, gate FROM taskplatform.reservations
    WHERE work_id = %(work_id)s::bigint AND gate = ANY (%(gates)s::text[])
    UNION ALL
    SELECT id, gate FROM taskplatform.reservations WHERE id = %(reservation)s::bigint
), asked AS MATERIALIZED (
    SELECT d.place, d.gate, d.name, d.scope, d.weight, d.share, now.at,
           coalesce(l.most, d.most) AS most, coalesce(l.per, d.per) * %(lasts)s AS span,
           d.most AS declared_most, d.per AS declared_per
    FROM {WANTED}
    CROSS JOIN now
    LEFT JOIN taskplatform.limits l ON l.kind = '{KIND}' AND l.name = d.name
), counted AS MATERIALIZED (
    SELECT a.*, b.id, b.next_at, greatest(b.closed_until, a.at) AS open_at,
           {ALLOWED.format(most="a.most", share="a.share")} AS allowed,
           {HELD.format(span="a.span", now="a.at")} AS held,
           coalesce((
               SELECT sum(v.weight) FROM taskplatform.reservations v
               WHERE v.gate = a.gate AND v.until > a.at
                 AND v.id < coalesce((SELECT own.id FROM own WHERE own.gate = a.gate),
                                     9223372036854775807)), 0)::bigint AS reserved,
           {gates.IN_FRONT.format(gate="a.gate", work_id="%(work_id)s::bigint")} AS in_front
    FROM asked a JOIN taskplatform.throttle_buckets b ON b.name = a.name AND b.scope = a.scope
    WHERE b.id::text = ANY (string_to_array(current_setting('taskplatform.locked', true), ','))
), judged AS MATERIALIZED (
    SELECT c.*, c.open_at = c.at AND NOT c.in_front
                AND c.held + c.reserved + c.weight <= c.allowed AS fits
    FROM counted c
), decided AS MATERIALIZED (
    SELECT j.*, bool_and(j.fits) OVER () AS granted FROM judged j
    WHERE (SELECT count(*) FROM judged) = cardinality(%(names)s::text[])
), told AS MATERIALIZED (
    SELECT j.*, CASE WHEN NOT j.granted THEN greatest(j.open_at, free.at) END AS free_at,
           to_timestamp(ceil(extract(epoch FROM j.at)::double precision / (j.span / {SLICES}))
                        * (j.span / {SLICES})) AS slice
    FROM decided j LEFT JOIN LATERAL (
        SELECT {free_at("j", "(j.held + j.reserved + j.weight - j.allowed)")} AS at
        WHERE NOT j.granted
    ) AS free ON true
), noted AS (
    INSERT INTO taskplatform.throttle_slices AS old (bucket, at, weight)
    SELECT id, slice, weight FROM told WHERE granted
    ON CONFLICT (bucket, at) DO UPDATE SET weight = old.weight + excluded.weight
), changed AS (
    UPDATE taskplatform.throttle_buckets b
    SET used = told.held + CASE WHEN told.granted THEN told.weight ELSE 0 END,
        swept = told.at - make_interval(secs => told.span), span = told.span,
        most = told.declared_most, per = told.declared_per,
        next_at = CASE WHEN told.granted OR %(work_id)s::bigint IS NULL THEN b.next_at
                       ELSE least(b.next_at, told.free_at) END
    FROM told
    WHERE b.id = told.id
      AND (told.granted OR (%(work_id)s::bigint IS NOT NULL
                            AND told.free_at < coalesce(b.next_at, 'infinity')))
), gone AS (
    DELETE FROM taskplatform.reservations WHERE id = ANY (ARRAY(
        SELECT own.id FROM own
        WHERE %(work_id)s::bigint IS NOT NULL OR (SELECT granted FROM told LIMIT 1)))
)
SELECT place, granted, fits,
       CASE WHEN isfinite(free_at)
            THEN extract(epoch FROM free_at - at)::double precision END,
       slice, extract(epoch FROM at - transaction_timestamp())::double precision
FROM told ORDER BY place
"""

_GIVE_BACK = """
WITH returned AS (
    UPDATE taskplatform.throttle_slices s SET weight = s.weight - d.weight
    FROM unnest(%(names)s::text[], %(scopes)s::text[], %(weights)s::integer[],
                %(slices)s::timestamptz[]) AS d(name, scope, weight, slice)
    JOIN taskplatform.throttle_buckets b ON b.name = d.name AND b.scope = d.scope
    WHERE s.bucket = b.id AND s.at = d.slice AND s.at > b.swept
    RETURNING s.bucket, d.weight
)
UPDATE taskplatform.throttle_buckets b SET used = b.used - returned.weight
FROM returned WHERE b.id = returned.bucket
"""


_CLOSE = """
INSERT INTO taskplatform.throttle_buckets AS b (name, scope, most, per, closed_until, closed_why)
VALUES (%(name)s, %(scope)s, %(limit)s, %(window)s,
        clock_timestamp() + make_interval(secs => %(seconds)s), %(why)s)
ON CONFLICT (name, scope) DO UPDATE
SET closed_until = greatest(b.closed_until, excluded.closed_until), closed_why = excluded.closed_why
WHERE b.closed_until < excluded.closed_until
"""


_OPEN = """
UPDATE taskplatform.throttle_buckets
SET closed_until = '-infinity', next_at = CASE WHEN next_at IS NOT NULL THEN clock_timestamp() END
WHERE name = %s AND closed_until > clock_timestamp()
"""


@dataclass(frozen=True, order=True, slots=True)
class Wanted:
    """A grant that is asked for; `window` in seconds, `share` is how much of the limit may be used.

    A limit that was set by hand wins over the one given.
    """

    name: str
    scope: str
    limit: int
    window: float
    weight: int = 1
    share: float = 1.0

    @property
    def gate(self) -> str:
        """Where one stands in line for it."""
        return gates.gate_of(KIND, self.name, self.scope)


@dataclass(frozen=True, slots=True)
class Grant:
    """Room in slices, one for each that was wanted; it was given `waited` seconds into the asking.

    The database waits for who asked before; a grant is not older than the rest of the time.
    """

    slices: list[datetime]
    waited: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who refused, and seconds until there may be room; infinite if there never will be."""

    wanted: Wanted
    seconds: float


def ask(
    connection: Session,
    wanted: Sequence[Wanted],
    *,
    work_id: int | None = None,
    reservation: int | None = None,
) -> Grant | Refusal:
    """Ask for one grant of each limit, all or none.

    Of several that refuse, the one is told that does for the longest. Work that was let go out of
    a line has asked with this, and its reservation is gone; that of somebody else is gone when it
    is used.
    """
    values = values_of(wanted)
    values |= {"work_id": work_id, "reservation": reservation, "lasts": 1 + VALID_SHARE}
    rows = _ask(connection, values)
    if len(rows) < len(wanted):
        connection.execute(_MAKE, values)
        rows = _ask(connection, values)
    refusals = [
        Refusal(wanted[place - 1], float("inf") if seconds is None else max(seconds, 0.0))
        for place, granted, fits, seconds, *_ in rows
        if not granted and not fits
    ]
    if refusals:
        return max(refusals, key=lambda one: one.seconds)
    direct.ask(connection, _FLUSH, {})
    return Grant([row[4] for row in rows], rows[0][5])


def give_back(connection: Session, wanted: Sequence[Wanted], grant: Grant) -> None:
    """Make room again for others: nothing was started with this grant, and nothing will be."""
    values = values_of(wanted) | {"slices": grant.slices}
    with one_trip(connection):
        connection.execute(_LOCK, values)
        connection.execute(_GIVE_BACK, values)


def _ask(connection: Session, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    return direct.ask_all(connection, [_LOCK, _ASK], values)[1]


def close(connection: Session, wanted: Wanted, seconds: float, why: str) -> None:
    """Grant nothing for so long, whoever asks; a longer time that was set before stays."""
    values = {
        "name": wanted.name,
        "scope": wanted.scope,
        "limit": wanted.limit,
        "window": wanted.window,
        "seconds": seconds,
        "why": why,
    }
    connection.execute(_CLOSE, values)


def open_again(connection: Session, name: str) -> None:
    """Grant again, in all scopes; who stands in line is looked at within a second."""
    connection.execute(_OPEN, (name,))


def values_of(wanted: Sequence[Wanted]) -> dict[str, Any]:
    """The limits as the parameters of a statement."""
    return {
        "names": [one.name for one in wanted],
        "scopes": [one.scope for one in wanted],
        "gates": [one.gate for one in wanted],
        "limits": [one.limit for one in wanted],
        "windows": [one.window for one in wanted],
        "weights": [one.weight for one in wanted],
        "shares": [one.share for one in wanted],
    }
