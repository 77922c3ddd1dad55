"""How a command ends: its exit code, and one line on stderr for what was to be expected."""

import logging
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum

import rich_click as click
from click.exceptions import Abort, ClickException, UsageError

from taskplatform.errors import (
    DeclarationError,
    InvalidInput,
    NotFound,
    RunFailed,
    SettingsError,
    TaskPlatformError,
    Unavailable,
    WaitTimeout,
)


class Exit(IntEnum):
    """The exit codes, the same for all commands."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 69
    TIMED_OUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141


_CODES: tuple[tuple[type[TaskPlatformError], Exit], ...] = (
    (NotFound, Exit.NOT_FOUND),
    (Unavailable, Exit.UNAVAILABLE),
    (WaitTimeout, Exit.TIMED_OUT),
    (InvalidInput, Exit.USAGE),
    (SettingsError, Exit.USAGE),
    (DeclarationError, Exit.USAGE),
    (RunFailed, Exit.FAILED),
)


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Execute a command line; its exit code."""
    _speak_any_encoding()
    try:
        code = command.main(list(arguments), prog_name="taskplatform", standalone_mode=False)
    except UsageError as error:
        return _usage(error)
    except ClickException as error:
        return _say(error.format_message(), error.exit_code)
    except (Abort, KeyboardInterrupt):
        return _say("interrupted", Exit.INTERRUPTED)
    except TaskPlatformError as error:
        if _wants_tracebacks():
            traceback.print_exc()
        return _say(str(error), code_of(error))
    except SystemExit:
        # Click and Rich exit so when whoever read our output has gone.
        return Exit.BROKEN_PIPE
    except Exception as error:
        expected = _explained(error)
        if expected is None or _wants_tracebacks():
            raise
        return _say(expected, Exit.UNAVAILABLE)
    finally:
        _close_pools()
    return code if isinstance(code, int) else Exit.OK


def code_of(error: TaskPlatformError) -> Exit:
    """The exit code of one of the platform's errors; a refused request is 1."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)


def _usage(error: UsageError) -> Exit:
    where = error.ctx.command_path if error.ctx else "taskplatform"
    return _say(f"{error.format_message().rstrip('.')}; see `{where} --help`", Exit.USAGE)


def _say(message: str, code: int) -> Exit:
    print(f"error: {message}", file=sys.stderr)
    return Exit(code) if code in list(Exit) else Exit.FAILED


def _explained(error: Exception) -> str | None:
    # Loaded only if something spoke to the database.
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(error, psycopg.Error):
        return None
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"the database refused: {first}; compare its schema with `taskplatform db check`"


def _wants_tracebacks() -> bool:
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _speak_any_encoding() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _close_pools() -> None:
    connections = sys.modules.get("taskplatform.storage.connection")
    if connections is not None:
        connections.close_pools()
