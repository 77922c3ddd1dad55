"""W3: the context store takes each document once, whatever happens twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pipelines.scraping.document import Document, Extraction
from pipelines.scraping.store import (
    Gone,
    Stored,
    create_tables,
    keep_body,
    keep_documents,
    keep_extraction,
    prune_bodies,
    read_body,
)

SOURCE = "http://site.example/feed.xml"
ITEMS = tuple(
    Document(f"id-{number}", f"title {number}", f"http://site.example/{number}", "text")
    for number in range(5)
)


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_database_url, autocommit=True) as opened:
        create_tables(opened)
        yield opened


def store(
    connection: psycopg.Connection[Any],
    documents: tuple[Document, ...],
    step: str,
    source: str = SOURCE,
    owner: str = "",
) -> Stored:
    body = repr(documents).encode()
    body_id = keep_body(connection, source, "text/xml", body)
    keep_extraction(connection, body_id, Extraction("feed", "T", documents))
    return keep_documents(connection, body_id, "feed", source, owner, step)


def count(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM context.{table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_body_is_kept_once(connection: psycopg.Connection[Any]) -> None:
    ids = {keep_body(connection, SOURCE, "text/xml", b"\0body") for _ in range(2)}
    assert len(ids) == 1
    assert read_body(connection, ids.pop()) == (SOURCE, "text/xml", b"\0body")
    assert count(connection, "fetched") == 1


def test_new_items_are_stored_and_known_ones_are_not(
    connection: psycopg.Connection[Any],
) -> None:
    first = store(connection, ITEMS[:3], "run-1:store")
    assert (len(first.new), first.known) == (3, 0)
    second = store(connection, ITEMS, "run-2:store")
    assert (len(second.new), second.known) == (2, 3)
    assert not set(first.new) & set(second.new)
    assert count(connection, "documents") == 5


def test_a_second_attempt_stores_nothing_and_says_the_same(
    connection: psycopg.Connection[Any],
) -> None:
    attempts = [store(connection, ITEMS, "run-1:store") for _ in range(2)]
    assert attempts[0] == attempts[1]
    assert count(connection, "documents") == 5


def test_the_same_content_under_another_id_is_known(connection: psycopg.Connection[Any]) -> None:
    store(connection, ITEMS[:1], "run-1:store")
    again = store(connection, (replace(ITEMS[0], item_id="other"),), "run-2:store")
    assert (again.new, again.known) == ((), 1)


def test_the_same_id_with_other_content_is_known(connection: psycopg.Connection[Any]) -> None:
    store(connection, ITEMS[:1], "run-1:store")
    again = store(connection, (replace(ITEMS[0], text="edited"),), "run-2:store")
    assert (again.new, again.known) == ((), 1)


def test_sources_and_owners_do_not_share_documents(connection: psycopg.Connection[Any]) -> None:
    for number, (source, owner) in enumerate([(SOURCE, ""), (SOURCE, "a"), (SOURCE + "2", "a")]):
        stored = store(connection, ITEMS, f"run-{number}:store", source, owner)
        assert len(stored.new) == 5
    assert count(connection, "documents") == 15


def test_many_at_once_store_each_document_once(empty_database_url: str) -> None:
    """Creating the tables at once included."""

    def scrape(number: int) -> Stored:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            create_tables(connection)
            documents = ITEMS if number % 2 else ITEMS[::-1]
            return store(connection, documents, f"run-{number}:store")

    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(scrape, range(16)))
    new = [found for one in stored for found in one.new]
    assert len(new) == len(set(new)) == 5
    assert all(len(one.new) + one.known == 5 for one in stored)


def test_old_bodies_are_pruned_and_said_to_be_gone(connection: psycopg.Connection[Any]) -> None:
    store(connection, ITEMS, "run-1:store")
    body_id = keep_body(connection, SOURCE, "text/xml", b"young")
    connection.execute(
        "UPDATE context.fetched SET fetched_at = now() - interval '31 days' WHERE id <> %s",
        (body_id,),
    )
    assert prune_bodies(connection, days=30) == 1
    assert count(connection, "extracted") == 0
    assert count(connection, "documents") == 5
    with pytest.raises(Gone, match="replay the run from its start"):
        read_body(connection, "0" * 64)
    assert read_body(connection, body_id)[2] == b"young"
