"""A24: hostile pages and feeds are refused or bounded; real ones are read."""

import contextlib
import gzip
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.local_site import MODULES, changelog_entries, feed, page
from pipelines.scraping.body import TooBig, read_body
from pipelines.scraping.extract import extract
from pipelines.scraping.feed_shape import MOST_ITEMS, HostileFeed
from pipelines.scraping.kinds import recognize
from pipelines.scraping.text import decode
from taskplatform import Permanent

URL = "http://site.example/dir/feed.xml"
HEAD = "<rss version='2.0'><channel><title>T</title>"
TAIL = "</channel></rss>"
ITEM = "<item><title>t {0}</title><link>{0}.html</link><guid>id-{0}</guid></item>"


def rss(items: str, head: str = "") -> bytes:
    return f"{head}{HEAD}{items}{TAIL}".encode()


LAUGHS = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 30))
ENTITIES = f"<!DOCTYPE rss [<!ENTITY l0 'ha'>{LAUGHS}]>"

HOSTILE = {
    "billion laughs": rss("<item><title>&l29;</title></item>", ENTITIES),
    "billion laughs in utf-16": rss("<item/>", ENTITIES).decode().encode("utf-16"),
    "quadratic blow-up": rss(
        "<item><title>" + "&a;" * 100_000 + "</title></item>",
        f"<!DOCTYPE rss [<!ENTITY a '{'a' * 100_000}'>]>",
    ),
    "external entity": rss(
        "<item><title>&x;</title></item>", "<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    ),
    "damaged, with entities": (ENTITIES + HEAD + "<item>&l29;</oops>").encode(),
    "deep": (HEAD + "<item>" + "<a>" * 1_000_000).encode(),
    "deep and closed": rss("<item>" + "<a>" * 200_000 + "</a>" * 200_000 + "</item>"),
    "many attributes": rss(
        "<item><a " + " ".join(map("a{}='b'".format, range(100_000))) + "/></item>"
    ),
    "many elements": rss("<item>" + "<category>c</category>" * 100_000 + "</item>"),
    "damaged and long": (HEAD + "<item>&" + "x" * 1_000_000).encode(),
    "damaged, many tags": (HEAD + "<item>&" + "<a>" * 30_000).encode(),
    "one huge item": rss(f"<item><title>{'x' * 9_000_000}</title></item>"),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_feeds_are_refused_at_once(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(HostileFeed):
        extract(body, "application/rss+xml", URL)
    assert time.process_time() - began < 5


def test_a_dtd_is_not_fetched_and_does_no_harm() -> None:
    doctype = "<!DOCTYPE rss PUBLIC '-//Netscape//DTD RSS 0.91//EN' 'http://127.0.0.1:1/rss.dtd'>"
    found = extract(rss(ITEM.format(1), doctype), "text/xml", URL)
    assert [document.item_id for document in found.documents] == ["id-1"]


SLOW_PAGES = {
    "deep": "<div>" * 1_000_000,
    "spans": "<p>" + "<span>x</span>" * 700_000,
    "links": "<a href='/x'>link text</a>" * 400_000,
    "angles": "<" * 2_000_000,
    "comments": "<!--" * 500_000,
    "meta": "<meta " * 400_000,
    "attributes": "<p " + "a=b " * 500_000,
    "titles": "<title>" * 200_000,
    "spaces": " " * 9_000_000,
    "declarations": "<?xml " * 400_000,
}


@pytest.mark.parametrize("markup", SLOW_PAGES.values(), ids=SLOW_PAGES.keys())
def test_pages_made_to_be_slow_are_read_in_bounded_time(markup: str) -> None:
    began = time.process_time()
    extract(f"<html><body>{markup}".encode(), "text/html", URL)
    assert time.process_time() - began < 10  # seconds; 3 on a quiet machine


@pytest.mark.parametrize(
    "text", [" " * 9_000_000, "<?xml " * 80_000, "&" * 400_000, "]]>" * 150_000]
)
def test_feeds_made_to_be_slow_are_read_or_refused_in_bounded_time(text: str) -> None:
    """A25."""
    for body in (text, rss("<item>").decode() + text, f"{HEAD}<item><title>{text}"):
        began = time.process_time()
        with contextlib.suppress(Permanent):
            extract(body.encode(), "application/rss+xml", URL)
        assert time.process_time() - began < 5


def test_a_huge_feed_is_cut_after_its_first_items() -> None:
    body = rss("".join(ITEM.format(number) for number in range(120_000)))
    found = extract(body, "application/rss+xml", URL)
    assert found.truncated
    assert len(found.documents) == MOST_ITEMS
    assert found.documents[0].item_id == "id-0"
    assert found.documents[-1].item_id == f"id-{MOST_ITEMS - 1}"


def test_items_have_one_id_and_absolute_links() -> None:
    body = rss(ITEM.format(1) + ITEM.format(1) + ITEM.format(2) + "<item><title>x</title></item>")
    found = extract(body, "text/xml", URL)
    assert found.kind == "feed"
    assert found.title == "T"
    assert not found.truncated
    ids = [document.item_id for document in found.documents]
    assert ids[:2] == ["id-1", "id-2"]
    assert len(ids[2]) == 64  # no id, no link: the hash
    assert found.documents[0].link == "http://site.example/dir/1.html"


def test_a_damaged_feed_is_read_leniently() -> None:
    body = (HEAD + ITEM.format(1) + "<item><title>a & b</title><guid>2</guid></item>").encode()
    found = extract(body, "application/xml", URL)
    assert [document.title for document in found.documents] == ["t 1", "a & b"]


def test_what_is_no_feed_is_refused() -> None:
    with pytest.raises(Permanent, match="no RSS or Atom feed"):
        extract(b"<html><body>hello</body></html>", "text/html", URL, "feed")


@pytest.mark.parametrize("module", MODULES)
def test_real_pages_are_read(module: str) -> None:
    found = extract(page(module).encode(), "text/html; charset=utf-8", URL)
    assert found.kind == "page"
    assert module in found.title
    assert len(found.documents[0].text) > 500


PODCAST = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
     xmlns:content="http://purl.org/rss/1.0/modules/content/">
<channel><title>Stimmen &amp; Töne</title><itunes:explicit>no</itunes:explicit>
<item><title><![CDATA[第一集 <b>début</b>]]></title><guid isPermaLink="false">e-1</guid>
  <enclosure url="https://cdn.example/1.mp3" length="1" type="audio/mpeg"/>
  <content:encoded><![CDATA[<p>Грамматика &amp; жизнь</p>]]></content:encoded></item>
<item><title>Без ссылки</title><description>تجربة</description>
  <enclosure url="https://cdn.example/2.mp3" length="1" type="audio/mpeg"/></item>
</channel></rss>""".encode()


def test_a_podcast_is_read() -> None:
    """W3: namespaces, CDATA, enclosures instead of links, several scripts."""
    found = extract(PODCAST, "text/xml", URL)
    assert (found.kind, found.title) == ("feed", "Stimmen & Töne")
    texts = [f"{document.title} {document.text}" for document in found.documents]
    assert len(texts) == 2
    assert "第一集" in texts[0]
    assert "Грамматика & жизнь" in texts[0]
    assert "تجربة" in texts[1]


def test_a_page_without_main_text_gives_what_is_visible() -> None:
    found = extract(b"<html><title>Hi &amp; ho</title><body><b>one</b></body></html>", "", URL)
    assert (found.title, found.documents[0].text) == ("Hi & ho", "one")


def test_the_changelog_makes_a_feed(tmp_path: Path) -> None:
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(
        "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- One thing\n  on two lines.\n- Another\n"
        "\n## [0.1.0] - 2026-01-02\n\n### Fixed\n\n- A <b> & c\n",
        encoding="utf-8",
    )
    entries = list(changelog_entries(changelog))
    assert [text for _, _, text, _ in entries] == [
        "One thing on two lines.",
        "Another",
        "A <b> & c",
    ]
    found = extract(feed(changelog).encode(), "application/rss+xml", URL)
    assert [document.title for document in found.documents] == [
        "Unreleased: Added",
        "Unreleased: Added",
        "0.1.0: Fixed",
    ]
    assert found.documents[2].published is not None
    assert found.documents[2].published.year == 2026


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("é".encode(), "", "é"),
        ("é".encode("latin-1"), "", "é"),
        ("é".encode("latin-1"), "text/html; charset=ISO-8859-1", "é"),
        ("é".encode("utf-16"), "text/html; charset=utf-8", "é"),
        ("<meta charset='koi8-r'>ж".encode("koi8-r"), "text/html", "<meta charset='koi8-r'>ж"),
        (b"+ADw-b", "text/html; charset=utf-7", "+ADw-b"),
        (b"\\x3c", "text/html; charset=unicode_escape", "\\x3c"),
        (b"a\xffb", "text/html; charset=utf-8", "a\ufffdb"),
        (b"x", "text/html; charset=nonsense", "x"),
        (b"x", "text/html; charset*=utf-8''x", "x"),
    ],
)
def test_text_is_decoded_by_the_encodings_of_the_web(
    body: bytes, content_type: str, text: str
) -> None:
    assert decode(body, content_type) == text


@given(st.binary(max_size=2_000), st.sampled_from(["text/html", "text/xml", "text/plain", ""]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    try:
        found = extract(body, content_type, URL)
    except Permanent:
        return
    for document in found.documents:
        document.text.encode()
        assert "\0" not in document.text + document.title + document.item_id + document.link


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("text/html", b"<!doctype html><html>", "page"),
        ("text/html", b"<?xml version='1.0'?><rss>", "feed"),
        ("text/plain", b"<feed xmlns='http://www.w3.org/2005/Atom'>", "feed"),
        ("application/xml", b"<x/>", "feed"),
        ("application/xml", b"<html xmlns='http://www.w3.org/1999/xhtml'>", "page"),
        ("", b"hello", "page"),
        ("text/html", b"<html><body>&lt;rss <rss></body>", "page"),
    ],
)
def test_the_kind_is_recognized(content_type: str, body: bytes, kind: str) -> None:
    assert recognize("auto", content_type, body) == kind


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 100))
def test_gzip_gives_back_what_went_in(parts: list[bytes], size: int) -> None:
    whole = b"".join(parts)
    packed = gzip.compress(whole)
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
    assert read_body(chunks, "gzip", len(whole)) == whole


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    """A23: one chunk inflates a thousandfold."""
    with pytest.raises(TooBig):
        read_body([gzip.compress(bytes(50_000_000))], "gzip", 1_000_000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "gzip,identity"])
def test_encodings_not_asked_for_are_refused(encoding: str) -> None:
    with pytest.raises(Permanent, match="not asked for"):
        read_body([b"x"], encoding, 10)


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"x" * 1000)[:-5]], ids=["no gzip", "cut short"]
)
def test_a_damaged_gzip_body_may_be_tried_again(body: bytes) -> None:
    with pytest.raises(ValueError, match="gzip"):
        read_body([body], "gzip", 10_000)
