"""What people write on the command line, as values."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rich_click as click

from taskplatform.core.duration import seconds

Parameter = click.Parameter | None
Context = click.Context | None


class Length(click.ParamType[float]):
    """A length of time; seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read `5m`, `1h30m`, `500ms` or a number of seconds."""
        try:
            return seconds(_number(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """A moment, or a length of time before now."""

    name = "time"

    def __init__(self, *, ago: bool = False) -> None:
        """With `ago`, `24h` is accepted too and means 24 hours before now."""
        self._ago = ago

    def convert(self, value: Any, param: Parameter, ctx: Context) -> datetime:
        """Read ISO 8601 with a time zone, or a date, which is its first moment in UTC."""
        if isinstance(value, datetime):
            return value
        if self._ago:
            try:
                return datetime.now(UTC) - timedelta(seconds=seconds(_number(value)))
            except ValueError:
                pass
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            ago = " or a length of time such as 24h" if self._ago else ""
            self.fail(f"{value!r} is no time: give 2026-01-31T12:00:00Z{ago}", param, ctx)
        if found.tzinfo is None and len(value) <= len("2026-01-31"):
            return found.replace(tzinfo=UTC)
        if found.tzinfo is None:
            self.fail(f"{value!r} has no time zone: give {value}Z or {value}+02:00", param, ctx)
        return found


class Input(click.ParamType[bytes]):
    """JSON, a file of it as @FILE, or - for stdin; its bytes."""

    name = "input"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """Read the file, if it is one."""
        if isinstance(value, bytes):
            return value
        if value == "-":
            return sys.stdin.buffer.read()
        if not value.startswith("@"):
            return str(value).encode(errors="surrogateescape")
        try:
            return Path(value[1:]).read_bytes()
        except OSError as error:
            self.fail(f"cannot read {value[1:]!r}: {error.strerror}", param, ctx)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value
