"""A22, A23, W6: fetching from servers that lie, stall, flood and redirect."""

import gzip
import ssl
import time
from collections.abc import Iterator

import pytest
import trustme

from pipelines.local_site import MODULES, LocalSite
from pipelines.scraping.body import TooBig
from pipelines.scraping.extract import extract
from pipelines.scraping.fetch import FetchFailed, Limits, Response, fetch
from pipelines.scraping.guard import Allowed, Refused
from pipelines.scraping.kinds import Kind
from taskplatform import Permanent, RetryAfter
from tests.integration.scripted_server import Server, answer, drip, redirect, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
SMALL = Limits(total=2, connect=1, max_bytes=100_000)


def get(server: Server, path: str, limits: Limits = SMALL, kind: Kind = "auto") -> Response:
    allowed = Allowed.parse(f"127.0.0.1:{server.server_port}")
    return fetch(server.url(path), kind, limits=limits, allowed=allowed)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({}) as found:
        yield found


def test_a_page_is_fetched_by_name_at_the_vetted_address(server: Server) -> None:
    server.scripts["/a?b=c"] = answer(200, gzip.compress(b"hello"), Content_Encoding="gzip")
    port = server.server_port
    found = fetch(
        f"http://site.example:{port}/a?b=c#d",
        allowed=Allowed.parse("127.0.0.1/32"),
        resolver=lambda host, _: {"site.example": ["127.0.0.1"]}[host],
    )
    assert found.body == b"hello"
    assert server.seen == [("/a?b=c", f"site.example:{port}")]


def test_private_addresses_are_refused_unless_allowed(server: Server) -> None:
    port = server.server_port
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises(Refused):
            fetch(f"http://{host}:{port}/")
    assert server.seen == []


def test_an_answer_of_the_resolver_that_changes_has_no_effect() -> None:
    """The name is asked for once per connection; what is connected to is what was vetted."""
    asked = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    with serving({"/": answer(200, b"public")}, host="127.0.0.2") as public:
        port = public.server_port
        with serving({"/": answer(200, b"secret")}, port=port) as private:
            allowed = Allowed.parse("127.0.0.2/32")
            found = fetch(f"http://evil.example:{port}/", allowed=allowed, resolver=rebinding)
            assert (found.body, asked) == (b"public", ["evil.example"])

            asked.clear()
            public.scripts["/"] = redirect("/")
            with pytest.raises(Refused, match=r"127\.0\.0\.1"):
                fetch(f"http://evil.example:{port}/", allowed=allowed, resolver=rebinding)
            assert private.seen == []


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "//10.0.0.1/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user@127.0.0.1/",
        "http://[::1]/",
        "http://[",
    ],
)
def test_redirects_are_vetted_like_the_first_url(server: Server, target: str) -> None:
    server.scripts["/"] = redirect(target)
    with pytest.raises(Permanent):
        get(server, "/")
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, status: int) -> None:
    server.scripts["/dir/a"] = redirect("../b", status)
    server.scripts["/b"] = answer(200, b"there")
    found = get(server, "/dir/a")
    assert (found.url, found.body) == (server.url("/b"), b"there")


def test_five_redirects_are_followed_and_no_more(server: Server) -> None:
    server.scripts |= {f"/{number}": redirect(f"/{number + 1}") for number in range(5)}
    server.scripts["/5"] = answer(200, b"there")
    assert get(server, "/0").body == b"there"
    server.scripts["/loop"] = redirect("/loop")
    server.seen.clear()
    with pytest.raises(Permanent, match="redirects more than 5 times"):
        get(server, "/loop")
    assert len(server.seen) == 6


FLOODS = {
    "announced": answer(200, b"x", Content_Length="10000000000"),
    "endless": drip(OK + b"\r\n", b"x" * 50_000, 0),
    "endless, chunked": drip(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 0x8000 + b"\r\n", 0
    ),
    "gzip bomb": answer(200, gzip.compress(bytes(20_000_000)), Content_Encoding="gzip"),
}


@pytest.mark.parametrize("script", FLOODS.values(), ids=FLOODS.keys())
def test_a_body_over_the_limit_is_given_up(server: Server, script: object) -> None:
    server.scripts["/"] = script  # type: ignore[assignment]
    with pytest.raises(TooBig):
        get(server, "/")


STALLS = {
    "slow body": drip(OK + b"Content-Length: 1000\r\n\r\n", b"x", 0.05),
    "slow headers": drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.05),
    "headers without end": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.05),
    "interim answers without end": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05),
    "slow chunks": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
    "silence": drip(b"", b"", 0.05),
}


@pytest.mark.parametrize("script", STALLS.values(), ids=STALLS.keys())
def test_a_server_that_stalls_costs_the_total_time_at_most(server: Server, script: object) -> None:
    server.scripts["/"] = script  # type: ignore[assignment]
    began = time.monotonic()
    with pytest.raises(FetchFailed):
        get(server, "/", Limits(total=0.7, connect=0.5))
    assert time.monotonic() - began < 3


def test_a_resolver_that_stalls_costs_the_connect_time_at_most() -> None:
    began = time.monotonic()
    with pytest.raises(FetchFailed, match="not resolved"):
        fetch(
            "http://slow.example/",
            limits=Limits(connect=0.2),
            resolver=lambda *_: time.sleep(3) or [],  # type: ignore[func-returns-value]
        )
    assert time.monotonic() - began < 2


BROKEN = {
    "shorter than announced": drip(OK + b"Content-Length: 50\r\n\r\n", b"", 9),
    "damaged gzip": answer(200, b"no gzip", Content_Encoding="gzip"),
    "no HTTP": drip(b"SSH-2.0-OpenSSH\r\n", b"", 9),
    "two lengths": drip(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"", 9),
    "negative length": drip(OK + b"Content-Length: -1\r\n\r\n", b"", 9),
    "500": answer(500),
    "503 without Retry-After": answer(503),
    "429 without Retry-After": answer(429),
    "408": answer(408),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
def test_what_may_pass_is_an_ordinary_failure(server: Server, script: object) -> None:
    server.scripts["/"] = script  # type: ignore[assignment]
    with pytest.raises(FetchFailed):
        get(server, "/", Limits(total=0.7))


def test_a_body_that_ends_too_early_is_not_taken(server: Server) -> None:
    def hang_up(handler: object) -> None:
        answer(200, b"half", Content_Length="50", Connection="close")(handler)  # type: ignore[arg-type]

    server.scripts["/"] = hang_up
    with pytest.raises(FetchFailed, match="RemoteProtocolError"):
        get(server, "/")


def test_a_body_that_goes_on_is_cut_where_it_was_announced_to_end(server: Server) -> None:
    server.scripts["/"] = answer(200, b"all of it, and more", Content_Length="9")
    assert get(server, "/").body == b"all of it"


@pytest.mark.parametrize("status", [204, 200])
def test_an_empty_body_is_a_page_without_text(server: Server, status: int) -> None:
    server.scripts["/"] = answer(status)
    found = get(server, "/")
    assert extract(found.body, found.content_type, found.url).documents == ()


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 410, 451])
def test_what_will_not_pass_is_permanent(server: Server, status: int) -> None:
    server.scripts["/"] = answer(status)
    with pytest.raises(Permanent, match=str(status)):
        get(server, "/")


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_when_to_come_back(server: Server, status: int) -> None:
    server.scripts["/"] = answer(status, Retry_After="7")
    with pytest.raises(RetryAfter) as raised:
        get(server, "/")
    assert raised.value.seconds == 7


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [("auto", "image/png"), ("page", "application/rss+xml"), ("feed", "video/mp4")],
)
def test_other_content_types_are_refused(server: Server, kind: Kind, content_type: str) -> None:
    server.scripts["/"] = answer(200, b"x", Content_Type=content_type)
    with pytest.raises(Permanent, match=r"is '.*', not a"):
        get(server, "/", kind=kind)


def test_messages_do_not_carry_the_query(server: Server) -> None:
    server.scripts["/a?token=secret"] = answer(404)
    with pytest.raises(Permanent) as raised:
        get(server, "/a?token=secret")
    assert "secret" not in str(raised.value)


def test_nobody_listens() -> None:
    with serving({}) as gone:
        pass
    with pytest.raises(FetchFailed, match="ConnectError"):
        get(gone, "/")


@pytest.fixture
def certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server called site.example, and for a client that trusts it."""
    authority = trustme.CA()
    serving_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("site.example").configure_cert(serving_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return serving_side, trusting


def test_tls_is_checked_for_the_name_not_the_address(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    serving_side, trusting = certificate
    names: list[str | None] = []
    serving_side.sni_callback = lambda _socket, name, _context: names.append(name)
    with serving({"/": answer(200, b"safe")}, tls=serving_side) as server:

        def over_tls(host: str, tls: ssl.SSLContext | None) -> Response:
            return fetch(
                f"https://{host}:{server.server_port}/",
                allowed=Allowed.parse("127.0.0.0/8"),
                resolver=lambda *_: ["127.0.0.1"],
                tls=tls,
            )

        assert over_tls("site.example", trusting).body == b"safe"
        assert names == ["site.example"]
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            over_tls("other.example", trusting)
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            over_tls("site.example", None)


def test_real_pages_and_a_real_feed_are_fetched_and_read() -> None:
    with LocalSite() as site:
        allowed = Allowed.parse(site.address)
        for url in [*map(site.page_url, MODULES[:3]), site.feed_url]:
            found = fetch(url, allowed=allowed)
            extraction = extract(found.body, found.content_type, found.url)
            assert extraction.kind == ("feed" if url == site.feed_url else "page")
            assert extraction.documents[0].text
