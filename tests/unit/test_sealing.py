"""A27, I14: secrets in stored JSON are sealed, and only there."""

import base64
import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Secret,
    SecretBytes,
    SecretStr,
    field_serializer,
)

from taskplatform.core import registry, sealing
from taskplatform.core.json import Codec, InvalidJson
from taskplatform.core.pipeline import Declaration
from taskplatform.core.sealing import opened, sealed_by, secrets_in, shown
from taskplatform.errors import CannotOpen, DeclarationError, InvalidInput, NoSecretKey
from taskplatform.settings import get_settings
from taskplatform.vault import Keys, read

CANARY = "canary-9f8e7d6c5b4a"
KEYS = Keys([b"k" * 64])


@pytest.fixture(autouse=True)
def _keys() -> Iterator[None]:
    registry.clear()
    with sealed_by(KEYS):
        yield
    registry.clear()


class Login(BaseModel):
    user: str
    pin: SecretStr
    number: Secret[int] = Secret(0)
    raw: SecretBytes | None = None
    pins: list[SecretStr] = []
    by_name: dict[str, SecretStr] = {}


class Words(BaseModel):
    model_config = ConfigDict(extra="allow")

    password: str
    headers: dict[str, str] = {}
    free: Any = None
    url: str = ""


@pytest.mark.parametrize(
    ("model", "value"),
    [
        (Login, {"user": "u", "pin": CANARY}),
        (Login, {"user": "u", "pin": "p", "pins": [CANARY, "b"], "by_name": {"a": CANARY}}),
        (Login, {"user": "u", "pin": "p", "raw": CANARY, "number": 12345678}),
        (Words, {"password": CANARY}),
        (Words, {"password": "p", "headers": {"Authorization": f"Bearer {CANARY}"}}),
        (Words, {"password": "p", "free": [{"x": {"apiKey": {"deep": [CANARY]}}}]}),
        (Words, {"password": "p", "url": f"postgresql://u:{CANARY}@h/d"}),
        (Words, {"password": "p", "free": ["Cookie", f"Bearer {CANARY}1"]}),
        (Words, {"password": "p", "more_secret": CANARY}),
        (SecretStr, CANARY),
        (list[SecretStr], [CANARY]),
        (dict[str, Any], {"token": CANARY}),
        (str, f"host=h password={CANARY}"),
    ],
)
def test_what_is_stored_has_no_secret_and_reads_as_it_was(model: Any, value: Any) -> None:
    codec = Codec(model)
    data, restored = codec.round_trip(value)
    assert CANARY.encode() not in data
    assert CANARY not in json.dumps(shown(data))
    assert "***" in json.dumps(shown(data))
    assert codec.decode(data) == restored
    assert codec.encode(codec.decode(data)) == data
    assert CANARY in str(secrets_in(data)) or "12345678" in secrets_in(data)


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["a", "password", "token", "tokens", "b"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.text()
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
        ),
    )
)
def test_whatever_is_sealed_comes_back(value: dict[str, Any]) -> None:
    codec = Codec(dict[str, Any])
    with sealed_by(KEYS):
        try:
            data = codec.encode(value)
        except InvalidJson:
            # U+0000 and the like.
            return
        assert codec.decode(data) == value
        assert json.loads(opened(data)) == value
        plain = json.loads(data)
        for name in ("password", "token"):
            if isinstance(plain.get(name), dict) and value[name]:
                assert list(plain[name]) == ["$sealed"]


def test_the_length_of_a_secret_is_not_told() -> None:
    codec = Codec(SecretStr)
    assert len(codec.encode("a")) == len(codec.encode("a" * 28))
    assert codec.encode("a") != codec.encode("b")


def test_nothing_is_sealed_where_nothing_is_secret() -> None:
    """Nor is a key asked for."""

    class Song(BaseModel):
        title: str
        tokens: int = 3
        more: dict[str, Any] = {}

    with sealed_by(Keys([b"x" * 64])):
        plain = Codec(Song).encode(Song(title="$sealed @ = x", more={"keys": 1}))
    assert plain == b'{"title":"$sealed @ = x","tokens":3,"more":{"keys":1}}'


def test_what_others_call_sealed_is_refused() -> None:
    """Nobody may have the worker open what was sealed for somebody else."""
    token = json.loads(Codec(SecretStr).encode(CANARY))
    free = Codec(dict[str, Any])
    for value in ({"a": token}, {"a": [{"$sealed": 1}]}, {"password": token}):
        with pytest.raises(InvalidJson, match="the platform's own"):
            free.encode(value)
    pipeline = Declaration("p", input=Login)
    for text in (
        json.dumps({"user": "u", "pin": token}),
        r'{"user":"u","pin":{"$\u0073ealed":"x"}}',
    ):
        with pytest.raises(InvalidInput, match=r"pin: Input should be a valid string"):
            pipeline.accept(text.encode())


def test_what_is_shown_is_not_taken_for_the_secret() -> None:
    """Somebody copies the input of a run that is shown into a replay."""
    pipeline = Declaration("p", input=Login)
    with pytest.raises(InvalidInput, match="how secrets are shown"):
        pipeline.accept({"user": "u", "pin": "***"})


def test_a_serializer_of_the_application_hides_nothing_from_us() -> None:
    class Own(BaseModel):
        pin: SecretStr

        @field_serializer("pin")
        def dump(self, pin: SecretStr) -> str:
            return pin.get_secret_value()

    data, restored = Codec(Own).round_trip(Own(pin=SecretStr(CANARY)))
    assert CANARY.encode() not in data
    assert restored.pin.get_secret_value() == CANARY


def test_bytes_that_are_no_text_are_an_error() -> None:
    with pytest.raises(InvalidJson, match="base64"):
        Codec(Login).encode(Login(user="u", pin=SecretStr("p"), raw=SecretBytes(b"\xff")))


def test_an_error_of_the_input_has_no_secret() -> None:
    """Neither the platform's words nor a validator's own."""

    def refuse(value: Any) -> Any:
        raise ValueError(f"I do not like {value}")

    class Picky(BaseModel):
        pin: Annotated[SecretStr, AfterValidator(refuse)] | None = None
        password: Annotated[str, AfterValidator(refuse)] | None = None
        token: int = 0
        other: Annotated[str, AfterValidator(refuse)] = "x"

    pipeline = Declaration("p", input=Picky)
    for value in (
        {"pin": CANARY},
        {"password": CANARY},
        {"token": CANARY},
        {"password": CANARY, "other": CANARY},
        {"password": [CANARY]},
        {"other": f"https://u:{CANARY}@h"},
    ):
        for form in (value, json.dumps(value).encode()):
            with pytest.raises(InvalidInput) as raised:
                pipeline.accept(form)
            assert CANARY not in str(raised.value)
            assert raised.value.__cause__ is None
            assert raised.value.__context__ is None


@pytest.mark.parametrize("option", ["key", "owner", "priority"])
@pytest.mark.parametrize("field", ["pin", "api_key"])
def test_what_a_run_is_found_by_is_no_secret(option: str, field: str) -> None:
    class Named(BaseModel):
        pin: SecretStr
        api_key: str

    pipeline = Declaration("p", input=Named, **{option: field})  # type: ignore[arg-type]

    @pipeline.step
    def use(input: Named) -> None: ...

    with pytest.raises(DeclarationError, match=f"{option}='{field}' is a secret"):
        pipeline.finalize()


def test_a_computed_key_with_a_secret_in_it_is_refused() -> None:
    pipeline = Declaration("p", input=Words, key=lambda input: f"x{input.password}")
    model, _ = pipeline.accept({"password": CANARY})
    with pytest.raises(InvalidInput, match="has a secret of the input in it"):
        pipeline.key_of(model)
    other = Declaration("q", input=Words, key="url")
    model, _ = other.accept({"password": "p", "url": f"https://u:{CANARY}@h"})
    with pytest.raises(InvalidInput, match="password in it") as raised:
        other.key_of(model)
    assert CANARY not in str(raised.value)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    old, new = Keys([b"a" * 64]), Keys([b"b" * 64, b"a" * 64])
    codec = Codec(Login)
    with sealed_by(old):
        before = codec.encode({"user": "u", "pin": CANARY})
    with sealed_by(new):
        after = codec.encode({"user": "u", "pin": CANARY})
        assert before != after
        assert sealing.same(before, after)
        assert not sealing.same(before, codec.encode({"user": "u", "pin": "other"}))
        assert codec.decode(before) == codec.decode(after)
    with sealed_by(old), pytest.raises(CannotOpen, match="TASKPLATFORM_SECRET_KEYS does not have"):
        codec.decode(after)


def test_what_was_changed_is_not_opened() -> None:
    data = Codec(SecretStr).encode(CANARY)
    place = data.index(b":", 12) + 5
    changed = data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]
    for wrong in (
        changed,
        b'{"$sealed":"%s:"}' % KEYS.seal(b"1")[0].encode(),
        b'{"$sealed":"x:y"}',
    ):
        with pytest.raises(CannotOpen):
            opened(wrong)
        assert shown(wrong) == "***"
        assert secrets_in(wrong) == ()


@pytest.mark.parametrize("size", [32, 48, 64])
def test_a_key_is_base64_of_either_kind(size: int) -> None:
    key = bytes(range(200, 200 + size % 56)) + b"\xff" * (size - size % 56)
    key = key[:size].ljust(size, b"\xfb")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(key).decode()
        assert read(f"{text}, {text.rstrip('=')}") == [key, key]


def test_what_is_no_key_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKPLATFORM_SECRET_KEYS", f"{'A' * 86},{CANARY}")
    get_settings.cache_clear()
    with sealed_by(None), pytest.raises(NoSecretKey, match="key 2 is no base64") as raised:  # type: ignore[arg-type]
        Codec(SecretStr).encode("x")
    assert CANARY not in str(raised.value)
    get_settings.cache_clear()


def test_without_a_key_the_error_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKPLATFORM_DATABASE_URL", "postgresql://h/d")
    monkeypatch.delenv("TASKPLATFORM_SECRET_KEYS", raising=False)
    get_settings.cache_clear()
    with sealed_by(None), pytest.raises(NoSecretKey, match="token_urlsafe"):  # type: ignore[arg-type]
        Codec(dict[str, Any]).encode({"password": "x"})
    get_settings.cache_clear()


def test_a_home_has_a_private_key_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """With embedded servers nothing is to be set."""
    for name in ("DATABASE_URL", "SECRET_KEYS"):
        monkeypatch.delenv(f"TASKPLATFORM_{name}", raising=False)
    monkeypatch.setenv("TASKPLATFORM_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    with sealed_by(None):  # type: ignore[arg-type]
        data = Codec(SecretStr).encode(CANARY)
        assert Codec(SecretStr).decode(data).get_secret_value() == CANARY
    kept = tmp_path / "home" / "secret.key"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in kept.parent.iterdir()] == ["secret.key"]
    get_settings.cache_clear()


def test_a_secret_with_rules_is_one() -> None:
    class Long(BaseModel):
        x: Annotated[SecretStr, Field(min_length=3)]

    assert CANARY.encode() not in Codec(Long).encode({"x": CANARY})
