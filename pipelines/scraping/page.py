"""Take title and text from a web page."""

import html
import re

import trafilatura

from pipelines.scraping.document import Document, Extraction, digest
from pipelines.scraping.kinds import media_type
from pipelines.scraping.text import clean, decode, one_line

# trafilatura needs 3 s and 250 MB for 2 MB of markup made to be slow.
LONGEST_MARKUP = 1_500_000
LONGEST_TITLE = 500
# Two searches, each linear: one pattern for both would start over at every opening.
TITLE = re.compile("<title", re.IGNORECASE)
TITLE_END = re.compile("</title", re.IGNORECASE)


def extract_page(body: bytes, content_type: str, url: str) -> Extraction:
    """Take the page as one document, its id made from its text: a changed page is a new one."""
    markup = decode(body, content_type)
    truncated = len(markup) > LONGEST_MARKUP
    markup = markup[:LONGEST_MARKUP]
    if media_type(content_type) == "text/plain":
        title, text = "", markup
    else:
        title, text = title_of(markup), text_of(markup)
    text = clean(text, LONGEST_MARKUP)
    document = Document(digest(title, text), title, url, text)
    return Extraction("page", title, (document,) if text or title else (), truncated)


def text_of(markup: str) -> str:
    """Return the main text, or all visible text where no main text is found."""
    found = trafilatura.bare_extraction(markup, with_metadata=False, include_comments=False)
    main = found.text if found is not None and not isinstance(found, dict) else None
    return main or trafilatura.html2txt(markup)


def title_of(markup: str) -> str:
    opened = TITLE.search(markup)
    inside = markup.find(">", opened.end()) if opened else -1
    closed = TITLE_END.search(markup, inside) if inside >= 0 else None
    if closed is None:
        return ""
    return one_line(html.unescape(markup[inside + 1 : closed.start()][:5_000]), LONGEST_TITLE)
