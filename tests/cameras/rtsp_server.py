#!/usr/bin/python3
"""A real RTSP camera for tests: gst-rtsp-server, every frame stamped with its number and the time (camera.stamp).

Debian packages: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav ffmpeg. Run it with Debian's interpreter, with the
repository in PYTHONPATH (for the stamp):

    PYTHONPATH=. /usr/bin/python3 tests/cameras/rtsp_server.py --port 18510 --source bus.jpg --size 640x480 --fps 10

prints ``READY rtsp://127.0.0.1:18510/cam`` and serves until it is killed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - versions come first

from edge_runtime.camera.stamp import BITS, block_px, stamp_bits  # noqa: E402 - as above

ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate} key-int-max={gop}"
    " ! video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate} key-int-max={gop}"
    " ! rtph265pay name=pay0 pt=96 config-interval=1",
    "mjpeg": "jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26",
}
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class Camera(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc] # gi has no type information
    """Makes the stream that all clients share."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self._args = args
        self._width, self._height = (int(side) for side in args.size.split("x"))
        self._number = 0
        self.set_shared(True)

    def do_create_element(self, _url: Any) -> Any:
        """Build the pipeline; called by GStreamer for the first client."""
        encoder = ENCODERS[self._args.codec].format(bitrate=self._args.bitrate, gop=self._args.gop)
        return Gst.parse_launch(
            f"( appsrc name=src is-live=true format=time do-timestamp=true block=true"
            f" max-bytes={self._width * self._height * 3 * 2}"
            f" caps=video/x-raw,format=RGB,width={self._width},height={self._height},framerate={self._args.fps}/1"
            f" ! videoconvert ! video/x-raw,format=I420 ! {encoder} )"
        )

    def do_configure(self, media: Any) -> None:
        """Feed the pipeline; called by GStreamer."""
        source = media.get_element().get_child_by_name("src")
        threading.Thread(target=self._feed, args=(source,), daemon=True).start()

    def _feed(self, source: Any) -> None:
        filters = f"scale={self._width}:{self._height},fps={self._args.fps}"
        command = ["ffmpeg", "-v", "error", *self._input(), "-vf", filters, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
        ffmpeg = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        due_s = time.monotonic()
        try:
            while (picture := self._next_picture(ffmpeg)) is not None:
                time.sleep(max(0.0, due_s - time.monotonic()))
                due_s = max(due_s + 1.0 / self._args.fps, time.monotonic() - 0.5)
                if not self._args.no_stamp:
                    self._stamp(picture)
                self._number += 1
                if source.emit("push-buffer", Gst.Buffer.new_wrapped(bytes(picture))) != Gst.FlowReturn.OK:
                    return
        finally:
            ffmpeg.kill()
            ffmpeg.wait()

    def _input(self) -> list[str]:
        name = self._args.source
        if name == "test":
            return ["-f", "lavfi", "-i", f"testsrc2=s={self._args.size}:r={self._args.fps}"]
        if name.lower().endswith(STILL_SUFFIXES):
            return ["-loop", "1", "-framerate", str(self._args.fps), "-i", name]
        return ["-stream_loop", "-1", "-i", name]

    def _next_picture(self, ffmpeg: subprocess.Popen[bytes]) -> bytearray | None:
        assert ffmpeg.stdout is not None
        picture = bytearray(self._width * self._height * 3)
        view, got = memoryview(picture), 0
        while got < len(picture):
            count = ffmpeg.stdout.readinto(view[got:])  # type: ignore[attr-defined] # a BufferedReader
            if not count:
                return None
            got += count
        return picture

    def _stamp(self, picture: bytearray) -> None:
        block = block_px(self._width, self._height)
        if block is None:
            return
        bits = stamp_bits(self._number, int(time.time() * 1000))
        row = b"".join((b"\xff" if bit else b"\x00") * (3 * block) for bit in bits)
        assert len(row) == BITS * block * 3
        for y in range(block):
            start = y * self._width * 3
            picture[start : start + len(row)] = row


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="18510")
    parser.add_argument("--path", default="/cam")
    parser.add_argument("--source", default="test", help='an image or video file, or "test"')
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--codec", choices=sorted(ENCODERS), default="h264")
    parser.add_argument("--bitrate", type=int, default=3000, help="kbit/s")
    parser.add_argument("--gop", type=int, default=10, help="frames from key frame to key frame")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--digest", action="store_true", help="ask for Digest instead of Basic authentication")
    parser.add_argument("--no-stamp", action="store_true")
    return parser.parse_args()


def protect(server: Any, camera: Camera, args: argparse.Namespace) -> None:
    """Let only the one user in."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if args.digest:
        auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
        auth.add_digest(args.user, args.password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)  # noqa: FBT003 - C API
    permissions.add_permission_for_role("user", "media.factory.construct", True)  # noqa: FBT003 - C API
    camera.set_permissions(permissions)


def main() -> None:
    """Serve until killed."""
    args = parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(args.host)
    server.set_service(args.port)
    camera = Camera(args)
    if args.user:
        protect(server, camera, args)
    server.get_mount_points().add_factory(args.path, camera)
    if not server.attach(None):
        sys.exit(f"cannot listen on {args.host}:{args.port}")
    GLib.timeout_add_seconds(2, lambda: server.get_session_pool().cleanup() >= 0)
    print(f"READY rtsp://{args.host}:{args.port}{args.path}", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
