"""A27: keys that are wrong, changed or missing, in workers and at the door."""

import secrets
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from taskplatform import Context, get_run
from taskplatform.client import ringer
from taskplatform.client.pipeline import Pipeline
from taskplatform.core.retry import Retry
from taskplatform.core.throttle import Throttle
from taskplatform.errors import CannotOpen, NoSecretKey, RequestIdReused
from taskplatform.settings import get_settings
from taskplatform.storage.connection import close_pools
from tests.integration.executor.house import House

CANARY = f"canary{secrets.token_hex(8)}"
OLD, NEW = secrets.token_urlsafe(64), secrets.token_urlsafe(64)


class Login(BaseModel):
    pin: SecretStr
    user: str = "u"


class Keys:
    """The setting, which each process reads once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def are(self, *keys: str) -> None:
        self._monkeypatch.setenv("TASKPLATFORM_SECRET_KEYS", ",".join(keys))
        get_settings.cache_clear()

    def are_gone(self) -> None:
        self._monkeypatch.delenv("TASKPLATFORM_SECRET_KEYS", raising=False)
        get_settings.cache_clear()


@pytest.fixture
def keys(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """This process enqueues into the house's database, and rings nobody."""
    monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", house.stage.url)
    monkeypatch.setenv("TASKPLATFORM_QUEUE", "default")
    monkeypatch.setattr(ringer.RINGER, "ring", lambda *_: None)
    found = Keys(monkeypatch)
    found.are(OLD)
    yield found
    close_pools()
    monkeypatch.undo()
    get_settings.cache_clear()


def declare(seen: list[str], **options: Any) -> Pipeline[Login, SecretStr]:
    pipeline = Pipeline("p", input=Login, retry=Retry(0))

    @pipeline.step(**options)
    def first(input: Login) -> SecretStr:
        seen.append(input.pin.get_secret_value())
        return input.pin

    @pipeline.step
    def second(first: SecretStr) -> SecretStr:
        seen.append(first.get_secret_value())
        return first

    return pipeline


@pytest.mark.parametrize("options", [{}, {"throttle": Throttle("t", limit=100, per="1s")}])
def test_a_wrong_key_parks_and_the_right_one_goes_on(
    house: House, keys: Keys, options: dict[str, Any]
) -> None:
    """G5: parked with a reason, no attempt made and nothing failed; a retry goes on."""
    seen: list[str] = []
    run = declare(seen, **options).enqueue({"pin": CANARY})
    keys.are(NEW)
    house.work(house.child())
    view = run.view()
    assert (view.status, view.reason) == ("waiting", "parked")
    assert view.waiting_for is not None
    assert "TASKPLATFORM_SECRET_KEYS does not have" in view.waiting_for
    assert (view.steps[0].attempts, seen) == ([], [])
    keys.are(NEW, OLD)
    run.retry()
    house.work(house.child())
    assert run.refresh().status == "succeeded", run.view()
    assert seen == [CANARY, CANARY]
    assert run.output.get_secret_value() == CANARY
    keys.are(OLD)
    with pytest.raises(CannotOpen, match="SECRET_KEYS does not have"):
        _ = run.output
    assert run.view().output == "***"
    assert get_run(run.id).view().input == {"pin": "***", "user": "u"}


def test_a_request_is_the_same_after_a_rotation(house: House, keys: Keys) -> None:
    """The sealed texts differ, what is in them does not."""
    pipeline = declare([])
    run = pipeline.enqueue({"pin": CANARY}, request_id="r")
    keys.are(NEW, OLD)
    assert pipeline.enqueue({"pin": CANARY}, request_id="r").id == run.id
    with pytest.raises(RequestIdReused):
        pipeline.enqueue({"pin": "another"}, request_id="r")


def test_without_a_key_nothing_is_stored(house: House, keys: Keys) -> None:
    """At the door, also if the secret is only in an output, or in a part without a model."""
    keys.are_gone()

    class Plain(BaseModel):
        free: dict[str, Any] = {}

    output = Pipeline("output", input=Plain)

    @output.step
    def makes(input: Plain) -> Login:
        raise AssertionError

    free = Pipeline("free", input=Plain)

    @free.step
    def takes(input: Plain) -> None: ...

    for pipeline, value in (
        (declare([]), {"pin": CANARY}),
        (output, {}),
        (free, {"free": {"password": CANARY}}),
    ):
        with pytest.raises(NoSecretKey, match="token_urlsafe"):
            pipeline.enqueue(value)
    assert free.enqueue({"free": {"a": 1}}).status == "queued"
    rows = house.stage.connection.execute("SELECT pipeline FROM taskplatform.runs").fetchall()
    assert rows == [("free",)]


def test_a_replay_copies_what_is_sealed(house: House, keys: Keys) -> None:
    seen: list[str] = []
    run = declare(seen).enqueue({"pin": CANARY})
    house.work(house.child())
    keys.are(NEW, OLD)
    again = run.refresh().replay(from_step="second")
    house.work(house.child())
    assert again.refresh().status == "succeeded"
    assert seen == [CANARY] * 3
    stored = house.stage.connection.execute(
        "SELECT string_agg(r::text, '') || (SELECT string_agg(s::text, '')"
        " FROM taskplatform.step_results s) FROM taskplatform.runs r"
    ).fetchone()
    assert stored is not None
    assert CANARY not in stored[0]
    assert "$sealed" in stored[0]


def test_a_secret_that_a_body_made_is_not_in_its_log(house: House, keys: Keys) -> None:
    pipeline = Pipeline("p", input=Login)

    @pipeline.step
    def makes(input: Login, ctx: Context) -> dict[str, str]:
        ctx.logger.info("made %s", CANARY)
        return {"session_token": CANARY}

    run = pipeline.enqueue({"pin": "1234"})
    house.work(house.child())
    log = run.view().steps[0].log
    assert log is not None
    assert "made ***" in log
    assert CANARY not in log
