"""An RTSP server that sends a new client first the group of pictures it has in store, as many recorders and relays do.

H.264 over interleaved TCP, made once by ffmpeg; the stamps hold numbers, and ``taken_s`` says when each was taken.
"""

from __future__ import annotations

import base64
import re
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.cameras.mjpeg_server import picture

FPS, GROUP = 10, 40
_PAYLOAD_BYTES = 1400
_SPS, _PPS, _DELIMITER, _FU_A = 7, 8, 9, 28  # ITU-T H.264 table 7-1, RFC 6184
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 packetization-mode=1;sprop-parameter-sets={}\r\na=control:track0\r\n"
)


def encode(frames: int) -> list[list[bytes]]:
    """Return the NAL units of each of ``frames`` stamped pictures, a key frame every ``GROUP``."""
    raw = b"".join(picture(number, 640, 480).tobytes() for number in range(frames))
    source = f"-f rawvideo -pix_fmt bgr24 -s 640x480 -r {FPS} -i - -c:v libx264 -preset ultrafast -tune zerolatency"
    coding = f"-g {GROUP} -keyint_min {GROUP} -sc_threshold 0 -bf 0 -pix_fmt yuv420p -x264-params slices=1:aud=1"
    command = ["ffmpeg", "-v", "error", *source.split(), *coding.split(), "-f", "h264", "-"]
    stream = subprocess.run(command, input=raw, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    pictures: list[list[bytes]] = []
    for unit in filter(None, (part.rstrip(b"\0") for part in re.split(b"\0\0\0?\1", stream))):
        if unit[0] & 31 == _DELIMITER:
            pictures.append([])
        else:
            pictures[-1].append(unit)
    assert len(pictures) == frames
    return pictures


class StoredGroupServer:
    """The server in threads of this process; a context manager."""

    def __init__(self, frames: int) -> None:
        self._pictures = encode(frames)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._started_s = time.monotonic()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="rtsp")]

    def taken_s(self, number: int) -> float:
        """Return when a picture was taken, monotonic."""
        return self._started_s + number / FPS

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,), name="rtsp client"))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as asked:
            client.settimeout(20)
            method = sequence = b""
            try:
                for line in asked:
                    if line.startswith(b"CSeq:"):
                        sequence = line
                    elif line.endswith(b" RTSP/1.0\r\n"):
                        method = line.split(b" ")[0]
                    elif line == b"\r\n":
                        client.sendall(b"RTSP/1.0 200 OK\r\n" + sequence + self._answer(method))
                        if method == b"PLAY":
                            self._play(client)
            except OSError:
                return

    def _answer(self, method: bytes) -> bytes:
        if method == b"DESCRIBE":
            sets = [unit for unit in self._pictures[0] if unit[0] & 31 in (_SPS, _PPS)]
            sdp = _SDP.format(",".join(base64.b64encode(unit).decode() for unit in sets)).encode()
            return b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp
        if method == b"SETUP":
            return b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        return b"Session: 1\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"

    def _play(self, client: socket.socket) -> None:
        first = int((time.monotonic() - self._started_s) * FPS) // GROUP * GROUP
        sequence = 0
        for number in range(first, len(self._pictures)):
            if self._stopping.wait(max(0.0, self.taken_s(number) - time.monotonic())):
                return
            payloads = [payload for unit in self._pictures[number] for payload in _payloads(unit)]
            for index, payload in enumerate(payloads):
                last = 0x80 if index == len(payloads) - 1 else 0
                head = struct.pack(">BBHII", 0x80, 96 | last, sequence & 0xFFFF, number * 90000 // FPS, 7)
                client.sendall(b"$\0" + struct.pack(">H", len(head + payload)) + head + payload)
                sequence += 1


def _payloads(unit: bytes) -> Iterator[bytes]:
    """Cut a NAL unit as RFC 6184 5.8 says."""
    if len(unit) <= _PAYLOAD_BYTES:
        yield unit
        return
    for at in range(1, len(unit), _PAYLOAD_BYTES):
        first, last = (0x80 if at == 1 else 0), (0x40 if at + _PAYLOAD_BYTES >= len(unit) else 0)
        yield bytes([unit[0] & 0x60 | _FU_A, unit[0] & 31 | first | last]) + unit[at : at + _PAYLOAD_BYTES]
