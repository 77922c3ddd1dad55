"""Pipelines that are given secrets everywhere, and that do their worst to betray them.

Imported by a real worker. What a body saw it writes down as a hash, in a file of its own.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from celery import shared_task
from pydantic import BaseModel, SecretBytes, SecretStr

from taskplatform import Context, Event, Pipeline, Retry, on

LIBRARY = logging.getLogger("guarded.library")


class Item(BaseModel):
    name: str
    api_key: str


class Login(BaseModel):
    ledger: Path
    order: str
    pin: SecretStr
    raw: SecretBytes | None = None
    password: str
    dsn: str
    headers: dict[str, str] = {}
    free: dict[str, Any] = {}
    items: list[Item] = []
    fail: bool = False

    @property
    def secrets(self) -> list[str]:
        """All that is secret in it."""
        return [
            self.pin.get_secret_value(),
            *([self.raw.get_secret_value().decode()] if self.raw else []),
            self.password,
            self.dsn,
            *self.headers.values(),
            *(str(one) for one in self.free.values()),
        ]


class Session(BaseModel):
    token: SecretStr
    note: str


class Approval(BaseModel):
    order: str
    code: SecretStr


class Inner(BaseModel):
    ledger: Path
    credentials: dict[str, str]


def saw(ledger: Path, place: str, *values: str) -> None:
    """Write down that a body was given these."""
    lines = "".join(f"{place} {digest(value)}\n" for value in values)
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def betray(ctx: Context, *values: str) -> None:
    """Tell secrets in all the ways in which bodies do."""
    for value in values:
        ctx.logger.info("with %s", value)
        ctx.logger.debug("debug %r", {"value": value})
        LIBRARY.warning(f"the library says {value!r} and {value}")
        print(f"printed {value}")
        try:
            raise LookupError(f"no {value}", value)
        except LookupError:
            LIBRARY.exception("not found: %s", value)
            if ctx.epoch:
                # In process pytest makes an error of it.
                LIBRARY.error("broken %d", value)


guarded = Pipeline("guarded", input=Login, key="order", retry=Retry(delays=["50ms"]))
inner = Pipeline("guarded-inner", input=Inner)


@inner.step
def use(input: Inner, ctx: Context) -> dict[str, str]:
    """The step of the child."""
    betray(ctx, *input.credentials.values())
    saw(input.ledger, "child", *input.credentials.values())
    return {"client_secret": input.credentials["user"]}


@guarded.step
def login(input: Login, ctx: Context) -> Session:
    """Fail at first, with the secrets in the error."""
    saw(input.ledger, f"login-{ctx.attempt}", *input.secrets)
    betray(ctx, *input.secrets)
    if ctx.attempt == 1:
        try:
            Item.model_validate({"name": 1, "api_key": [input.password]})
        except ValueError as error:
            raise RuntimeError(f"not {input.pin.get_secret_value()}", input.secrets) from error
    return Session(token=SecretStr(f"{input.password}-token"), note="in")


@guarded.map(over="items")
def each(item: Item, ctx: Context) -> SecretStr:
    """A step of items."""
    betray(ctx, item.api_key)
    saw(ctx_ledger(), "item", item.api_key)
    if ctx.attempt == 1:
        raise KeyError(item.api_key)
    return SecretStr(item.api_key + "-out")


guarded.wait("approval", event="guarded.approved", match="order", model=Approval)


def _inner(input: Login, login: Session, approval: Approval) -> dict[str, Any]:
    return {
        "ledger": str(input.ledger),
        "credentials": {"user": login.token.get_secret_value() + approval.code.get_secret_value()},
    }


guarded.child("inside", inner, input=_inner)


@guarded.step
async def awaits(input: Login, each: list[SecretStr], ctx: Context) -> None:
    """An async body."""
    betray(ctx, input.password)
    saw(input.ledger, "async", *(one.get_secret_value() for one in each))


@guarded.step(transactional=True)
def writes(input: Login, inside: dict[str, str], ctx: Context) -> None:
    """A body in a transaction."""
    ctx.connection.execute("SELECT 1")
    saw(input.ledger, "transaction", *inside.values())


@guarded.step
def last(input: Login, login: Session, approval: Approval, ctx: Context) -> Session:
    """The output of the run; or its end."""
    saw(input.ledger, "last", approval.code.get_secret_value())
    if input.fail:
        raise ValueError(f"{login.token.get_secret_value()} {input.dsn} {input.headers}")
    return login


@on("guarded/task.completed")
def completed(event: Event, ctx: Context) -> None:
    """A handler."""
    password, token = event.data["input"]["password"], event.data["result"]["token"]
    betray(ctx, password, token)
    saw(ctx_ledger(), "completed", password, token)


@on("guarded.approved")
def approved(event: Event) -> None:
    """A handler of the application's event."""
    saw(ctx_ledger(), "approved", event.data["code"])


short = Pipeline("guarded-short", input=Login)


@short.step
def quick(input: Login, ctx: Context) -> Session:
    """One body, for the many ways to ask for it."""
    betray(ctx, input.password)
    saw(input.ledger, f"short-{input.order}", *input.secrets)
    return Session(token=input.pin, note="quick")


@shared_task  # type: ignore[untyped-decorator]
def after(output: Any) -> str:
    """What follows in a user's own canvas."""
    return f"after {output}"


def ctx_ledger() -> Path:
    return Path(os.environ["GUARDED_LEDGER"])
