"""Serve a test picture over RTSP on loopback; run by the system's Python, which has PyGObject.

Prints `ready PORT` when clients may come, and serves rtsp://127.0.0.1:PORT/live until it is killed. Exits with
status 77 and one line on stderr where GStreamer's RTSP server is not installed.
"""

import argparse
import sys

ABSENT = 77
ELEMENTS = ("videotestsrc", "x264enc", "rtph264pay", "jpegenc", "rtpjpegpay")
CODECS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=25 "
    "! rtph264pay name=pay0 pt=96 config-interval=1",
    "jpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    print(f"{sys.executable} has no GStreamer RTSP server: {error}", file=sys.stderr)
    sys.exit(ABSENT)


def media_factory(frames: int, size: str, codec: str) -> "GstRtspServer.RTSPMediaFactory":
    """Return a factory of 25 frames a second, -1 frames never end."""
    width, height = size.split("x")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball num-buffers={frames} "
        f"! video/x-raw,format=I420,width={width},height={height},framerate=25/1 ! {CODECS[codec]} )"
    )
    return factory


def demand_password(
    server: "GstRtspServer.RTSPServer", factory: "GstRtspServer.RTSPMediaFactory", login: str, method: str
) -> None:
    """Let in only the user and password of 'user:password', by basic or digest authentication."""
    user, _, password = login.partition(":")
    role = "viewer"
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    auth = GstRtspServer.RTSPAuth()
    if method == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(role, right, True)
    factory.set_permissions(permissions)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0", help="0 takes any free port")
    parser.add_argument("--frames", type=int, default=-1)
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--codec", choices=tuple(CODECS), default="h264")
    parser.add_argument("--login", help="user:password")
    parser.add_argument("--method", choices=("basic", "digest"), default="basic")
    options = parser.parse_args()
    Gst.init(None)
    missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if missing:
        print(f"GStreamer has no {', '.join(missing)}", file=sys.stderr)
        sys.exit(ABSENT)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = media_factory(options.frames, options.size, options.codec)
    if options.login:
        demand_password(server, factory, options.login, options.method)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {options.port} cannot be taken")
    print(f"ready {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
