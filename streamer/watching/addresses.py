"""Addresses to listen on and of clients, IPv4 and IPv6: family, how they are written, and who has how many."""

from __future__ import annotations

import socket


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address or host name to listen on."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def place_of(address: str, port: int) -> str:
    """Write address and port as in a URL: [::1]:8765."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def origin_of(address: str) -> str:
    """Return what clients of one place have in common: an IPv4 address, or the first half of an IPv6 address.

    With IPv6 one user has 2**64 addresses.
    """
    if ":" not in address:
        return address
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex()
