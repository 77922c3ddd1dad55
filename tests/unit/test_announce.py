"""W1: variations for several platforms, made side by side, and approved by a person."""

import pytest
from pydantic import ValidationError

from pipelines.announce import PLATFORMS, Announcement, Approved, announce
from taskplatform import testing

TEXT = "word " * 100


def approval(**data: object) -> dict[str, object]:
    return {"approval": {"request_id": "r1", "approved": True, "by": "Ada", **data}}


def test_each_platform_gets_a_text_that_fits() -> None:
    given = Announcement(request_id="r1", text=TEXT, link="https://example.org/1")
    run = testing.run(announce, given, events=approval())
    assert isinstance(run.output, Approved)
    assert run.output.by == "Ada"
    assert [one.platform for one in run.output.posts] == list(PLATFORMS)
    for one in run.output.posts:
        most, links = PLATFORMS[one.platform]
        assert len(one.text) <= most
        assert one.text.endswith("https://example.org/1") == links
        assert one.cut == (one.platform == "twitter")
    assert run.output.posts[0].text.startswith("word word")
    assert "word… https" in run.output.posts[0].text


def test_what_nobody_approves_fails_after_a_week() -> None:
    run = testing.run(
        announce, {"request_id": "r1", "text": "hi"}, events={"approval": testing.TIMEOUT}
    )
    assert run.status == "failed"
    assert run.elapsed == 7 * 86400


def test_what_somebody_refuses_fails() -> None:
    run = testing.run(announce, {"request_id": "r1", "text": "hi"}, events=approval(approved=False))
    assert run.status == "failed"
    assert run.error is not None
    assert "Ada did not approve" in run.error.message


def test_an_unknown_platform_fails_at_once() -> None:
    given = {"request_id": "r1", "text": "hi", "platforms": ["twitter", "myspace"]}
    run = testing.run(announce, given)
    assert run.status == "failed"
    assert run.error is not None
    assert "myspace" in run.error.message


@pytest.mark.parametrize("wrong", [{"text": ""}, {"request_id": ""}])
def test_an_empty_announcement_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Announcement.model_validate({"request_id": "r1", "text": "hi", **wrong})
