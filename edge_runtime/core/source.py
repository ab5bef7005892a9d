"""Camera sources: ``rtsp://...``, ``file:clip.mp4?loop=1`` and the rest, parsed and vetted without opening anything.

Why so strict: FFmpeg opens far more than cameras. ``concat:``, ``subfile,,``, local playlists and ``http`` playlists
all open through ``cv2.VideoCapture`` and read other files or other hosts (tried with OpenCV 4.14 and 5.0), so only what
is listed here passes, by scheme, by characters and by file ending.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic evaluates the annotations of Source
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from edge_runtime.core.errors import ConfigError

SourceKind = Literal["rtsp", "rtsps", "http", "https", "v4l2", "file", "images", "sim"]

SCHEMES: Final[tuple[str, ...]] = ("rtsp", "rtsps", "http", "https", "v4l2", "file", "images", "sim")
NOT_YET: Final[tuple[str, ...]] = ("gige", "basler")
TEXT_LIMIT: Final = 2048  # characters; longer URLs are attacks or accidents

SIM_SCENES: Final[tuple[str, ...]] = ("conveyor", "bars")  # what camera.simulated can show
_EXPECTED = "rtsp://, rtsps://, http://, https://, v4l2:/dev/videoN, file:PATH, images:DIR or sim:NAME"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NETWORK = re.compile(
    r"//(?:(?P<user>[^/?#]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?].*)?"
)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]")  # control characters and blanks
_FORBIDDEN_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a file name may hold blanks
_NESTED = re.compile(r"[A-Za-z0-9+.-]+[:,]")  # what FFmpeg takes for a protocol at the start of a path
_SEQUENCE = re.compile(r"%[0-9]*d")
_VIDEO_DEVICE = re.compile(r"/dev/(?:video[A-Za-z0-9_-]+|v4l/by-(?:id|path)/[A-Za-z0-9._:+@-]+)")
_SIM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLAYLISTS = (".m3u8", ".m3u", ".sdp", ".concat", ".ffconcat", ".txt", ".mpd", ".pls", ".xspf", ".asx")
# every repetition is bounded: these also run over whatever a camera or broker says
CREDENTIAL_WORD: Final = r"(?:pas|pwd|psw|(?<![A-Za-z])pw|kennwort|secret|token|auth|key|credential)"
_SECRET_PARAMETER = re.compile(rf"(?i)({CREDENTIAL_WORD}[a-z0-9_-]{{0,32}}=)[^&#\s\"<>]*")
_USER_INFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,31}://)[^\s\"<>]{0,2048}@")
_BARE_USER_INFO = re.compile(r"(?<![^\s\"'<>({\[,=])[^\s:/@\"'<>]{1,64}:(?!//)[^\s/\"'<>]{1,256}@")

_FLAG = re.compile(r"[01]")
_OPTIONS: Final[Mapping[str, Mapping[str, tuple[re.Pattern[str], str]]]] = {
    "v4l2": {},
    "file": {"loop": (_FLAG, "0 or 1"), "realtime": (_FLAG, "0 or 1")},
    "images": {"loop": (_FLAG, "0 or 1")},
    "sim": {
        "seed": (re.compile(r"[0-9]{1,18}"), "a whole number"),
        "fps": (re.compile(r"(?:[1-9][0-9]{0,2}(?:\.[0-9]{1,6})?|0\.[0-9]{1,6})"), "frames per second, 0.1 to 240"),
        "size": (re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}"), "WIDTHxHEIGHT in pixels, for example 640x480"),
        "script": (re.compile(r"[A-Za-z0-9_.,:;@*=+-]{1,1024}"), "a script of letters, digits and .,:;@*=+-"),
    },
}


@dataclass(frozen=True, slots=True)
class Source:
    """One camera source that passed every check.

    Attributes:
        kind: the scheme, lower case.
        location: what the reader opens: the whole URL for network kinds, a path for ``v4l2``, ``file`` and ``images``,
            a name for ``sim``. Network locations may hold a password: never log it, log ``redacted``.
        options: what stood behind ``?`` for kinds that are not URLs, for example ``{"loop": "1"}``.
        redacted: the text for people, with user and password masked.
    """

    kind: SourceKind
    location: str = field(repr=False)
    options: Mapping[str, str]
    redacted: str

    @property
    def text(self) -> str:
        """The source in the form that ``parse_source`` reads; may hold a password."""
        if self.kind in ("rtsp", "rtsps", "http", "https"):
            return self.location
        options = "&".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.kind}:{self.location}" + (f"?{options}" if options else "")

    @property
    def loop(self) -> bool:
        """Start again at the end (``file:`` and ``images:``)."""
        return self.options.get("loop") == "1"

    @property
    def realtime(self) -> bool:
        """Play a ``file:`` at its own frame rate, as a camera would; the default."""
        return self.options.get("realtime", "1") == "1"

    def relative_to(self, directory: str) -> Source:
        """Return this source with a relative ``file:`` or ``images:`` path taken from ``directory``."""
        if self.kind not in ("file", "images"):
            return self
        moved = replace(self, location=str(PurePosixPath(directory) / self.location))
        return replace(moved, redacted=moved.text)


def parse_source(text: str) -> Source:
    """Check ``text`` against everything a camera may be and take it apart; opens nothing.

    Raises:
        ConfigError: code ``source.*``; the message says what is wrong and never repeats a password.
    """
    if len(text) > TEXT_LIMIT:
        raise _refuse("long", f"the source has {len(text)} characters, at most {TEXT_LIMIT} are allowed")
    match = _SCHEME.match(text)
    scheme = match.group(1).lower() if match else ""
    if match is None or scheme not in SCHEMES + NOT_YET:
        raise _unknown_scheme(text, scheme)
    if scheme in NOT_YET:
        raise _refuse(
            "not_available",
            f"{scheme}: cameras are not available in this version",
            "most such cameras also speak RTSP; take their rtsp:// address",
        )
    rest = text[match.end() :]
    if scheme in ("rtsp", "rtsps", "http", "https"):
        return _network(scheme, rest)
    location, _, query = rest.partition("?")  # a file name with ? in it cannot be written
    options = _options(scheme, query)
    check = {"v4l2": _device, "file": _file, "images": _directory, "sim": _name}[scheme]
    location = check(location)
    made = Source(scheme, location, MappingProxyType(options), "")  # type: ignore[arg-type] # scheme is one of SCHEMES
    return replace(made, redacted=made.text)


def redact_url(text: str) -> str:
    """Mask ``user:password@`` and password-like parameters of all URLs in ``text``; rather too much than too little."""
    return _SECRET_PARAMETER.sub(r"\1***", _BARE_USER_INFO.sub("***@", _USER_INFO.sub(r"\1***@", text)))


def _refuse(code: str, message: str, way_out: str | None = None) -> ConfigError:
    return ConfigError(f"source.{code}", message, help=way_out)


def _unknown_scheme(text: str, scheme: str) -> ConfigError:
    if not scheme:
        way_out = "file:PATH plays a video file, images:DIR a folder, v4l2:/dev/video0 a USB camera"
        return _refuse("scheme", f"a source starts with {_EXPECTED}", way_out)
    shown = text[: len(scheme) + 1]
    return _refuse("scheme", f"{shown} is no kind of source, expected {_EXPECTED}")


def _network(scheme: str, rest: str) -> Source:
    if _FORBIDDEN.search(rest):
        raise _refuse("characters", "the URL holds a blank or a control character", "write a blank as %20")
    if "|" in rest or "\\" in rest:
        raise _refuse("characters", "the URL holds | or a backslash", "write | as %7C")
    match = _NETWORK.fullmatch(rest)
    if match is None:
        raise _refuse(
            "url",
            f"the URL is not of the form {scheme}://[USER:PASSWORD@]HOST[:PORT]/PATH",
            "write @ / ? # inside a user name or password as %40 %2F %3F %23",
        )
    if not _can_be_split(f"{scheme}:{rest}"):
        raise _refuse(
            "url",
            "user and password, or the address in [ ], cannot be read",
            "write [ ] and signs that no keyboard has as %5B %5D and so on",
        )
    port = match["port"]
    if port is not None and not 1 <= int(port) <= 65535:  # noqa: PLR2004 - the range of TCP ports
        raise _refuse("port", f"the port must be from 1 to 65535, got {port}")
    path = _unquote(re.split(r"[?#]", match["rest"] or "", maxsplit=1)[0]).lower()
    if path.endswith(_PLAYLISTS):
        raise _refuse(
            "playlist",
            "playlists are refused: they can name other hosts and files",
            "take the camera's rtsp:// or MJPEG address",
        )
    masked = "***@" if match["user"] is not None else ""
    tail = _SECRET_PARAMETER.sub(r"\1***", match["rest"] or "")
    redacted = f"{scheme}://{masked}{match['host']}" + (f":{port}" if port else "") + tail
    return Source(scheme, f"{scheme}:{rest}", MappingProxyType({}), redacted)  # type: ignore[arg-type] # one of SCHEMES


def _can_be_split(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:  # its text repeats the password: it must not become the cause of ours
        return False
    return True


def _options(scheme: str, query: str) -> dict[str, str]:
    known = _OPTIONS[scheme]
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in known:
            allowed = "it takes " + ", ".join(known) if known else "it takes none"
            raise _refuse("option", f"{scheme}: has no option {name[:40]!r}", allowed)
        pattern, expected = known[name]
        if name in options:
            raise _refuse("option", f"option {name} is given twice")
        if not pattern.fullmatch(value):
            raise _refuse("option", f"option {name} must be {expected}, got {value[:40]!r}")
        options[name] = value
    return options


def _device(location: str) -> str:
    if not _VIDEO_DEVICE.fullmatch(location):
        raise _refuse(
            "device",
            f"v4l2: needs a video device, got {location[:80]!r}",
            "for example v4l2:/dev/video0, or /dev/v4l/by-id/NAME, which stays the same after a restart",
        )
    return location


def _path(scheme: str, location: str) -> str:
    if location.startswith("//"):
        if not location.startswith("///"):
            raise _refuse("path", f"{scheme}://HOST is refused, only files of this box can be read")
        location = "/" + location.lstrip("/")
    if not location:
        raise _refuse("path", f"{scheme}: needs a path")
    if _FORBIDDEN_IN_PATH.search(location) or "|" in location:
        raise _refuse("characters", "the path holds | or a control character")
    if _NESTED.match(location):
        raise _refuse(
            "nested", "a second protocol inside the path is refused", "write ./NAME if the file name has a colon"
        )
    return location


def _file(location: str) -> str:
    location = _path("file", location)
    if location.lower().endswith(_PLAYLISTS):
        raise _refuse("playlist", "playlists are refused: they can name other hosts and files", "name the video itself")
    if _SEQUENCE.search(location):
        raise _refuse("sequence", "numbered patterns like %03d are refused", "images:DIR reads a folder of pictures")
    return location


def _directory(location: str) -> str:
    return _path("images", location)


def _name(location: str) -> str:
    if not _SIM_NAME.fullmatch(location):
        raise _refuse("name", f"sim: needs a name of letters, digits, - and _, got {location[:40]!r}")
    return location


def _unquote(text: str) -> str:
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda hexed: chr(int(hexed[1], 16)), text)
