"""W3, Q12: the steps of scrape, one after another, from a real site into a real database."""

import gc
from collections.abc import Iterator

import pytest

from pipelines import scrape
from pipelines.local_site import LocalSite
from pipelines.scrape import Extracted, Fetched, Source, Stored
from taskplatform import Context, Permanent

LONGEST_OUTPUT = 1024 * 1024


@pytest.fixture
def site(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSite]:
    monkeypatch.setattr(scrape, "database_url", lambda: empty_database_url)
    with LocalSite() as opened:
        monkeypatch.setenv("SCRAPE_ALLOW_PRIVATE", opened.address)
        yield opened


def execute(source: Source, step: str = "store") -> tuple[Fetched, Extracted, Stored]:
    fetched = scrape.fetch(source)
    extracted = scrape.extract(source, fetched)
    stored = scrape.store(source, fetched, extracted, Context(step=step))
    return fetched, extracted, stored


def test_a_feed_is_scraped_and_scraped_again(site: LocalSite) -> None:
    source = Source(url=site.feed_url, owner="someone")
    fetched, extracted, stored = execute(source, "first")
    assert fetched.status == 200
    assert extracted.kind == "feed"
    assert stored.new == extracted.documents == len(stored.ids) > 0
    assert extracted.titles

    again = execute(source, "second")[2]
    assert (again.new, again.known) == (0, stored.new)


def test_a_page_is_scraped(site: LocalSite) -> None:
    fetched, extracted, stored = execute(Source(url=site.page_url("json"), kind="page"))
    assert extracted.kind == "page"
    assert "json" in extracted.title
    assert extracted.characters > 1_000
    assert (stored.new, stored.known) == (1, 0)
    assert len(fetched.model_dump_json()) < LONGEST_OUTPUT


def test_no_connection_is_left_open(site: LocalSite) -> None:
    """Unclosed sockets and connections would warn, and warnings are errors."""
    execute(Source(url=site.page_url("csv")))
    gc.collect()


def test_the_allow_list_is_read_at_each_call(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRAPE_ALLOW_PRIVATE", "")
    with pytest.raises(Permanent, match="SCRAPE_ALLOW_PRIVATE"):
        scrape.fetch(Source(url=site.feed_url))
