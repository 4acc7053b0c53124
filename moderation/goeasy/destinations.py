"""Where a key may be sent: GOEASY_ALLOWED_HOSTS, by name and by the address that a name stands for.

A name has to be listed; the address that it resolves to has to be a public one, or be listed by number. It is checked
for each connection, and the connection goes to the address that was checked: a name that resolves to something else a
moment later gains nothing.
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
# IANA's special-purpose registries, multicast and reserved ones: none is a server on the internet.
SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# All of IPv6 that is in use as such; mapped IPv4 and NAT64 lie outside.
GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
# Teredo and other protocols' (2001::/23), documentation, 6to4.
SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class AddressNotAllowed(Exception):
    """A name stands for no address that the key may be sent to."""


@dataclass(frozen=True)
class AllowedHosts:
    """Names such as `api.example.com` or `*.goeasy.io` (any name below it), and networks such as `10.1.2.0/24`."""

    names: tuple[str, ...]
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The list in `text`, separated by commas. Raises ValueError with a sentence."""
        names, networks = [], []
        for word in filter(None, map(str.strip, text.lower().split(","))):
            try:
                networks.append(ipaddress.ip_network(word.strip("[]")))
                continue
            except ValueError:
                pass
            # A star stands for names below a domain, and not for all that end alike.
            if not HOST_NAME.fullmatch(word) or (word.startswith("*.") and "." not in word[2:]) or is_numeric(word):
                raise ValueError(
                    f"“{word}” is neither a host name, nor one like *.example.com, nor a network like 10.1.2.0/24."
                )
            names.append(word)
        if not names and not networks:
            raise ValueError(f"it is empty, so that GoEasy could not be reached; the default is {DEFAULT}.")
        return cls(tuple(names), tuple(networks))

    @classmethod
    def from_environment(cls) -> Self:
        """As the environment has it. Raises ValueError with a sentence."""
        return cls.parse(os.environ.get(VARIABLE, "").strip() or DEFAULT)

    def __str__(self) -> str:
        # An address by itself, as it was written.
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
        """The same in a sentence."""
        host = urlsplit(base_url).hostname or ""
        match self.refusal(base_url):
            case "not_https":
                return f"A key is sent over https alone; “{host}” is not this machine."
            case "not_listed":
                return f"“{host}” is not among {VARIABLE} ({self})."
        return ""

    def has_name(self, host: str) -> bool:
        """Whether the host is listed: by name, or an address by number."""
        host = host.lower().rstrip(".")
        if (address := as_address(host)) is not None:
            return self.has_address(address)
        return any(
            host.endswith(name[1:]) and len(host) > len(name[1:]) if name.startswith("*.") else host == name
            for name in self.names
        )

    def has_address(self, address: Address) -> bool:
        """Whether the address is listed by number."""
        return any(address.version == network.version and address in network for network in self.networks)

    def may_connect(self, address: str) -> bool:
        """Whether a connection may go to what a listed name stands for: a public address, or one that is listed."""
        found = as_address(address)
        return found is not None and (is_public(found) or self.has_address(found))


def as_address(host: str) -> Address | None:
    """The IP address that `host` is; None when it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_numeric(word: str) -> bool:
    """Whether it looks like an address and is not a valid one: 127.1, 10.1.2.0/33."""
    return bool(re.fullmatch(r"[0-9.]+", word))


def is_public(address: Address) -> bool:
    """Whether the address is one of the internet's, and of nothing that stands between."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in SPECIAL_V4)
    return address in GLOBAL_V6 and not any(address in network for network in SPECIAL_V6)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its number or as `localhost`."""
    address = as_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
