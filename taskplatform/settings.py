"""The platform's settings, read in one place: flag > env > .env > pyproject.toml > default."""

import difflib
import logging
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from taskplatform.errors import SettingsError

PREFIX = "TASKPLATFORM_"
# Read by tools around the platform, not by Settings.
FAILPOINT = "TASKPLATFORM_FAILPOINT"
NOT_SETTINGS = {FAILPOINT}
MAKE_KEY = (
    f"set {PREFIX}SECRET_KEYS, the same for callers and workers, to what this prints: "
    "python -c 'import secrets; print(secrets.token_urlsafe(64))'"
)


class Settings(BaseSettings):
    """What can be set; unset URLs mean embedded servers."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        pyproject_toml_table_header=("tool", "taskplatform"),
    )

    database_url: SecretStr | None = Field(None, description="PostgreSQL; unset: embedded")
    broker_url: SecretStr | None = Field(None, description="Redis; unset: embedded")
    secret_keys: SecretStr | None = Field(
        None, description="keys that seal secrets, comma separated, the first for new ones"
    )
    pipelines: str = Field("pipelines", description="modules to import, comma separated")
    home: Path = Field(Path(".taskplatform"), description="folder of the embedded servers")
    queue: str = Field("taskplatform", description="the queue of steps that name none")
    concurrency: int = Field(10, ge=1, le=1000, description="bodies at once in a worker")
    shutdown_grace: float = Field(30.0, ge=0, description="seconds for bodies at a shutdown")
    retention_days: int = Field(30, ge=1, description="days that finished runs are kept")
    shift_seconds: float = Field(10.0, gt=0, description="longest time of one shift")
    linger_seconds: float = Field(1.0, ge=0, description="a shift without work waits so long")
    step_log_level: str = Field("INFO", description="what is logged in bodies is kept from here on")
    breaker_crashes: int = Field(
        5, ge=0, description="crashes in a minute that pause a pipeline; 0: never"
    )
    retry_budget: float = Field(
        0.2, gt=0, le=1, description="share of its slots for the retries of a failing pipeline"
    )
    priority_ageing: float = Field(
        60.0, gt=0, le=3600, description="seconds that a point of priority puts work ahead"
    )
    put_off_limit: float = Field(86400.0, gt=0, description="seconds RetryAfter may add up to")

    @field_validator("pipelines")
    @classmethod
    def _modules(cls, value: str) -> str:
        return ",".join(part.strip() for part in value.split(",") if part.strip())

    @field_validator("step_log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        level = value.upper()
        if level not in logging.getLevelNamesMapping():
            raise ValueError("give DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return level

    @property
    def modules(self) -> list[str]:
        """The modules that declare pipelines."""
        return self.pipelines.split(",") if self.pipelines else []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        pyproject = PyprojectTomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, pyproject


def load(**flags: Any) -> Settings:
    """Read the settings; flags win over everything else.

    Raises SettingsError for an unknown name (with the nearest known one) or a bad value.
    """
    _refuse_unknown()
    try:
        return Settings(**flags)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_line, error.errors()))) from None


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return load()


def _line(error: ErrorDetails) -> str:
    field = Settings.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    secret = field is not None and field.annotation == SecretStr | None
    got = "" if secret else f" (got {error['input']!r})"
    return f"{PREFIX}{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}{got}"


def _refuse_unknown() -> None:
    known = {name.upper() for name in Settings.model_fields}
    given = [
        (name, name.removeprefix(PREFIX))
        for name in os.environ
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    ]
    pyproject = Path("pyproject.toml")
    if pyproject.is_file():
        table = tomllib.loads(pyproject.read_text()).get("tool", {}).get("taskplatform", {})
        given += [(f"[tool.taskplatform] {name}", name.upper()) for name in table]
    for shown, name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise SettingsError(f"unknown setting {shown}{hint}")
