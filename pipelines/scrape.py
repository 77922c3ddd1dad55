"""The pipeline `scrape`: one page or feed into the context store, nothing twice.

Steps hand each other ids: a body may be ten times as big as an output may.
"""

import os
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
from pydantic import BaseModel, ConfigDict, Field, field_validator

from taskplatform import Context, Pipeline, Retry, Throttle, database_url

KEPT_DAYS = 30
TITLES_SHOWN = 20


class Source(BaseModel):
    """What to scrape; `max_bytes` bounds the body, decompressed."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=8, max_length=2_000)
    kind: Literal["page", "feed", "auto"] = "auto"
    owner: str | None = Field(default=None, min_length=1, max_length=200)
    max_bytes: int = Field(default=10 * 1024 * 1024, ge=1, le=10 * 1024 * 1024)

    @field_validator("url")
    @classmethod
    def _plain_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https URL")
        if "@" in parts.netloc:
            raise ValueError("must not carry a user name or a password")
        if not value.isprintable():
            raise ValueError("must not hold control characters")
        return value

    @field_validator("owner")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("must not hold control characters")
        return value

    @property
    def host(self) -> str:
        """Whom a fetch is a burden to."""
        return urlsplit(self.url).hostname or ""

    @property
    def key(self) -> str:
        """Two owners may scrape one URL at the same time; one owner not twice."""
        return f"{self.owner or ''} {self.url}"


class Fetched(BaseModel):
    body_id: str
    url: str
    status: int
    content_type: str
    bytes: int
    fetched_at: datetime


class Extracted(BaseModel):
    """`truncated`: the body held more than is read of one; `titles` are the first few."""

    kind: Literal["page", "feed"]
    title: str
    documents: int
    characters: int
    truncated: bool
    titles: list[str]


class Stored(BaseModel):
    """`ids` are the new documents' in `context.documents`."""

    new: int
    known: int
    ids: list[str]


scrape = Pipeline(
    "scrape",
    input=Source,
    key=lambda source: source.key,
    owner="owner",
    retry=Retry(3, base="30s", factor=4, cap="1h"),
    timeout="2m",
)

# One site is not asked more often, whoever wants its pages; and not at all while it says so.
HOSTS = Throttle("scrape-host", limit=60, per="1m", key="host")

# The libraries behind these imports take half a second and 30 MB, which commands and workers
# that never scrape should not pay.


@scrape.step(throttle=HOSTS)
def fetch(input: Source) -> Fetched:
    from pipelines.scraping.fetch import Limits  # noqa: PLC0415
    from pipelines.scraping.fetch import fetch as get  # noqa: PLC0415
    from pipelines.scraping.guard import Allowed  # noqa: PLC0415
    from pipelines.scraping.store import create_tables, keep_body, prune_bodies  # noqa: PLC0415

    answer = get(
        input.url,
        input.kind,
        limits=Limits(max_bytes=input.max_bytes),
        allowed=Allowed.parse(os.environ.get("SCRAPE_ALLOW_PRIVATE", "")),
        told=HOSTS.learn,
    )
    with _connect() as connection:
        create_tables(connection)
        prune_bodies(connection, KEPT_DAYS)
        body_id = keep_body(connection, answer.url, answer.content_type, answer.body)
    return Fetched(
        body_id=body_id,
        url=answer.url,
        status=answer.status,
        content_type=answer.content_type,
        bytes=len(answer.body),
        fetched_at=datetime.now(UTC),
    )


@scrape.step
def extract(input: Source, fetch: Fetched) -> Extracted:
    from pipelines.scraping.extract import extract as take  # noqa: PLC0415
    from pipelines.scraping.store import keep_extraction, read_body  # noqa: PLC0415

    with _connect() as connection:
        url, content_type, body = read_body(connection, fetch.body_id)
        extraction = take(body, content_type, url, input.kind)
        keep_extraction(connection, fetch.body_id, extraction)
    return Extracted(
        kind=extraction.kind,
        title=extraction.title,
        documents=len(extraction.documents),
        characters=sum(len(document.text) for document in extraction.documents),
        truncated=extraction.truncated,
        titles=[document.title for document in extraction.documents[:TITLES_SHOWN]],
    )


@scrape.step
def store(input: Source, fetch: Fetched, extract: Extracted, ctx: Context) -> Stored:
    from pipelines.scraping.store import keep_documents  # noqa: PLC0415

    with _connect() as connection:
        stored = keep_documents(
            connection,
            fetch.body_id,
            extract.kind,
            source=input.url,
            owner=input.owner or "",
            stored_by=ctx.idempotency_key,
        )
    return Stored(new=len(stored.new), known=stored.known, ids=list(stored.new))


def _connect() -> psycopg.Connection[Any]:
    return psycopg.connect(database_url(), autocommit=True, connect_timeout=10)
