"""A web site on loopback, of real pages and a real feed, for demonstrations and tests.

The pages are Python's own documentation of its standard library, as pydoc renders it; the
feed holds the entries of the project's changelog, or pydoc's topics where there is none.
"""

import html
import pydoc
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
MODULES = ("json", "csv", "textwrap", "heapq", "bisect", "queue", "graphlib", "sched")
TOPICS = ("with", "try", "class", "lambda", "yield", "import", "for", "while", "del", "assert")
RELEASE = re.compile(r"^## \[?(?P<version>[^\]\s]+)\]?(?: - (?P<date>\d{4}-\d\d-\d\d))?")


class LocalSite:
    """Serve on 127.0.0.1 while the context is open; port 0 is a free one."""

    def __init__(self, changelog: Path = CHANGELOG, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"changelog": changelog})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="local-site", daemon=True
        )

    @property
    def address(self) -> str:
        """Host and port, as SCRAPE_ALLOW_PRIVATE takes them."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def feed_url(self) -> str:
        return f"http://{self.address}/feed.xml"

    def page_url(self, module: str) -> str:
        """Return the URL of the page of one of MODULES."""
        return f"http://{self.address}/{module}.html"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    changelog = CHANGELOG

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/")
        if name == "feed.xml":
            self._answer("application/rss+xml; charset=utf-8", feed(self.changelog))
        elif name.removesuffix(".html") in MODULES:
            self._answer("text/html; charset=utf-8", page(name.removesuffix(".html")))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the caller's terminal is not this server's."""


@cache
def page(module: str) -> str:
    """Render the module's documentation as HTML."""
    renderer = pydoc.HTMLDoc()
    return renderer.page(module, renderer.document(import_module(module)))


def feed(changelog: Path) -> str:
    """Render the changelog's entries as RSS 2.0."""
    entries = changelog_entries(changelog) if changelog.exists() else topic_entries()
    items = "".join(
        f"<item><title>{html.escape(title)}</title><guid isPermaLink='false'>{html.escape(guid)}"
        f"</guid><pubDate>{format_datetime(date)}</pubDate>"
        f"<description>{html.escape(text)}</description></item>"
        for guid, title, text, date in entries
    )
    return (
        "<?xml version='1.0' encoding='utf-8'?><rss version='2.0'><channel>"
        "<title>taskplatform</title><link>https://example.org/</link>"
        f"<description>What changed</description>{items}</channel></rss>"
    )


Entry = tuple[str, str, str, datetime]


def changelog_entries(changelog: Path) -> Iterator[Entry]:
    """Yield one entry per list item of a Keep-a-Changelog file."""
    version, section, item = "", "", ""
    date = datetime.fromtimestamp(changelog.stat().st_mtime, UTC)
    for line in [*changelog.read_text(encoding="utf-8").splitlines(), ""]:
        if item and not line.startswith("  "):
            yield f"{version}/{section}/{item}"[:200], f"{version}: {section}", item, date
            item = ""
        if release := RELEASE.match(line):
            version, section = release["version"], ""
            if release["date"]:
                date = datetime.fromisoformat(release["date"]).replace(tzinfo=UTC)
        elif line.startswith("### "):
            section = line.removeprefix("### ").strip()
        elif line.startswith(("- ", "* ")):
            item = line[2:].strip()
        elif item:
            item += f" {line.strip()}"


def topic_entries() -> Iterator[Entry]:
    """Yield pydoc's text on some keywords of Python."""
    topics = import_module("pydoc_data.topics").topics
    for name in TOPICS:
        text = str(topics.get(name, ""))
        yield f"topic/{name}", f"The keyword {name}", text[:2_000], datetime(2024, 1, 1, tzinfo=UTC)
