"""The Compose file and the image are safe as they are given away."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskplatform.core.duration import seconds
from taskplatform.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {"migrate", "worker", "beat", "flower"}
_ONE_SHOT = {"migrate"}
_PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*")


def test_the_services_are_there() -> None:
    assert set(SERVICES) == {"postgres", "redis"} | OURS


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback_only(name: str) -> None:
    """A31, A32: nothing that needs no login can be reached from elsewhere."""
    for port in SERVICES[name].get("ports", []):
        assert str(port).startswith("127.0.0.1:")
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    assert _PINNED.fullmatch(SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_services_tell_whether_they_are_well(name: str) -> None:
    if name not in _ONE_SHOT:
        assert SERVICES[name]["healthcheck"]["test"]
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        one_shot = other in _ONE_SHOT
        condition = "service_completed_successfully" if one_shot else "service_healthy"
        assert wanted == {"condition": condition}


def test_secrets_come_from_outside_and_have_no_default() -> None:
    """A34: no secret in the file."""
    secrets = set(re.findall(r"\$\{(\w*PASSWORD)([^}]*)\}", TEXT))
    assert {name for name, _ in secrets} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert all(rest.startswith(":?") for _, rest in secrets)
    example = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert given == {name: "" for name, _ in secrets}
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_run_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert isinstance(service["command"], list), "a shell would keep signals to itself"
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_ours_are_set_to_exists(name: str) -> None:
    environment = SERVICES[name]["environment"]
    given = {key.removeprefix(PREFIX).lower() for key in environment if key.startswith(PREFIX)}
    assert given <= set(Settings.model_fields)


def test_the_worker_has_longer_to_stop_than_its_bodies() -> None:
    worker = SERVICES["worker"]
    grace = float(worker["environment"]["TASKPLATFORM_SHUTDOWN_GRACE"])
    assert seconds(worker["stop_grace_period"]) >= grace + 10
    assert worker["stop_signal"] == "SIGTERM"
    assert worker["init"] is True


def test_redis_keeps_every_message() -> None:
    """W22: an evicting Redis drops messages without an error."""
    script = SERVICES["redis"]["command"][-1]
    assert "maxmemory-policy noeviction" in script
    assert "appendonly yes" in script
    assert "requirepass" in script


def test_flower_only_reads() -> None:
    """A32: with an unauthenticated API any web page could queue tasks."""
    assert SERVICES["flower"]["environment"]["FLOWER_READ_ONLY"] == "true"
    for path in [*ROOT.glob("*.yml"), ROOT / "Makefile", ROOT / "Dockerfile"]:
        assert "UNAUTHENTICATED_API" not in path.read_text().upper()


def test_the_image_runs_without_root() -> None:
    """A34: an ordinary user, pinned base images, the exec form of the command."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert all(_PINNED.fullmatch(base) for base in bases)
    assert [line for line in lines if line.startswith("CMD ")][-1].startswith('CMD ["')
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
