"""How a URL is shown: without user, password and what else looks secret, wherever it is written."""

from __future__ import annotations

import re

SECRET = re.compile(r"((?:\b[up]|(?:user|usr|login|pass|pwd|token|key|secret|auth|sig)[a-z]*)=)[^&/?#]*", re.IGNORECASE)


def redact(url: str) -> str:
    """Return the URL without user and password, and without the values of parameters that look secret.

    A password may hold '@', and by mistake '/': everything up to the last '@' goes, though a rare path loses its head.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    address, mark, query = rest.partition("?")
    if "@" in query and "/" not in address:  # the '?' belongs to a password
        address, mark, query = rest.rpartition("@")[2].partition("?")
    return scheme + separator + SECRET.sub(r"\1***", address.rpartition("@")[2] + mark + query)
