"""A27, A25: texts without secrets."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from taskplatform.core.failure import Failure
from taskplatform.core.redaction import redact

CANARY = "canary-9f8e7d6c5b4a"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{CANARY}@h:1/d failed",
        f"https://{CANARY}@github.com/x",
        f"amqp://u:x@{CANARY}@h/",
        f"host=h password={CANARY} dbname=d",
        f"password='{CANARY} x'",
        f"GET /x?a=1&access_token={CANARY}&b=2",
        f"Login(user='u', password='{CANARY}')",
        f"{{'api_key': '{CANARY}', 'a': 1}}",
        f'{{"db_password": "{CANARY}"}}',
        f'{{"client-secret": "a\\"{CANARY}"}}',
        f"Authorization: Basic {CANARY}",
        f"cookie: a={CANARY}; b=1\nnext: line",
        f"X-Api-Key: {CANARY}",
        f"sent Bearer {CANARY} there",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    assert CANARY not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.com/a?b=c",
        "git clone ssh://git@example.com/x",
        "mail a@b.c",
        "Unexpected token: '}' at 3",
        "the bearer certificates",
        "token_count=5, tokens=7",
        "secretary=x",
        "invalid password",
        "{'a': 'b'}",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redact(text) == text


@given(st.text(min_size=4).filter(lambda one: len(one.strip()) >= 4), st.text(), st.text())
@example("a\nb'c\"d", "", "")
@example("****", "", "")
def test_a_known_secret_is_in_no_text(secret: str, before: str, after: str) -> None:
    for form in (secret, repr(secret), json.dumps(secret)):
        said = redact(f"{before}{form}{after}", [secret])
        assert secret == "****" or secret not in said.replace("***", "")


def test_a_part_of_a_value_that_pydantic_shows_is_masked() -> None:
    """It cuts a long value in the middle, which the secret itself is not found in."""

    class Model(BaseModel):
        pin: int

    secret = "x".join([CANARY] * 8)
    with pytest.raises(ValidationError) as raised:
        Model.model_validate({"pin": secret})
    assert CANARY in str(raised.value)
    assert CANARY not in redact(str(raised.value), [secret])


def test_a_secret_is_taken_out_before_the_text_is_cut() -> None:
    """Half of a secret would be found by nobody."""
    for length in range(980, 1060):
        error = ValueError("y" * length + CANARY)
        failure = Failure.of(error, lambda text: redact(text, [CANARY]))
        assert "canary" not in failure.traceback
        assert "canary" not in failure.message
    for length in range(6 * 1024 - 40, 6 * 1024 + 10):
        failure = Failure.of(
            ValueError("y" * length + CANARY + "z" * 12000), lambda text: redact(text, [CANARY])
        )
        assert "canary" not in failure.message


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "password=",
        "password='",
        "'password': '",
        "://",
        "://a:",
        "bearer ",
        "bearer a",
        "input_value=",
        "authorization: ",
        "\\",
        "://uuuuuuuuuuuuuuu",
        "'password': '\\",
        " ",
        "@",
        ":",
    ],
)
def test_no_text_takes_long(part: str) -> None:
    """A25: linear; the bound is far above what a slow machine needs."""
    for text in (
        part * (100_000 // len(part)),
        "://u:" + part * 1000,
        "'password': '" + part * 9000,
    ):
        began = time.process_time()
        redact(text, ["zzzzz"])
        assert time.process_time() - began < 2
