"""Addresses to listen on, IPv4 and IPv6: the family of the socket, and how they are written."""

from __future__ import annotations

import socket


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address or host name to listen on."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def place_of(address: str, port: int) -> str:
    """Write address and port as in a URL: [::1]:8765."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
