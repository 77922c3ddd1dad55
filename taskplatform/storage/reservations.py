"""Places in a throttle's budget for who waits without being work: a web process, a script."""

from taskplatform.storage.connection import Session

# A reservation ends so long after its owner wanted to ask again: it may have been killed.
_LATE = 1.0

_MAKE = """
INSERT INTO taskplatform.reservations (gate, weight, until)
VALUES (%(gate)s, %(weight)s, clock_timestamp() + make_interval(secs => %(seconds)s))
RETURNING id
"""

# Who had it, and could not use it in time, has it again, at its place.
_KEEP = """
INSERT INTO taskplatform.reservations (id, gate, weight, until) OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(gate)s, %(weight)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (id) DO UPDATE SET until = excluded.until
"""

_END = """
DELETE FROM taskplatform.reservations WHERE id = %s
"""


def make(connection: Session, gate: str, weight: int, seconds: float) -> int:
    """Stand in line behind those who do already; who is let go of a line comes after."""
    values = {"gate": gate, "weight": weight, "seconds": seconds + _LATE}
    row = connection.execute(_MAKE, values).fetchone()
    assert row is not None
    return int(row[0])


def keep(connection: Session, id: int, gate: str, weight: int, seconds: float) -> None:
    """Keep the place until one asks again in so many seconds."""
    values = {"id": id, "gate": gate, "weight": weight, "seconds": seconds + _LATE}
    connection.execute(_KEEP, values)


def end(connection: Session, id: int) -> None:
    """Give the place up."""
    connection.execute(_END, (id,))
