"""Allow-list of hosts to which a key may be sent: GOEASY_ALLOWED_HOSTS, by host name and by resolved address.

A host name must be listed; the address that it resolves to must be public or listed itself. Each connection is checked
and goes to the checked address, so that DNS rebinding has no effect.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

VARIABLE = "GOEASY_ALLOWED_HOSTS"
DEFAULT = "*.goeasy.io"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
# IANA's special-purpose, multicast and reserved networks: none contains a public server.
SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# Global unicast; mapped IPv4 and NAT64 lie outside.
GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
# Teredo and other protocols (2001::/23), documentation, 6to4.
SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class AddressNotAllowed(Exception):
    """A host name resolves to no allowed address."""


@dataclass(frozen=True)
class AllowedHosts:
    """Host names such as `api.example.com` or `*.goeasy.io` (any subdomain), and networks such as `10.1.2.0/24`."""

    names: tuple[str, ...]
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a comma-separated list. Raises ValueError with a message for people."""
        names, networks = [], []
        for word in filter(None, map(str.strip, text.lower().split(","))):
            try:
                networks.append(ipaddress.ip_network(word.strip("[]")))
                continue
            except ValueError:
                pass
            # A star stands for the subdomains of a domain, not for a suffix of names.
            if not HOST_NAME.fullmatch(word) or (word.startswith("*.") and "." not in word[2:]) or is_numeric(word):
                raise ValueError(
                    f"“{word}” is not a host name, a pattern like *.example.com or a network like 10.1.2.0/24."
                )
            names.append(word)
        if not names and not networks:
            raise ValueError(f"it is empty, so GoEasy could not be reached. The default is {DEFAULT}.")
        return cls(tuple(names), tuple(networks))

    @classmethod
    def from_environment(cls) -> Self:
        """The list in the environment. Raises ValueError with a message for people."""
        return cls.parse(os.environ.get(VARIABLE, "").strip() or DEFAULT)

    def __str__(self) -> str:
        # A single address is written without a prefix length.
        numbers = (str(each) if each.num_addresses > 1 else str(each.network_address) for each in self.networks)
        return ", ".join([*self.names, *numbers])

    def refusal(self, base_url: str) -> str:
        """Why a key must not be sent to `base_url`: "not_https" or "not_listed"; empty when it may."""
        url = urlsplit(base_url)
        host = (url.hostname or "").rstrip(".")
        if url.scheme != "https" and not is_loopback(host):
            return "not_https"
        return "" if self.has_name(host) else "not_listed"

    def problem(self, base_url: str) -> str:
        """`refusal()` as a message for people; empty when the key may be sent."""
        host = urlsplit(base_url).hostname or ""
        match self.refusal(base_url):
            case "not_https":
                return f"Keys are sent over https only, and “{host}” is not this machine."
            case "not_listed":
                return f"“{host}” is not listed in {VARIABLE} ({self})."
        return ""

    def has_name(self, host: str) -> bool:
        """Whether the host is listed, by name or as an address."""
        host = host.lower().rstrip(".")
        if (address := as_address(host)) is not None:
            return self.has_address(address)
        return any(
            host.endswith(name[1:]) and len(host) > len(name[1:]) if name.startswith("*.") else host == name
            for name in self.names
        )

    def has_address(self, address: Address) -> bool:
        """Whether the address is in a listed network."""
        return any(address.version == network.version and address in network for network in self.networks)

    def may_connect(self, address: str) -> bool:
        """Whether a listed name may resolve to `address`: a public address, or one in a listed network."""
        ip = as_address(address)
        return ip is not None and (is_public(ip) or self.has_address(ip))


def as_address(host: str) -> Address | None:
    """`host` as an IP address; None when it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_numeric(word: str) -> bool:
    """Whether `word` is made of digits and dots: an incomplete address such as 127.1, not a host name."""
    return bool(re.fullmatch(r"[0-9.]+", word))


def is_public(address: Address) -> bool:
    """Whether the address is a public one on the internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_V4)
    return address in GLOBAL_V6 and not any(address in network for network in SPECIAL_V6)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by a loopback address or as `localhost`."""
    address = as_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
