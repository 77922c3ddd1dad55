"""An announcement, fitted to several platforms side by side, which a person approves.

What it shows: a map over a field of the input, a wait for an event, what happens without an answer.
"""

from pydantic import BaseModel, Field

from taskplatform import Permanent, Pipeline

# The most characters of a post, and whether it may have links.
PLATFORMS = {
    "twitter": (280, True),
    "linkedin": (3000, True),
    "facebook": (63206, True),
    "instagram": (2200, False),
}


class Announcement(BaseModel):
    """What to say, and where."""

    request_id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    link: str | None = None
    platforms: list[str] = Field(default_factory=lambda: list(PLATFORMS))


class Post(BaseModel):
    """The text for one platform."""

    platform: str
    text: str
    cut: bool


class Approval(BaseModel):
    """A person's answer, sent as the event `announce.approved`."""

    request_id: str
    approved: bool
    by: str = "somebody"


class Approved(BaseModel):
    """What may be posted, and who says so."""

    posts: list[Post]
    by: str


announce = Pipeline("announce", input=Announcement, key="request_id", timeout="5m")


@announce.map(over="platforms")
def post(item: str, input: Announcement) -> Post:
    """Fit the text to one platform."""
    if item not in PLATFORMS:
        raise Permanent(f"no platform is named {item!r}: give some of {', '.join(PLATFORMS)}")
    most, links = PLATFORMS[item]
    link = f" {input.link}" if input.link and links else ""
    room = most - len(link)
    cut = len(input.text) > room
    # A word is not cut in the middle, if there is a space to cut at.
    text = input.text[: room - 1].rpartition(" ")[0] or input.text[: room - 1]
    return Post(platform=item, text=(f"{text}…" if cut else input.text) + link, cut=cut)


announce.wait(
    "approval", event="announce.approved", match="request_id", timeout="7d", model=Approval
)


@announce.step
def approved(post: list[Post], approval: Approval | None) -> Approved:
    """Hand out what was approved."""
    if approval is None:
        raise Permanent("nobody approved it within seven days")
    if not approval.approved:
        raise Permanent(f"{approval.by} did not approve it")
    return Approved(posts=post, by=approval.by)
