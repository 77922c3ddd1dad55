"""What is taken from a page or a feed."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Document:
    """A page's text, or one item of a feed; `item_id` is unique in its source."""

    item_id: str
    title: str
    link: str
    text: str
    published: datetime | None = None

    @property
    def content_hash(self) -> str:
        return digest(self.title, self.link, self.text)


@dataclass(frozen=True)
class Extraction:
    """All documents of one body; `truncated`: it held more than is read of one."""

    kind: Literal["page", "feed"]
    title: str
    documents: tuple[Document, ...]
    truncated: bool = False


def digest(*parts: str) -> str:
    """Hash the parts so that moving a character from one to the next changes the hash."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "replace")
        hashed.update(len(data).to_bytes(8, "big"))
        hashed.update(data)
    return hashed.hexdigest()
