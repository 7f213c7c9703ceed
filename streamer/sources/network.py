"""Opening a URL, and finding out why it does not open: the libraries say little more than that it did not."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import ssl
from base64 import b64encode
from time import monotonic
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

import cv2

from streamer.sources.opencv_decoder import EXTRA, OpenCVDecoder
from streamer.sources.redact import redact
from streamer.sources.source import Cause, Decoder, SourceError, check_utf8
from streamer.sources.video import has_pyav

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "udp": 0}
LARGEST_HEAD = 65536  # bytes of an answer's header
LONGEST_READ = 65  # s; a hard limit for reads whose reader was abandoned
MEANINGS = {
    401: ("unauthorised (401): check user and password", Cause.UNAUTHORISED),
    403: ("forbidden (403): this user may not see it", Cause.UNAUTHORISED),
    404: ("not found (404): check the path", Cause.NOT_FOUND),
}


def open_url(url: str, timeout: float, hardware: bool = False) -> Decoder:
    """Open a stream with deadlines, `timeout` s for opening, LONGEST_READ for each read.

    OpenCV opens all but http where PyAV is there, which reads HLS, and video that may be interlaced.
    Raises SourceError that tells why it does not open; finding out takes another `timeout` at most, name look-up aside.
    """
    check_utf8(url)
    if hardware and not has_pyav():
        raise SourceError(f"{redact(url)}: source.decode=hw needs PyAV: {EXTRA}")
    by_pyav = has_pyav() and (hardware or url.startswith("http"))
    if not by_pyav:
        decoder = _by_opencv(url, timeout)
        if not (decoder and decoder.may_be_interlaced and has_pyav()):
            return decoder or _refuse(url, timeout)
        decoder.close()
    return _by_pyav(url, timeout, hardware) or _refuse(url, timeout)


def _by_opencv(url: str, timeout: float) -> OpenCVDecoder | None:
    opening, reading = round(timeout * 1000), LONGEST_READ * 1000
    settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, opening, cv2.CAP_PROP_READ_TIMEOUT_MSEC, reading]
    # each decoder thread would hold back one frame
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [*settings, cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        return None
    decoder = OpenCVDecoder(capture, redact(url))
    decoder.bursts = urlsplit(url).path.lower().endswith(".m3u8") and decoder.total is None
    return decoder


def _by_pyav(url: str, timeout: float, hardware: bool) -> Decoder | None:
    from av.error import FFmpegError

    from streamer.sources.av_decoder import AvDecoder

    options = {"rtsp_flags": "prefer_tcp"} if url.startswith("rtsp") else None
    deadlines = timeout, float(LONGEST_READ)
    try:
        return AvDecoder(url, redact(url), options=options, timeout=deadlines, prompt=True, hardware=hardware)
    except FFmpegError:
        return None


def _refuse(url: str, timeout: float) -> NoReturn:
    reason, cause = explain(url, timeout)
    raise SourceError(f"{redact(url)}: {reason}", cause)


def explain(url: str, timeout: float) -> tuple[str, Cause]:
    """Say in a few words, without credentials, why a URL does not open, by asking its server once."""
    parts = urlsplit(url)
    if parts.scheme == "udp":
        return f"no video arrived within {timeout:g} s", Cause.STALLED
    try:
        if parts.scheme == "rtmp":
            _connect(parts, monotonic() + timeout).close()
            status = 200
        else:
            status = _status(parts, timeout)
    except (socket.gaierror, UnicodeError):
        return "host name not known", Cause.UNREACHABLE
    except ConnectionRefusedError:
        return "connection refused", Cause.REFUSED
    except TimeoutError:
        return f"no answer within {timeout:g} s", Cause.STALLED
    except ssl.SSLError:
        return "the server does not speak TLS: check scheme and port", Cause.OTHER
    except OSError as error:
        return (error.strerror or str(error)).lower(), Cause.UNREACHABLE
    if status < 400:
        return f"the server answers, but sends no video that can be decoded within {timeout:g} s", Cause.CORRUPT
    return MEANINGS.get(status, (f"the server answers with error {status}", Cause.OTHER))


def _status(parts: SplitResult, timeout: float) -> int:
    """Ask for the stream's description or the file, with user and password once they are demanded."""
    ends = monotonic() + timeout
    status, head = _ask(parts, "", ends)
    if status == 401 and parts.username:
        authorization = _authorization(parts, head)
        if authorization:
            status, _ = _ask(parts, authorization, ends)
    return status


def _connect(parts: SplitResult, ends: float) -> socket.socket:
    connection = socket.create_connection((parts.hostname or "", parts.port or PORTS[parts.scheme]), _left(ends))
    if not parts.scheme.endswith("s"):
        return connection
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as FFmpeg: cameras sign their own
    try:
        return context.wrap_socket(connection, server_hostname=parts.hostname)
    except BaseException:
        connection.close()
        raise


def _left(ends: float) -> float:
    return max(0.001, ends - monotonic())


def _ask(parts: SplitResult, authorization: str, ends: float) -> tuple[int, str]:
    """Return status and header of one request. Raises OSError where there is none in time."""
    method, target, version = _request(parts)
    host = parts.netloc.rpartition("@")[2]
    lines = [f"{method} {target} {version}", f"Host: {host}", "CSeq: 1", "Connection: close", authorization]
    with _connect(parts, ends) as connection:
        connection.sendall("\r\n".join(line for line in lines if line).encode() + b"\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head and len(head) < LARGEST_HEAD:
            connection.settimeout(_left(ends))
            part = connection.recv(4096)
            if not part:
                break
            head += part
    status = re.match(rb"[A-Z]+/\d\.\d (\d{3})\b", head)
    if not status:
        raise OSError(f"the server does not speak {version.partition('/')[0]}")
    return int(status[1]), head.decode("latin-1")


def _request(parts: SplitResult) -> tuple[str, str, str]:
    """Return method, target (never with credentials) and protocol version."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme in ("rtsp", "rtsps"):
        return "DESCRIBE", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}", "RTSP/1.0"
    return "GET", path, "HTTP/1.1"


def _authorization(parts: SplitResult, head: str) -> str:
    """Answer a 401 by Digest (RFC 2617, MD5) or Basic; '' where the server wants something else."""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    challenges = {kind.lower(): fields for kind, fields in re.findall(r"(?im)^WWW-Authenticate: *(\w+) *(.*)$", head)}
    if "digest" in challenges:
        method, target, _ = _request(parts)
        given = {
            key: quoted or bare
            for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]*))', challenges["digest"])
        }
        realm, nonce = given.get("realm", ""), given.get("nonce", "")
        once = ("00000001", secrets.token_hex(8), "auth") if "auth" in given.get("qop", "").split(",") else ()
        proof = _md5(_md5(user, realm, password), nonce, *once, _md5(method, target))
        fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target, "response": proof}
        if "opaque" in given:
            fields["opaque"] = given["opaque"]
        numbers = "".join(f", {key}={value}" for key, value in zip(("nc", "cnonce", "qop"), once, strict=False))
        return "Authorization: Digest " + ", ".join(f'{key}="{value}"' for key, value in fields.items()) + numbers
    if "basic" in challenges:
        return "Authorization: Basic " + b64encode(f"{user}:{password}".encode()).decode()
    return ""


def _md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()
