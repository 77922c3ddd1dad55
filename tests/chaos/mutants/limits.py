"""Mutants of limits, and of who decides: the worker's clock, any lock order, a lazy disk."""

import random
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any
from uuid import UUID

from taskplatform.storage import connection as connecting
from taskplatform.storage import keys, leases, slots, throttles
from taskplatform.storage.claim import Claimed
from taskplatform.storage.script import Statement
from taskplatform.supervisor import rescue as rescuing
from tests.chaos.mutants.statements import change, put

# The package has a function of the module's name.
throttling = import_module("taskplatform.middleware.throttle")

_LAZY = """
ALTER SYSTEM SET synchronous_commit = off;
ALTER SYSTEM SET wal_writer_delay = '10s'
"""


def workers_clock() -> None:
    """What is free in a limit is decided by the clock of whoever asks."""
    real = throttles.values_of
    change(throttles, "clock_timestamp() AS at", "to_timestamp(%(asked_at)s) AS at")

    def values_of(wanted: Sequence[throttles.Wanted]) -> dict[str, Any]:
        return {**real(wanted), "asked_at": time.time()}

    put(throttles, "values_of", values_of)


def unordered_locks() -> None:
    """A batch takes its keys in any order, each a moment after the other."""
    given = "SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])"
    slowly = f"{given} AS one(p, k, r), LATERAL (SELECT pg_sleep(0.003 + 0 * length(k))) AS _"
    change(keys, given, slowly.replace("*", "p, k, r", 1))

    def take(wanted: Mapping[tuple[str, str], UUID], **_: Any) -> Statement:
        items = list(wanted.items())
        random.shuffle(items)
        columns = [pipeline for (pipeline, _), _ in items], [key for (_, key), _ in items]
        return Statement(vars(keys)["_TAKE"], (*columns, [run for _, run in items]))

    put(keys, "take", take)


def commits_later() -> None:
    """A commit is answered before it is on the disk."""
    real = vars(connecting)["_configure"]
    done: list[bool] = []

    def configure(session: Any, **more: Any) -> None:
        real(session, **more)
        if not done:
            done.append(True)
            for statement in (*_LAZY.split(";"), "SELECT pg_reload_conf()"):
                session.execute(statement)

    put(connecting, "_configure", configure)


def gives_back_what_was_used() -> None:
    """A grant makes room again for others as soon as it is used."""
    real = throttling.ask

    def ask(session: Any, wanted: Sequence[throttles.Wanted], **more: Any) -> Any:
        answer = real(session, wanted, **more)
        if isinstance(answer, throttles.Grant):
            throttles.give_back(session, wanted, answer)
        return answer

    put(throttling, "ask", ask)


_LIVES = "FROM taskplatform.holders h WHERE h.id = s.holder"


def slots_by_time() -> None:
    """A slot is free a second after its holder's lease was renewed, whether that lives or not."""
    change(slots, _LIVES, f"{_LIVES} AND h.lease_until > clock_timestamp() + interval '14 seconds'")


def slots_for_ever() -> None:
    """A slot is free when its holder says so, and not when he dies."""
    change(slots, f"(SELECT true {_LIVES})", "true")
    change(
        leases,
        "WITH slots AS (DELETE FROM taskplatform.slots WHERE holder = ANY",
        "WITH slots AS (SELECT FROM taskplatform.slots WHERE holder = ANY",
    )
    put(slots, "bury", lambda _session, _holder: {})


def members_forgotten() -> None:
    """Of a batch whose process dies only the leader is given back."""
    real = vars(rescuing)["held_by"]
    change(
        leases,
        "WITH slots AS",
        "WITH members AS (DELETE FROM taskplatform.work"
        " WHERE holder = ANY (%(holders)s::bigint[]) AND gathered), slots AS",
    )

    def leaders(session: Any, holder: int) -> list[Claimed]:
        held = real(session, holder)
        first = min((one.epoch for one in held if one.step == "fill"), default=0)
        return [one for one in held if one.step != "fill" or one.epoch == first]

    put(rescuing, "held_by", leaders)
