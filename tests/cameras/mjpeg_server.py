"""A real MJPEG-over-HTTP camera for tests, every frame stamped (camera.stamp); run as a program or as a class.

Paths: /cam; /stall (10 frames, then silence); /close (10 frames, then the end); /trunc (every 5th JPEG is cut in half);
/resize (another size after 20 frames); /nolength (parts without Content-Length); /chunked (in chunks, although HTTP/1.0
was asked for); /shown (whatever ``show`` returns); /jpeg (one picture, no stream); /moved (redirect); /basic and
/digest (user "line", password "s3cret:@/"); anything else is 404.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import re
import threading
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from edge_runtime.camera.stamp import BITS, BLOCK_PX, stamp_bits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Show = Callable[[int], np.ndarray | None]
    """Returns picture number n, (h, w, 3) uint8, or ``None`` for the usual one."""

USER, PASSWORD = "line", "s3cret:@/"
NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c0"
FRAMES_BEFORE_FAULT = 10
STREAMS = ("/cam", "/stall", "/close", "/trunc", "/resize", "/nolength", "/chunked", "/shown", "/basic", "/digest")


def picture(number: int, width: int, height: int) -> np.ndarray:
    """Draw a stamped picture, (height, width, 3) uint8."""
    image = np.full((height, width, 3), 90, np.uint8)
    cv2.circle(image, (40 + number * 7 % (width - 80), height // 2), 30, (200, 120, 40), -1)
    bits = np.array(stamp_bits(number, int(time.time() * 1000)), np.uint8) * 255
    image[:BLOCK_PX, : BITS * BLOCK_PX] = np.repeat(bits, BLOCK_PX)[None, :, None]
    return image


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one client."""

    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""

    def do_GET(self) -> None:
        """Serve the path."""
        if self.path == "/moved":
            self._short(302, ("Location", "http://127.0.0.1:1/cam"))
        elif self.path == "/jpeg":
            self._short(200, ("Content-Type", "image/jpeg"))
        elif self.path not in STREAMS:
            self._short(404)
        elif self._is_allowed():
            self.server.add(self.connection)
            try:
                self._stream()
            except OSError:
                return

    def _short(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _is_allowed(self) -> bool:
        if self.path == "/basic":
            wanted = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            return self._check(self.headers.get("Authorization") == wanted, 'Basic realm="cam"')
        if self.path == "/digest":
            challenge = f'Digest realm="cam", nonce="{NONCE}", qop="auth", algorithm=MD5, opaque="x"'
            return self._check(digest_is_right(self.headers.get("Authorization", ""), self.path), challenge)
        return True

    def _check(self, right: bool, challenge: str) -> bool:  # noqa: FBT001 - local
        if not right:
            self._short(401, ("WWW-Authenticate", challenge))
        return right

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(1_000_000):
            large = self.path == "/resize" and number > 2 * FRAMES_BEFORE_FAULT
            image = self.server.show(number) if self.path == "/shown" else None
            if image is None:
                image = picture(number, *((800, 600) if large else (640, 480)))
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            if self.path == "/trunc" and number % 5 == 4:
                jpeg = jpeg[: len(jpeg) // 2]
            length = "" if self.path == "/nolength" else f"Content-Length: {len(jpeg)}\r\n"
            part = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + jpeg + b"\r\n"
            if self.path == "/chunked":
                part = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (part[:1000], part[1000:]))
            self.wfile.write(part)
            self.wfile.flush()
            if number == FRAMES_BEFORE_FAULT:
                if self.path == "/stall":
                    self.server.stopping.wait(600)
                if self.path == "/close":
                    return
            if self.server.stopping.wait(1 / self.server.fps):
                return


def digest_is_right(value: str, uri: str) -> bool:
    """Check a Digest answer as RFC 7616 says."""
    found = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', value)}

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    first, second = md5(f"{USER}:cam:{PASSWORD}"), md5(f"GET:{uri}")
    wanted = md5(f"{first}:{NONCE}:{found.get('nc')}:{found.get('cnonce')}:auth:{second}")
    return found.get("response") == wanted and found.get("uri") == uri and found.get("opaque") == "x"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    allow_reuse_address = True

    def __init__(self, port: int, fps: float, show: Show = lambda _: None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.fps = fps
        self.show = show
        self.stopping = threading.Event()
        self._clients: list[socket.socket] = []

    def add(self, client: socket.socket) -> None:
        """Remember a client that watches a stream."""
        self._clients.append(client)


class MjpegServer:
    """The camera in threads of this process; a context manager."""

    def __init__(self, port: int, fps: float = 10, show: Show = lambda _: None) -> None:
        self._server = _Server(port, fps, show)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mjpeg")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--fps", type=float, default=10)
    args = parser.parse_args()
    server = _Server(args.port, args.fps)
    print(f"READY http://127.0.0.1:{args.port}/cam", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
