"""The tables of the pipeline `scrape`, in the schema `context` of the platform's database."""

import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg

from pipelines.scraping.document import Extraction
from taskplatform import Permanent

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS context;
CREATE TABLE IF NOT EXISTS context.fetched (
    id text PRIMARY KEY,
    url text NOT NULL,
    content_type text NOT NULL,
    body bytea NOT NULL,
    fetched_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS fetched_at ON context.fetched (fetched_at);
CREATE TABLE IF NOT EXISTS context.extracted (
    fetched text NOT NULL REFERENCES context.fetched ON DELETE CASCADE,
    kind text NOT NULL,
    position int NOT NULL,
    item_id text NOT NULL,
    content_hash text NOT NULL,
    title text NOT NULL,
    link text NOT NULL,
    text text NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (fetched, kind, position)
);
CREATE TABLE IF NOT EXISTS context.documents (
    id text PRIMARY KEY,
    owner text NOT NULL,
    source text NOT NULL,
    kind text NOT NULL,
    item_id text NOT NULL,
    content_hash text NOT NULL,
    title text NOT NULL,
    link text NOT NULL,
    text text NOT NULL,
    published_at timestamptz,
    stored_at timestamptz NOT NULL DEFAULT now(),
    stored_by text NOT NULL,
    UNIQUE (owner, source, content_hash)
);
"""


class Gone(Permanent):
    """The fetched body was pruned, or never was in this database."""


@dataclass(frozen=True)
class Stored:
    """Ids of documents this step stored, and how many of the body were known before."""

    new: tuple[str, ...]
    known: int


def create_tables(connection: Connection) -> None:
    """Create what is missing; safe to call at once from many processes."""
    found = connection.execute("SELECT to_regclass('context.documents') IS NOT NULL").fetchone()
    if found and found[0]:
        return
    with connection.transaction():
        # IF NOT EXISTS alone still fails when two sessions create one name at once.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('context.schema', 0))")
        connection.execute(SCHEMA)


def keep_body(connection: Connection, url: str, content_type: str, body: bytes) -> str:
    """Store a fetched body and return its id; the same body from the same URL has one id."""
    body_id = hashlib.sha256(b"\0".join((url.encode(), content_type.encode(), body))).hexdigest()
    connection.execute(
        "INSERT INTO context.fetched (id, url, content_type, body) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET fetched_at = now()",
        (body_id, url, content_type, body),
    )
    return body_id


def read_body(connection: Connection, body_id: str) -> tuple[str, str, bytes]:
    """Return URL, Content-Type and body. Raises Gone."""
    row = connection.execute(
        "SELECT url, content_type, body FROM context.fetched WHERE id = %s", (body_id,), binary=True
    ).fetchone()
    if row is None:
        raise Gone(f"the body {body_id} is no longer stored; replay the run from its start")
    url, content_type, body = row
    return url, content_type, bytes(body)


def keep_extraction(connection: Connection, body_id: str, extraction: Extraction) -> None:
    """Store what was extracted from a body, in place of an earlier extraction of it."""
    rows = [
        (
            body_id,
            extraction.kind,
            position,
            document.item_id,
            document.content_hash,
            document.title,
            document.link,
            document.text,
            document.published,
        )
        for position, document in enumerate(extraction.documents)
    ]
    with connection.transaction(), connection.cursor() as cursor:
        _lock(connection, f"context.extracted {body_id}")
        cursor.execute(
            "DELETE FROM context.extracted WHERE fetched = %s AND kind = %s",
            (body_id, extraction.kind),
        )
        cursor.executemany(
            "INSERT INTO context.extracted (fetched, kind, position, item_id, content_hash,"
            " title, link, text, published_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def keep_documents(
    connection: Connection, body_id: str, kind: str, source: str, owner: str, stored_by: str
) -> Stored:
    """Store the documents of a body that the source does not have yet.

    `stored_by` is equal on every attempt of a step, so that a second attempt counts what the
    first one stored as new, not as known.
    """
    with connection.transaction():
        _lock(connection, f"context.documents {owner} {source}")
        connection.execute(
            "INSERT INTO context.documents (id, owner, source, kind, item_id, content_hash,"
            " title, link, text, published_at, stored_by)"
            " SELECT encode(sha256(convert_to(concat_ws(E'\\x01', %(owner)s::text,"
            "   %(source)s::text, item_id), 'UTF8')), 'hex'),"
            "  %(owner)s, %(source)s, kind, item_id, content_hash, title, link, text,"
            "  published_at, %(stored_by)s"
            " FROM context.extracted WHERE fetched = %(fetched)s AND kind = %(kind)s"
            " ORDER BY position ON CONFLICT DO NOTHING",
            {
                "owner": owner,
                "source": source,
                "stored_by": stored_by,
                "fetched": body_id,
                "kind": kind,
            },
        )
        new = connection.execute(
            "SELECT id FROM context.documents WHERE owner = %s AND source = %s AND stored_by = %s"
            " ORDER BY stored_at, id",
            (owner, source, stored_by),
        ).fetchall()
        total = connection.execute(
            "SELECT count(*) FROM context.extracted WHERE fetched = %s AND kind = %s",
            (body_id, kind),
        ).fetchone()
    assert total is not None
    return Stored(tuple(row[0] for row in new), total[0] - len(new))


def prune_bodies(connection: Connection, days: int) -> int:
    """Delete bodies not fetched for so many days, a hundred at most; return how many."""
    return connection.execute(
        "DELETE FROM context.fetched WHERE id IN (SELECT id FROM context.fetched"
        " WHERE fetched_at < now() - make_interval(days => %s) LIMIT 100 FOR UPDATE SKIP LOCKED)",
        (days,),
    ).rowcount


def _lock(connection: Connection, name: str) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
