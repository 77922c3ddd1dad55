"""Take the items of an RSS or Atom feed."""

import io
import re
import warnings
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import feedparser
import trafilatura

from pipelines.scraping.document import Document, Extraction, digest
from pipelines.scraping.feed_shape import safe_feed
from pipelines.scraping.text import clean, decode, one_line
from taskplatform import Permanent

LONGEST_TEXT = 20_000
LONGEST_FIELD = 2_000
DECLARATION = re.compile(r"<\?xml[^>]{0,200}\?>")


def extract_feed(body: bytes, content_type: str, url: str) -> Extraction:
    """Take one document per item. Raises Permanent for what is no feed, or a hostile one."""
    # Decoded here, once: what is looked over must be what is parsed.
    text = decode(body, content_type).lstrip("\ufeff \t\r\n")
    if declaration := DECLARATION.match(text):
        text = text[declaration.end() :]
    data, truncated = safe_feed(text.encode("utf-8", "replace"))
    parsed = _parse(data)
    entries = dict.get(parsed, "entries", [])
    if not entries and not dict.get(parsed, "version"):
        raise Permanent("what was fetched is no RSS or Atom feed")
    title = one_line(_field(parsed["feed"], "title"), LONGEST_FIELD)
    documents: dict[str, Document] = {}
    for entry in entries:
        document = _document(entry, url)
        documents.setdefault(document.item_id, document)
    return Extraction("feed", title, tuple(documents.values()), truncated)


def _parse(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="feedparser")
        # A file object: feedparser would open a string as a URL or a file.
        return feedparser.parse(
            io.BytesIO(data),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,
            resolve_relative_uris=False,
        )


def _document(entry: Any, url: str) -> Document:
    title = _plain(_field(entry, "title"))[:500]
    link = _absolute(url, one_line(_field(entry, "link"), LONGEST_FIELD))
    text = _plain(_content(entry))
    item_id = one_line(_field(entry, "id"), LONGEST_FIELD) or link or digest(title, text)
    return Document(item_id, title, link, text, _published(entry))


def _absolute(url: str, link: str) -> str:
    # Links only: were ids made absolute too, a feed that moves would be stored twice.
    try:
        return urljoin(url, link) if link else ""
    except ValueError:
        return link


def _content(entry: Any) -> str:
    contents = dict.get(entry, "content") or []
    values = [str(content.get("value") or "") for content in contents]
    return max([_field(entry, "summary"), *values], key=len)


def _field(entry: Any, name: str) -> str:
    # FeedParserDict's own get() guesses at other keys, and warns when it does.
    value = dict.get(entry, name)
    return value if isinstance(value, str) else ""


def _plain(text: str) -> str:
    text = clean(text, LONGEST_TEXT)
    if "<" not in text and "&" not in text:
        return text
    return clean(trafilatura.html2txt(f"<html><body><div>{text}</div></body></html>"), LONGEST_TEXT)


def _published(entry: Any) -> datetime | None:
    for name in ("published_parsed", "updated_parsed"):
        parsed = dict.get(entry, name)
        if parsed:
            try:
                year, month, day, hour, minute, second = parsed[:6]
                return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
            except ValueError:
                continue
    return None
