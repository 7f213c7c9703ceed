from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Callable

import pytest

from tests.media import fails, tcp_server


def rtsp_answer(status: str, *fields: str) -> Callable[[bytes], bytes]:
    return lambda request: "\r\n".join([f"RTSP/1.0 {status}", "CSeq: 1", *fields, "", ""]).encode()


def test_a_closed_port_refuses():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("rtsp", "http", "rtmp", "rtsps"):
        assert fails(f"{scheme}://me:secret@127.0.0.1:{port}/x") == f"{scheme}://127.0.0.1:{port}/x: connection refused"


def test_a_server_that_never_answers_is_given_up_after_the_timeout():
    with tcp_server(None) as port:
        assert fails(f"rtsp://127.0.0.1:{port}/x", timeout=0.3) == f"rtsp://127.0.0.1:{port}/x: no answer within 0.3 s"
    assert fails(f"udp://127.0.0.1:{port}", timeout=0.3) == f"udp://127.0.0.1:{port}: no video arrived within 0.3 s"


def test_an_unknown_host_is_named():
    host = "a" * 64  # longer than any name may be, so that no name server is asked
    assert fails(f"rtsp://me:secret@{host}/x") == f"rtsp://{host}/x: host name not known"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("401 Unauthorized", "unauthorised (401): check user and password"),
        ("403 Forbidden", "forbidden (403): this user may not see it"),
        ("404 Not Found", "not found (404): check the path"),
        ("454 Session Not Found", "the server answers with error 454"),
    ],
)
def test_what_an_rtsp_server_answers_is_told(status: str, message: str):
    with tcp_server(rtsp_answer(status)) as port:
        assert fails(f"rtsp://me:secret@127.0.0.1:{port}/x", timeout=1) == f"rtsp://127.0.0.1:{port}/x: {message}"


def test_a_server_that_answers_without_a_video_is_told():
    with tcp_server(rtsp_answer("200 OK", "Content-Length: 0")) as port:
        assert "sends no video that can be decoded within 0.5 s" in fails(f"rtsp://127.0.0.1:{port}/x", timeout=0.5)


def test_a_server_that_speaks_something_else_is_told():
    with tcp_server(lambda request: b"220 mail ready\r\n\r\n") as port:
        assert fails(f"rtsp://127.0.0.1:{port}/x", timeout=0.5).endswith("the server does not speak rtsp")
        assert fails(f"rtsps://127.0.0.1:{port}/x", timeout=0.5).endswith("does not speak TLS: check scheme and port")


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="r"', 'digest realm="r", nonce="n"', 'Digest realm="r", nonce="n", qop="auth,auth-int", opaque="o"'],
)
def test_credentials_are_given_when_asked_for_so_that_a_wrong_path_is_not_called_unauthorised(challenge: str):
    def answer(request: bytes) -> bytes:
        status = "404 Not Found" if is_authorized(request.decode()) else "401 Unauthorized"
        return rtsp_answer(status, f"WWW-Authenticate: {challenge}")(request)

    with tcp_server(answer) as port:
        assert "not found (404)" in fails(f"rtsp://me:se%40cret@127.0.0.1:{port}/x", timeout=1)
        assert "unauthorised (401)" in fails(f"rtsp://me:wrong@127.0.0.1:{port}/x", timeout=1)
        assert "unauthorised (401)" in fails(f"rtsp://127.0.0.1:{port}/x", timeout=1)


def is_authorized(request: str) -> bool:
    """Check the password 'se@cret' as a server does (RFC 2617)."""
    given = re.search(r"Authorization: (\w+) (.*)\r", request)
    if not given:
        return False
    if given[1] == "Basic":
        return given[2] == base64.b64encode(b"me:se@cret").decode()
    fields = dict(re.findall(r'(\w+)="?([^",]*)', given[2]))
    extra = [fields[key] for key in ("nc", "cnonce", "qop") if "qop" in fields]
    owner, action = md5("me:r:se@cret"), md5(f"{request.split(maxsplit=1)[0]}:{fields['uri']}")
    return fields["response"] == md5(":".join([owner, "n", *extra, action])) and fields["uri"] == request.split()[1]


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
