"""The value types that settings are made of: ids, paths, topics, devices, camera sources.

``Expect`` says in words what a type takes ("... must be an id of ..."), for messages; pydantic ignores it.
A validator here raises ``PydanticCustomError`` whose message is a whole clause ("names a playlist ...").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.core.pattern import Pattern
from edge_runtime.core.source import Source, parse_source

LOCAL_REGISTRIES = ("oci-layout", "oci-archive")
_HOST_PORT = (
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252})"
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
BASE = "base"  # key of the validation context: the directory that relative paths start from


@dataclass(frozen=True, slots=True)
class Expect:
    """What a value must be, in words that follow "must be"."""

    words: str


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A section that may also be written as one word, for example ``trigger: mqtt``."""

    words: str


def resolve_path(value: object, info: ValidationInfo) -> Path:
    """Turn text into a path; a relative one starts at the directory of the configuration file."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise PydanticCustomError("path_type", "")  # the caller words it from Expect
    base = (info.context or {}).get(BASE)
    return Path(value) if base is None else Path(base) / value


def resolve_registry(value: str, info: ValidationInfo) -> str:
    """Let the path of a layout or archive start at the directory of the configuration file."""
    scheme, _, rest = value.partition(":")
    base = (info.context or {}).get(BASE)
    return f"{scheme}:{Path(base) / rest}" if base is not None and scheme in LOCAL_REGISTRIES else value


def resolve_source(value: object, info: ValidationInfo) -> Source:
    """Parse a camera source; a relative file path starts at the directory of the configuration file."""
    if isinstance(value, Source):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("source_type", "")
    try:
        source = parse_source(value)
    except ConfigError as error:
        context = {"code": error.code, "problem": error.message, "way_out": error.help or ""}
        raise PydanticCustomError("edge", "{problem}", context) from error
    base = (info.context or {}).get(BASE)
    return source if base is None else source.relative_to(str(base))


def check_pattern(value: str) -> str:
    """Refuse what is no pattern."""
    try:
        Pattern(value)
    except DataError as error:
        raise refuse("pattern", error.message, error.help or "") from error
    return value


def check_window(value: str) -> str:
    """Refuse a window that never opens."""
    for times in re.findall(r"[0-9:]{5}-[0-9:]{5}", value):
        start, _, end = times.partition("-")
        if start == end:
            raise refuse("config.window", f"has {times}, which never opens", "the whole day is 00:00-24:00")
    return value


def refuse(code: str, problem: str, way_out: str = "") -> PydanticCustomError:
    """Make the error by which a validator refuses a value: ``problem`` is a sentence without the setting's name."""
    return PydanticCustomError("edge", "{problem}", {"code": code, "problem": problem, "way_out": way_out})


Id = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"),
    Expect("a name of 1 to 64 letters, digits, dots, - and _ that does not start with a dot"),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256), Expect("text of 1 to 256 characters")]
TextPattern = Annotated[
    str, AfterValidator(check_pattern), Expect(r"a pattern for a whole text, for example LOT \d{6}")
]
Host = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*|[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})?)$"
    ),
    Expect("a host name or address, without port or scheme"),
]
Listen = Annotated[
    str,
    StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"),
    Expect("HOST:PORT, for example 127.0.0.1:8080"),
]
Endpoint = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252}):"
        r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
    ),
    Expect("HOST:PORT, for example broker-2.plant:8883"),
]
SparkplugId = Annotated[
    str,
    StringConstraints(pattern=r"^[^+#/$\x00-\x20\x7f]([^+#/\x00-\x1f\x7f]{0,62}[^+#/\x00-\x20\x7f])?$"),
    Expect("a name of 1 to 64 characters without +, # and /"),
]
TopicRoot = Annotated[
    str,
    StringConstraints(pattern=r"^[^+#$/\x00-\x20][^+#/\x00-\x1f]*(/[^+#/\x00-\x1f]+)*$", max_length=128),
    Expect("an MQTT topic without +, # and empty levels"),
]
Device = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|cpu|gpu|npu|(openvino|onnxruntime):[A-Za-z0-9_.]{1,32})$"),
    Expect("auto, cpu, gpu, npu or BACKEND:DEVICE such as openvino:GPU.1"),
]
RegistryUrl = Annotated[
    str,
    StringConstraints(
        pattern=r"^(oci://" + _HOST_PORT + r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
        r"|https?://" + _HOST_PORT + r"(/[^\s?#@]*)?|oci-(layout|archive):[^\x00-\x1f]+)$",
        max_length=2048,
    ),
    AfterValidator(resolve_registry),
    Expect("oci://HOST/NAME, https://HOST/DIR, oci-layout:DIR or oci-archive:FILE, without a user name"),
]
HostPort = Annotated[
    str,
    StringConstraints(pattern="^" + _HOST_PORT + "$"),
    Expect("HOST or HOST:PORT, for example auth.plant:5001"),
]
ProxyUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://([^\s/@]+@)?" + _HOST_PORT + "/?$", max_length=2048),
    Expect("http://HOST:PORT"),
]
ReleaseName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}(@[A-Za-z0-9_.-]{1,64})?$"),
    Expect("MODEL or MODEL@CHANNEL; a model's name is lower case"),
]
_DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIMES = rf"{_CLOCK}-({_CLOCK}|24:00)"
_SPANS = rf"({_DAY}(-{_DAY})?,)*{_TIMES}( +{_TIMES})*"
MaintenanceWindow = Annotated[  # the same as `registry.conditions.parse_window` takes, which obeys it
    str,
    StringConstraints(pattern=rf"^{_SPANS}( *; *{_SPANS}){{0,7}}( +UTC)?$", max_length=256),
    AfterValidator(check_window),
    Expect('a maintenance window such as "Mon-Fri,22:00-05:00; Sat-Sun,06:00-18:00", with UTC at the end if so meant'),
]
ClientId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$"),
    Expect("1 to 128 letters, digits, dots, - and _"),
]
PathSetting = Annotated[
    Path,
    BeforeValidator(resolve_path),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Expect("a path"),
]
SourceSetting = Annotated[
    Source,
    PlainValidator(resolve_source),
    PlainSerializer(lambda source: source.redacted, return_type=str),
    WithJsonSchema(
        {"type": "string", "examples": ["rtsp://10.0.0.5/stream", "v4l2:/dev/video0", "file:clip.mp4?loop=1"]}
    ),
    Expect("a camera source such as rtsp://HOST/PATH"),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
