"""A22: what may be fetched, decided without a network."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scraping.addresses import is_public
from pipelines.scraping.guard import Allowed, Refused, vet_addresses, vet_url
from pipelines.scraping.retry_after import retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(Refused, match="not a public address"):
        vet_addresses("site.example", 80, [address], Allowed())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
)
def test_public_addresses_pass(address: str) -> None:
    assert vet_addresses("site.example", 443, [address, address], Allowed()) == [address]


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        vet_addresses("site.example", 80, ["1.1.1.1", "10.0.0.1"], Allowed())


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_not_public(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_ipv6_address_smuggles_an_ipv4_address(inner: IPv4Address) -> None:
    number = int(inner)
    forms = [
        number,
        (0xFFFF << 32) | number,
        int(IPv6Address("64:ff9b::")) | number,
        int(IPv6Address("2002::")) | (number << 80),
        int(IPv6Address("2001::")) | number,
    ]
    assert not any(is_public(IPv6Address(form)) for form in forms)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://example.com/",
        "//example.com/",
        "/relative",
        "http:///nohost",
        "http://",
        "",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://:@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://2852039166/",
        "http://127.0.0.1.:80/",
        "http://127。0。0。1。/",
        "http://user:pass@example.com/",
        "http://@127.0.0.1/",
        "dict://127.0.0.1:6379/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://0/",
        "http://1.2.3.4.5/",
        "http://%31%32%37.0.0.1/",
        "http://①②⑦.0.0.1/",
        "http://[fe80::1%25eth0]/",
        "http://[::g]/",
        "http://exa mple.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com/\r\nX: y",
        "http://example.com/\0",
        "http://example.com/" + "a" * 2_000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        vet_url(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.com/a?b=c", b"example.com"),
        ("HTTPS://EXAMPLE.com:8443/", b"example.com"),
        ("http://bücher.example/", b"xn--bcher-kva.example"),
        ("http://93.184.216.34/", b"93.184.216.34"),
        ("http://[2606:4700::1111]/", b"2606:4700::1111"),
        ("http://a_b.example/", b"a_b.example"),
        ("http://127。0。0。1/", b"127.0.0.1"),  # the address is vetted later
    ],
)
def test_urls_that_pass(url: str, host: bytes) -> None:
    assert vet_url(url).raw_host == host


@given(st.text(max_size=100))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://a.example/{text}"):
        try:
            vet_url(url)
        except Refused:
            continue


def test_the_allow_list_takes_places_and_networks() -> None:
    allowed = Allowed.parse(" 127.0.0.1:8080, [::1]:81 ,Intranet.example:443,10.1.0.0/16,10.9.9.9,")
    assert allowed.covers("127.0.0.1", 8080, ip_address("127.0.0.1"))
    assert not allowed.covers("127.0.0.1", 8081, ip_address("127.0.0.1"))
    assert not allowed.covers("evil.example", 8080, ip_address("127.0.0.1"))
    assert allowed.covers("::1", 81, ip_address("::1"))
    assert allowed.covers("intranet.example", 443, ip_address("192.168.0.9"))
    assert allowed.covers("any.example", 80, ip_address("10.1.2.3"))
    assert not allowed.covers("any.example", 80, ip_address("10.2.2.3"))
    assert allowed.covers("any.example", 80, ip_address("10.9.9.9"))


@pytest.mark.parametrize("entry", ["localhost", "host:", ":80", "host:port", "10.0.0.1/8"])
def test_a_wrong_entry_of_the_allow_list_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="neither host:port nor a network"):
        Allowed.parse(f"127.0.0.1:80,{entry}")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 1),
        ("99999999999999999999", 86_400),
        ("9" * 10_000, 86_400),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), 1),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 86_400),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("²", None),
        ("Fri, 99 Foo 9999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str, seconds: float | None) -> None:
    """W6."""
    assert retry_after(header, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_header_breaks_its_reader(header: str) -> None:
    seconds = retry_after(header, NOW)
    assert seconds is None or 1 <= seconds <= 86_400
