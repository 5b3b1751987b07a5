"""Who sent a request, as an address to count by. Pure.

The TCP peer is believed, and nothing else, unless it is a trusted proxy. Then `X-Forwarded-For` is read from the right,
where proxies append: the first entry that is no trusted proxy itself is the client. What stands further left is
whatever the client wrote. `Forwarded` (RFC 7239) is not read: a second voice could disagree with the first, and proxies
send it only if told to.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from flash.http.message import Request

Address = IPv4Address | IPv6Address

_ENTRIES_MAX = 32
"""More entries than a chain of proxies has are malformed."""


class TrustedProxies:
    """The networks whose `X-Forwarded-For` is believed. Raises `ValueError` if `text` is no list of CIDRs."""

    def __init__(self, text: str) -> None:
        self._networks = [ip_network(part.strip()) for part in text.split(",") if part.strip()]

    def has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def client_of(self, request: Request) -> Address | None:
        """The client's address; None over a unix socket, where everybody is one peer that nobody can name."""
        peer = _parse(request.peer) if request.peer else None
        if peer is None or not self._networks or not self.has(peer):
            return peer
        entries = [entry for value in request.header_values(b"x-forwarded-for") for entry in value.split(b",")]
        if len(entries) > _ENTRIES_MAX:
            return peer
        for entry in reversed(entries):
            address = _parse(entry.strip().decode("latin-1"))
            if address is None:
                return peer
            if not self.has(address):
                return address
        return peer


def network_of(address: Address) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of an IPv6 address, which one customer gets whole."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def key_of(proxies: TrustedProxies) -> Callable[[Request], str]:
    """The key to count a request by. Requests over a unix socket have one key together."""

    def key(request: Request) -> str:
        address = proxies.client_of(request)
        return "unix" if address is None else network_of(address)

    return key


def _parse(text: str) -> Address | None:
    """An address, which may have a port as some proxies write it, or a zone. An IPv4-mapped one is an IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
