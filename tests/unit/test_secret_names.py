"""A27: what counts as a secret, by the name of its key and by its type."""

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

import pytest
from pydantic import BaseModel, ConfigDict, Field, Secret, SecretBytes, SecretStr, TypeAdapter
from typing_extensions import TypedDict

from taskplatform import NotSecret
from taskplatform.core.secret_names import ENDINGS, is_secret_name, may_name_a_secret
from taskplatform.core.secret_schema import Declared, declared


@pytest.mark.parametrize(
    "name",
    [
        *ENDINGS,
        "db_password",
        "dbPassword",
        "PASSWORD",
        "password2",
        "access_token",
        "accessToken",
        "X-Api-Key",
        "apiKey",
        "API_KEY",
        "aws_secret_access_key",
        "client-secret",
        "Authorization",
        "Proxy-Authorization",
        "Set-Cookie",
        "privateKey",
        "credentials",
    ],
)
def test_a_name_that_ends_with_one_of_the_words_is_a_secret(name: str) -> None:
    assert is_secret_name(name)
    assert may_name_a_secret(f'{{"{name}":1}}'.encode())


@pytest.mark.parametrize(
    "name",
    [
        "token_count",
        "tokens",
        "max_tokens",
        "secretary",
        "secret_name",
        "passenger",
        "key",
        "keys",
        "public_key",
        "monkey",
        "cookie_consent",
        "authorization_url",
        "author",
        "password_length",
        "",
        "1",
    ],
)
def test_other_names_are_none(name: str) -> None:
    assert not is_secret_name(name)


class Inner(BaseModel):
    pin: SecretStr
    note: str


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")


class Typed(TypedDict):
    code: NotRequired[SecretStr]


@dataclass
class Plain:
    token: str
    other: int


class Tree(BaseModel):
    leaf: SecretBytes | None = None
    branches: "list[Tree]" = []


class Closed(BaseModel):
    track: str
    tokens: int
    type: str
    ref: str
    fields: list[int]


class Way(BaseModel):
    token: Annotated[str, NotSecret]
    api_key: Annotated[str, NotSecret()] = Field("x", description="no secret")
    secret: str


class Aliased(BaseModel):
    word: str = Field(alias="password")


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (Closed, Declared()),
        (list[int], Declared()),
        (Inner, {"pin"}),
        (list[Inner] | None, {"pin"}),
        (dict[str, Inner], {"pin"}),
        (Typed, {"code"}),
        (Plain, {"token"}),
        (Tree, {"leaf"}),
        (Way, {"secret"}),
        (Aliased, {"word"}),
    ],
)
def test_a_type_declares_its_secrets(annotation: Any, found: Any) -> None:
    known = declared(TypeAdapter(annotation).core_schema)
    assert (known if isinstance(found, Declared) else set(known.secret)) == found


@pytest.mark.parametrize(
    "annotation", [SecretStr, SecretBytes, Secret[int], list[SecretStr], Inner]
)
def test_a_secret_type_is_one_without_a_name_too(annotation: Any) -> None:
    assert declared(TypeAdapter(annotation).core_schema).types


@pytest.mark.parametrize("annotation", [Any, dict[str, str], Loose, list[dict[str, int]]])
def test_keys_that_nobody_declared_are_looked_at(annotation: Any) -> None:
    assert declared(TypeAdapter(annotation).core_schema).free


def test_a_field_that_is_called_so_and_is_none() -> None:
    known = declared(TypeAdapter(Way).core_schema)
    assert not known.hides("token")
    assert not known.hides("api_key")
    assert known.hides("secret")
