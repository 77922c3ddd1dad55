"""A25: no regular expression of ours takes long on any text."""

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import pipelines
import taskplatform

_SHORT, _LONG = 5_000, 20_000
# CPU seconds: what takes no longer on the long text takes 50 ms for 100 KB, if it is linear.
_AT_ONCE = 0.01
# Linear growth is 4; what is quadratic takes 16 times as long.
_GROWTH = 9.0
_PIECES = (*" \t\n\0'\"\\<>/?&@:;.,-_=()[]{}#%0aZé", "0.", "a.", "a-", "\\\\", "<!--", "://", ' ="')


def patterns() -> dict[str, re.Pattern[Any]]:
    """What the modules of ours have compiled, by where it is."""
    found: dict[str, re.Pattern[Any]] = {}
    for package in (taskplatform, pipelines):
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Programs act when they are imported.
            if one.name.endswith("__main__"):
                continue
            for name, value in vars(importlib.import_module(one.name)).items():
                if isinstance(value, re.Pattern):
                    found[f"{one.name}:{name}"] = value
    return found


def texts(pattern: re.Pattern[Any], length: int) -> Iterator[Any]:
    """Many times the same, begun and ended so that the pattern nearly fits."""
    source = pattern.pattern
    source = source.decode("latin-1") if isinstance(source, bytes) else source
    words = sorted(set(re.findall(r"[A-Za-z]{3,}|[<:?!]+[A-Za-z]+", source)))[:5]
    begins = ("", *words, *(f"<{word} " for word in words))
    pieces = (*_PIECES, *words, *(f"<{word} " for word in words), *(f"{w}='" for w in words))
    for begin, piece in itertools.product(begins, pieces):
        text = begin + (piece * (length // len(piece) + 1))[:length] + "\x01"
        yield text.encode("utf-8") if isinstance(pattern.pattern, bytes) else text


def seconds(pattern: re.Pattern[Any], text: Any) -> float:
    """CPU time to look for it everywhere, and to fit all of it."""
    began = time.process_time()
    for _ in pattern.finditer(text):
        pass
    pattern.fullmatch(text)
    return time.process_time() - began


def slow(pattern: re.Pattern[Any]) -> str | None:
    """A text, shortened, that takes it more than linear time."""
    for short, long in zip(texts(pattern, _SHORT), texts(pattern, _LONG), strict=True):
        if seconds(pattern, long) <= _AT_ONCE:
            continue
        # The best of some: the machine may be busy with something else.
        took = min(seconds(pattern, long) for _ in range(2))
        before = min(seconds(pattern, short) for _ in range(3))
        if took > _AT_ONCE and took > _GROWTH * before:
            return f"{long[:40]!r}...: {before:.3f} s, then {took:.3f} s"
    return None


PATTERNS = patterns()


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_takes_linear_time(name: str) -> None:
    """100 KB of anything in 50 ms of CPU, and no text that makes it quadratic."""
    assert slow(PATTERNS[name]) is None


def test_a_slow_pattern_would_be_found() -> None:
    """The ground that is tried holds what makes a quadratic pattern slow."""
    assert len(PATTERNS) > 20
    assert slow(re.compile(r"a+b"))
    assert slow(re.compile(r"<!--.*?-->", re.DOTALL))
    assert slow(re.compile(r"\s+$"))


def test_nothing_is_compiled_where_this_cannot_see_it() -> None:
    """Patterns are module-level names, so that the others here are complete."""
    calls = re.compile(r"\bre\.(?:match|search|fullmatch|sub|split|findall|finditer)\(")
    inner = re.compile(r"^[ \t]+[^#\n]*\bre\.compile\(", re.MULTILINE)
    for package in (taskplatform, pipelines):
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            found = find_spec(one.name)
            assert found is not None
            source = Path(str(found.origin)).read_text()
            assert not calls.search(source), one.name
            assert not inner.search(source), one.name
