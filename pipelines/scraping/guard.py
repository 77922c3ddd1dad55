"""What may be fetched: the URL, the host it names, the addresses the host resolves to."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from pipelines.scraping.addresses import Address, Network, is_public
from taskplatform import Permanent

Resolver = Callable[[str, int], list[str]]

PORTS = {"http": 80, "https": 443}
NUMERIC_LABEL = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
AUTHORITY_END = re.compile(r"[/?#]")
NAME = re.compile(r"[a-z0-9_.-]{1,253}", re.IGNORECASE)


class Refused(Permanent):
    """The address must not be fetched; trying again changes nothing."""


@dataclass(frozen=True)
class Allowed:
    """Private places that may be fetched all the same."""

    networks: tuple[Network, ...] = ()
    places: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """Read comma separated `host:port` and CIDR entries.

        Raises ValueError for an entry that is neither.
        """
        networks: list[Network] = []
        places: set[tuple[str, int]] = set()
        for entry in filter(None, map(str.strip, text.split(","))):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                host, _, port = entry.rpartition(":")
                if not host or not port.isascii() or not port.isdigit():
                    raise ValueError(
                        f"{entry!r} is neither host:port nor a network such as 10.0.0.0/8"
                    ) from None
                places.add((host.strip("[]").lower(), int(port)))
        return cls(tuple(networks), frozenset(places))

    def covers(self, host: str, port: int, address: Address) -> bool:
        return (host.lower(), port) in self.places or any(
            address in network for network in self.networks
        )


def vet_url(text: str) -> httpx2.URL:
    """Parse the URL of a page or feed.

    Raises Refused when it is not plain http(s), carries a user name, or spells an address oddly.
    """
    if not text.isprintable() or "\\" in text or len(text) > 2_000:
        raise Refused("the URL holds control characters or backslashes, or is over 2,000 long")
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise Refused(f"not a URL: {error}") from error
    if url.scheme not in PORTS:
        raise Refused(f"only http and https are fetched, not {url.scheme or 'a relative URL'}")
    if url.userinfo or "@" in AUTHORITY_END.split(text.partition("//")[2], maxsplit=1)[0]:
        raise Refused("a URL with a user name or a password is not fetched")
    vet_host(url.raw_host.decode("ascii"))
    if not 1 <= port_of(url) <= 65_535:
        raise Refused(f"{url.port} is no port")
    return url


def port_of(url: httpx2.URL) -> int:
    return PORTS[url.scheme] if url.port is None else url.port


def vet_host(host: str) -> None:
    """Refuse a host that is neither a plain name nor an address in its usual spelling."""
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise Refused(f"{host[:100]!r} is no IPv6 address") from None
        if "%" in host:
            raise Refused("an address with a zone is not fetched")
        return
    if not NAME.fullmatch(host):
        raise Refused(f"{host[:100]!r} is no host name")
    # Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1; other parsers do not.
    if NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise Refused(f"{host[:100]!r} is an unusual spelling of an address") from None


def vet_addresses(host: str, port: int, found: list[str], allowed: Allowed) -> list[str]:
    """Return the addresses that may be connected to: all the resolver found.

    Raises Refused when one of them is not public and not allowed.
    """
    if not found:
        raise Refused(f"{host} has no address")
    vetted = []
    for text in dict.fromkeys(found):
        address = ipaddress.ip_address(text)
        if not is_public(address) and not allowed.covers(host, port, address):
            raise Refused(
                f"{host}:{port} is at {address}, which is not a public address; "
                f"SCRAPE_ALLOW_PRIVATE can allow it"
            )
        vetted.append(str(address))
    return vetted
