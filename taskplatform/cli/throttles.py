"""`taskplatform throttles`."""

import dataclasses
from datetime import datetime
from typing import Any

import rich_click as click
from rich.text import Text

from taskplatform.cli import place, words
from taskplatform.cli.output import (
    note,
    output_option,
    table,
    write,
    write_json,
    write_rows,
    write_table,
)
from taskplatform.cli.parsing import Length, Moment
from taskplatform.client.session import call
from taskplatform.core import registry
from taskplatform.core.names import near
from taskplatform.core.throttle import Throttle
from taskplatform.errors import NotFound
from taskplatform.storage import limits, throttle_history, throttle_views
from taskplatform.storage.throttle_views import Throttled
from taskplatform.storage.throttles import Wanted, close, open_again

_MOST = 100_000


@click.group()
def throttles() -> None:
    """Rate limits: what is used, what waits; set and reset them.

    \b
    taskplatform throttles list
    taskplatform throttles set spotify --limit 50
    taskplatform throttles reset spotify
    """


@throttles.command("list")
@click.argument("name", required=False)
@click.option("--scope", metavar="KEY", help="Only of this key.")
@click.option("--limit", "most", default=1000, show_default=True, help="At most so many.")
@output_option
def list_command(name: str | None, scope: str | None, most: int, form: str) -> None:
    """List the limits, declared or asked for, with what is used of them now.

    \b
    taskplatform throttles list spotify -o json
    """
    place.pipelines_if_possible()
    place.servers()
    found = call(lambda connection, _: throttle_views.listed(connection, name, scope, most))
    seen = {one.name for one in found}
    if scope is None:
        found += [
            _unused(one)
            for one in _declared().values()
            if one.name not in seen and name in (None, one.name)
        ]
    if form != "table":
        write_rows([_told(one) for one in found], form)
        return
    if not found:
        note("there is no limit" if name is None else f"nobody has asked for {name} yet")
        return
    made = table(
        "name", "key", "limit", "used", "waiting", "next", "paused", whole=("name", "limit")
    )
    for one in found:
        made.add_row(
            one.name,
            one.scope,
            _limit(one),
            f"{one.used}/{one.effective_limit}" + (f" +{one.reserved}" if one.reserved else ""),
            str(one.waiting),
            words.from_now(one.next_at) if one.next_at else "",
            f"{words.from_now(one.paused_until)}: {one.paused_why}" if one.paused_until else "",
        )
    write_table(made)


@throttles.command()
@click.argument("name")
@click.option("--scope", metavar="KEY", help="Only of this key.")
@click.option("--since", type=Moment(ago=True), default="1h", show_default=True)
@output_option
def history(name: str, scope: str | None, since: datetime, form: str) -> None:
    """Show what a limit granted in each minute; it goes back for a week.

    \b
    taskplatform throttles history spotify --since 24h
    """
    place.servers()
    found = call(lambda connection, _: throttle_history.minutes(connection, name, since, scope))
    if form != "table":
        write_rows([dataclasses.asdict(one) for one in found], form)
        return
    made = table("minute", "granted", right=("granted",))
    for one in found:
        made.add_row(words.moment(one.minute), f"{one.granted:,}")
    write_table(made)


@throttles.command("set")
@click.argument("name")
@click.option("--limit", type=click.IntRange(0, _MOST), help="0: nothing is granted.")
@click.option("--per", type=Length(), metavar="TIME", help="The window, such as 1m.")
@click.option("--pause", type=Length(), metavar="TIME", help="Grant nothing for so long.")
@click.option("--scope", metavar="KEY", default="", help="With --pause: only this key.")
@output_option
def set_command(
    name: str, limit: int | None, per: float | None, pause: float | None, scope: str, form: str
) -> None:
    """Change a limit without a deploy; it is remembered and wins over the declaration.

    \b
    taskplatform throttles set spotify --limit 50 --per 30s
    taskplatform throttles set spotify --pause 10m
    """
    if limit is None and per is None and pause is None:
        raise click.UsageError("give --limit, --per or --pause")
    if per is not None and per <= 0:
        raise click.UsageError("--per: give a window above zero")
    known = _known(name)
    if limit is not None or per is not None:
        call(lambda connection, _: limits.put(connection, "throttle", name, limit, per))
    if pause is not None:
        wanted, seconds = Wanted(name, scope, *known), pause
        call(lambda connection, _: close(connection, wanted, seconds, "by hand"))
    _tell(name, form, "is set")


@throttles.command()
@click.argument("name")
@output_option
def reset(name: str, form: str) -> None:
    """Let the declaration hold again, and end what was paused by hand or by the API's answers.

    \b
    taskplatform throttles reset spotify
    """
    _known(name)
    call(lambda connection, _: limits.reset(connection, "throttle", name))
    call(lambda connection, _: open_again(connection, name))
    _tell(name, form, "is as declared")


def _declared() -> dict[str, Throttle]:
    steps = [step for one in registry.all() for step in one.steps]
    return {throttle.name: throttle for step in steps for throttle in step.throttles}


def _known(name: str) -> tuple[int, float]:
    """The declared limit and window. Raises NotFound for what nobody has heard of."""
    place.pipelines_if_possible()
    place.servers()
    declared = _declared()
    if name in declared:
        return declared[name].limit, declared[name].per
    found = call(lambda connection, _: throttle_views.listed(connection, name, None, 1))
    if not found:
        raise NotFound(f"there is no throttle '{name}'{near(name, declared)}")
    return found[0].limit, found[0].per


def _unused(one: Throttle) -> Throttled:
    put = {limit.name: limit for limit in call(lambda c, _: limits.listed(c, "throttle"))}
    set_by_hand = put.get(one.name)
    most, per = (set_by_hand.most, set_by_hand.per) if set_by_hand else (None, None)
    return Throttled(
        one.name,
        "",
        one.limit,
        one.per,
        one.limit if most is None else most,
        per or one.per,
        *(0, 0, 0, None, None, None),
    )


def _limit(one: Throttled) -> str:
    now = f"{one.effective_limit} per {words.length(one.effective_per)}"
    changed = (one.limit, one.per) != (one.effective_limit, one.effective_per)
    return f"{now} (declared {one.limit} per {words.length(one.per)})" if changed else now


def _told(one: Throttled) -> dict[str, Any]:
    return dataclasses.asdict(one)


def _tell(name: str, form: str, did: str) -> None:
    found = call(lambda connection, _: throttle_views.listed(connection, name, None, 1000))
    if not found:
        found = [_unused(one) for one in _declared().values() if one.name == name]
    if form != "table":
        write_json([_told(one) for one in found], form)
        return
    write(Text(f"{name} {did}: {', '.join(sorted({_limit(one) for one in found}))}"))
