"""Where each setting in force comes from."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
)

from taskplatform.settings import Settings


def sources(flags: Collection[str]) -> Mapping[str, str]:
    """Of every setting: flag, env, .env, pyproject.toml or default."""
    found = dict.fromkeys(Settings.model_fields, "default")
    # From the weakest to the strongest.
    places: tuple[tuple[str, PydanticBaseSettingsSource], ...] = (
        ("pyproject.toml", PyprojectTomlConfigSettingsSource(Settings)),
        (".env", DotEnvSettingsSource(Settings)),
        ("env", EnvSettingsSource(Settings)),
    )
    for place, source in places:
        given: dict[str, Any] = source()
        found.update(dict.fromkeys(found.keys() & given.keys(), place))
    found.update(dict.fromkeys(flags, "flag"))
    return found
