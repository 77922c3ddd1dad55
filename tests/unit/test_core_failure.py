"""Failures (F36, M5): whatever was raised is recorded, capped and storable."""

import json
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskplatform.core.failure import Failure
from taskplatform.core.json import Codec

LARGEST = 64 * 1024


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Leaver(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a function")
        self.function = lambda: None


def caught(body: Callable[[], object]) -> Failure:
    try:
        body()
    except BaseException as error:
        return Failure.of(error)
    raise AssertionError("nothing was raised")


def throw(error: BaseException) -> Callable[[], object]:
    def body() -> None:
        raise error

    return body


def recurse(levels: int = 0) -> int:
    return recurse(levels + 1) + 1


def chained() -> None:
    error: Exception = ValueError("first")
    for number in range(2_000):
        following = ValueError(f"number {number}")
        following.__context__ = error
        error = following
    raise error


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (throw(ValueError("bad")), "ValueError", "bad"),
        (throw(KeyError("k")), "KeyError", "'k'"),
        (throw(SystemExit(1)), "SystemExit", "1"),
        (throw(KeyboardInterrupt()), "KeyboardInterrupt", ""),
        (throw(BaseException("base")), "BaseException", "base"),
        (throw(json.JSONDecodeError("m", "d", 0)), "json.decoder.JSONDecodeError", "m: line 1"),
        (throw(Unspeakable()), "Unspeakable", "<its __str__ raised RuntimeError>"),
        (throw(Leaver()), "Leaver", "<its __str__ raised SystemExit>"),
        (throw(Unpicklable()), "Unpicklable", "holds a function"),
        (throw(ExceptionGroup("some", [ValueError("a"), KeyError("b")])), "ExceptionGroup", "some"),
        (recurse, "RecursionError", "maximum recursion depth"),
        (chained, "ValueError", "number 1999"),
    ],
)
def test_every_exception_is_recorded(body: Callable[[], object], kind: str, message: str) -> None:
    failure = caught(body)
    assert failure.type.endswith(kind)
    assert failure.message.startswith(message)
    assert kind in failure.traceback
    assert len(failure.encode()) <= LARGEST
    assert Failure.decode(failure.encode()) == failure


def test_a_group_shows_its_members() -> None:
    failure = caught(throw(ExceptionGroup("some", [ValueError("this one")])))
    assert "ValueError: this one" in failure.traceback


def test_a_cause_is_shown() -> None:
    def body() -> None:
        try:
            raise ValueError("the cause")
        except ValueError as error:
            raise RuntimeError("the effect") from error

    text = caught(body).traceback
    assert text.index("the cause") < text.index("direct cause") < text.index("the effect")


def test_a_long_message_is_cut_in_its_middle() -> None:
    failure = caught(throw(ValueError("begin" + "x" * 10_000_000 + "end")))
    assert failure.message.startswith("begin")
    assert failure.message.endswith("end")
    assert "characters left out" in failure.message
    assert len(failure.encode()) <= LARGEST
    assert max(map(len, failure.traceback.splitlines())) <= 1024


def test_a_deep_traceback_keeps_the_first_and_the_last_frames() -> None:
    def body(level: int = 0) -> None:
        # Alternating lines, or Python itself would fold the repetition.
        if level == 200:
            raise ValueError("bottom")
        if level % 2:
            body(level + 1)
        else:
            body(level + 1)

    lines = caught(body).traceback.splitlines()
    assert sum(line.startswith("  File ") for line in lines) == 50
    marker = next(at for at, line in enumerate(lines) if "frames left out" in line)
    assert sum(line.startswith("  File ") for line in lines[:marker]) == 5
    assert "152 frames" in lines[marker]


def test_the_platforms_own_frames_at_the_top_are_hidden() -> None:
    place = sys.modules[Failure.__module__].__file__
    assert place is not None
    namespace: dict[str, Callable[..., object]] = {}
    exec(compile("def execute(body):\n    body()\n", place, "exec"), namespace)
    with pytest.raises(ValueError, match="mine") as caught:
        namespace["execute"](throw(ValueError("mine")))
    text = Failure.of(without_first_frame(caught.value)).traceback
    assert place not in text
    assert "in body" in text


def test_an_error_of_the_platform_itself_keeps_its_frames() -> None:
    codec = Codec(int)
    with pytest.raises(ValueError, match="integer") as caught:
        codec.encode("x")
    assert "in encode" in Failure.of(without_first_frame(caught.value)).traceback


def without_first_frame(error: Exception) -> Exception:
    """Leave this test out, as in life the executor's frame is the outermost."""
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_no_nul_and_no_surrogate_is_ever_stored(kind: str, message: str, trace: str) -> None:
    failure = Failure(kind, message, trace)
    for text in (failure.type, failure.message, failure.traceback):
        assert "\0" not in text
        assert text.encode().decode() == text
    assert Failure.decode(failure.encode()) == failure


@pytest.mark.parametrize("character", ["\x01", "€", "😀", '"', "\n", "\0", "\ud800"])
def test_the_cap_holds_for_characters_that_take_more_bytes(character: str) -> None:
    failure = Failure(character * 10**6, character * 10**6, character * 10**6)
    assert len(failure.encode(step="a-step")) <= LARGEST
    assert len(failure.encode()) > LARGEST // 4


def test_a_runs_error_names_the_step() -> None:
    stored = json.loads(Failure("ValueError", "bad", "trace").encode(step="lyrics"))
    assert stored == {
        "type": "ValueError",
        "message": "bad",
        "traceback": "trace",
        "step": "lyrics",
    }
