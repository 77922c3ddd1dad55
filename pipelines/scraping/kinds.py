"""Tell pages from feeds."""

from typing import Literal

Kind = Literal["page", "feed", "auto"]
FoundKind = Literal["page", "feed"]

PAGES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
FEEDS = frozenset(
    {
        "application/rss+xml",
        "application/atom+xml",
        "application/rdf+xml",
        "application/xml",
        "text/xml",
    }
)
MARKS = (b"<rss", b"<feed", b"<rdf:rdf")


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def accepts(kind: Kind, content_type: str) -> bool:
    """Tell whether a body of this Content-Type is worth reading; none at all is.

    Many servers call a feed text/html or text/plain, so that is read and looked into.
    """
    media = media_type(content_type)
    return not media or media in PAGES or (media in FEEDS and kind != "page")


def recognize(kind: Kind, content_type: str, body: bytes) -> FoundKind:
    """Decide by what was asked for, then by the first bytes, then by the Content-Type."""
    if kind != "auto":
        return kind
    start = body[:2_000].replace(b"\0", b"").lower()
    marks = [at for mark in MARKS if (at := start.find(mark)) >= 0]
    html = start.find(b"<html")
    if marks and (html < 0 or min(marks) < html):
        return "feed"
    return "feed" if media_type(content_type) in FEEDS and html < 0 else "page"
