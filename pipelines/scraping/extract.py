"""Take the documents from a fetched body."""

from pipelines.scraping.document import Extraction
from pipelines.scraping.feed import extract_feed
from pipelines.scraping.kinds import Kind, recognize
from pipelines.scraping.page import extract_page


def extract(body: bytes, content_type: str, url: str, kind: Kind = "auto") -> Extraction:
    """Read the body as a feed or a page; `url` is where relative links start from."""
    match recognize(kind, content_type, body):
        case "feed":
            return extract_feed(body, content_type, url)
        case "page":
            return extract_page(body, content_type, url)
