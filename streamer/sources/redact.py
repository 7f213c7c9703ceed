"""How a URL is shown, wherever that is: its parts that hold no credential, and *** for what may be one."""

from __future__ import annotations

import re

HIDDEN = "***"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}")
HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.~%-]+)?\])(?::\d{0,5})?")
NUMBER = re.compile(r"\d{1,2}")  # too little to be a secret
PLAIN = re.compile(r"[\w.-]{1,16}")
# Parameters of cameras and servers whose values say what is shown, not who may see it.
HARMLESS = {
    *("audio", "bitrate", "camera", "channel", "channels", "codec", "compression", "format", "fps", "framerate"),
    *("height", "mode", "profile", "proto", "protocol", "quality", "rate", "res", "resolution", "size", "source"),
    *("stream", "streamtype", "subtype", "transport", "transportmode", "type", "unicast", "video", "videocodec"),
    "width",
}
FLAGS = {"tcp", "udp", "http", "multicast", "unicast"}


def redact(url: str) -> str:
    """Return the URL without user and password, and with *** for every value that may be a secret.

    A password may hold any sign, '/', '?', '#' and '@' too: everything up to the last '@' goes, though a rare path
    loses its head; and where that may have cut a secret in two, all goes. A text that is no URL is returned as it is;
    see `redact_mistyped`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    scheme = scheme if SCHEME.fullmatch(scheme) else HIDDEN
    before, _, rest = rest.rpartition("@")
    if "?" in before or "#" in before or ("/" in before and "=" in before):
        return f"{scheme}://{HIDDEN}"
    address, mark, _ = rest.partition("#")
    place, question, query = address.partition("?")
    hosts, slash, path = place.partition("/")
    shown = ",".join(map(_host, hosts.split(","))) + slash + "/".join(map(_pair, path.split("/")))
    return f"{scheme}://{shown}{question}{_query(query)}{mark and mark + HIDDEN}"


def redact_mistyped(text: str) -> str:
    """Return what should have been a file's name without what a mistyped URL in its place may hold."""
    if "://" in text:
        return redact(text)
    before, at, after = text.rpartition("@")
    shown = f"{HIDDEN}@{after}" if at and ":" in before else text
    place, question, query = shown.partition("?")
    return place + question + (_query(query) if "=" in query else query)


def _host(text: str) -> str:
    """Show a host with its port; what has another form may be a password whose '@' is missing."""
    return (
        text if not text or HOST.fullmatch(text) else f"{text.partition(':')[0]}:{HIDDEN}" if _named(text) else HIDDEN
    )


def _named(text: str) -> bool:
    host, colon, _ = text.partition(":")
    return bool(colon and HOST.fullmatch(host))


def _query(text: str) -> str:
    """Show the keys of parameters, and the values of those that are harmless."""
    return "&".join(_pair(one) if "=" in one or not one or one in FLAGS else HIDDEN for one in text.split("&"))


def _pair(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        return text
    harmless = NUMBER.fullmatch(value) or (key.lower() in HARMLESS and PLAIN.fullmatch(value))
    return f"{key}={value if harmless or not value else HIDDEN}"
