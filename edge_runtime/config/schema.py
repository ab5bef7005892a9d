"""Every setting there is: its type, unit, bounds, default and help. The configuration reference is generated from here.

All models are frozen and refuse unknown keys. Build a tested ``Settings`` from a file with ``config.loader.load``;
``Settings.model_validate(plain_data)`` does the same without files, environment and positions.

Settings marked ``not_yet`` are part of the contract but not built: the loader checks their form and then refuses them,
because a setting that silently does nothing is a lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edge_runtime.config.checks import DEADLINE_MS, cross_references
from edge_runtime.config.commands import Commands
from edge_runtime.config.complete import complete
from edge_runtime.config.delivery import Mqtt, Sparkplug, Spool
from edge_runtime.config.picture import Picture, written_picture
from edge_runtime.config.registry import Registry  # noqa: TC001 - pydantic reads the annotations
from edge_runtime.config.section import Section, not_yet
from edge_runtime.config.types import (
    Device,
    Expect,
    Fraction,
    Id,
    Listen,
    PathSetting,
    ReleaseName,
    Shorthand,
    SourceSetting,
    Text,
    TextPattern,
    refuse,
)
from edge_runtime.config.updates import Updates

VERSION = 1
STATE_DIR = Path("/var/lib/edge-runtime")
Backend = Literal["auto", "openvino", "onnxruntime"]


class CameraDefaults(Section):
    """What all cameras share unless they say otherwise."""

    capture: Literal["latest", "every"] = Field(
        default="latest",
        description="latest judges the newest picture and skips those it is too slow for; every skips none",
    )
    fps: float | None = Field(
        default=None,
        ge=0.1,
        le=240,
        description="most pictures per second that are taken; leave it out for the camera's own rate",
    )
    stall_s: float = Field(
        default=1.8,
        ge=0.5,
        le=600,
        description="seconds without a picture after which a camera counts as stalled; more for slow cameras",
    )
    queue: int = Field(
        default=8, ge=1, le=60, description="pictures that may wait when capture is every; one more is an overrun"
    )
    picture: Annotated[Picture, BeforeValidator(written_picture), Shorthand("true, false")] = Field(
        default=Picture(), description="true, false, or a map: when its picture counts as bad, and what follows"
    )


class Camera(CameraDefaults):
    """One source of pictures."""

    source: SourceSetting = Field(
        description="rtsp(s)://, http(s):// (MJPEG), v4l2:/dev/video0, file:PATH?loop=1, images:DIR, sim:NAME"
    )


class Model(Section):
    """One model slot: what runs there and on what."""

    path: PathSetting | None = Field(
        default=None,
        description="a package, an .onnx or .xml file, or a directory of MLflow, Triton, OVMS, Ultralytics, PaddleOCR",
    )
    release: ReleaseName | None = Field(
        default=None, description="MODEL or MODEL@CHANNEL of the registry, instead of path; no channel is stable"
    )
    factory: PathSetting | None = Field(
        default=None,
        description="with release: the model that came with the line, used when every release is taken away; a path",
    )
    if_revoked: Literal["run-and-alarm", "stop"] = Field(
        default="run-and-alarm",
        description="with release: when its model is revoked and no other is left, go on with it and raise an alarm, "
        "or stop judging (NotDecidable)",
    )
    device: Device = Field(default="auto", description="where to run: auto, cpu, gpu, npu or BACKEND:DEVICE")
    backend: Backend = Field(default="auto", description="inference engine; auto takes what suits device and model")
    threads: int | None = Field(
        default=None, ge=1, le=256, description="CPU threads that this model may use; by default engine.threads"
    )
    streams: int = Field(
        default=1,
        ge=1,
        le=16,
        description="inferences of this model at a time, which divide its threads; more of them judge more pictures a "
        "second and answer later",
    )

    @property
    def wanted(self) -> tuple[str, str] | None:
        """Model and channel of ``release``; ``None`` for a model with a path."""
        if self.release is None:
            return None
        model, _, channel = self.release.partition("@")
        return model, channel or "stable"

    @property
    def backend_name(self) -> Backend:
        """The engine to use, from ``backend`` or the front part of ``device``."""
        front, colon, _ = self.device.partition(":")
        if not colon:
            return self.backend
        return "openvino" if front == "openvino" else "onnxruntime"

    @property
    def device_name(self) -> str:
        """The device without its backend: ``auto``, ``cpu``, ``gpu``, ``npu`` or what stands behind the colon."""
        return self.device.rpartition(":")[2]


class Trigger(Section):
    """When a picture is judged."""

    kind: Literal["continuous", "interval", "mqtt"] = Field(
        default="continuous", description="continuous, interval or mqtt"
    )
    interval_ms: int | None = Field(
        default=None, ge=10, le=86_400_000, description="milliseconds from one judgement to the next"
    )


def _trigger(value: object) -> object:
    if isinstance(value, str):
        if value in ("continuous", "mqtt"):
            return {"kind": value}
        raise refuse(
            "config.trigger",
            f'must be continuous, mqtt or a map with interval_ms, got "{value[:40]}"',
            "for example  trigger: {interval_ms: 200}",
        )
    if isinstance(value, Mapping) and "kind" not in value and "interval_ms" in value:
        return {**value, "kind": "interval"}
    return value


class Rule(Section):
    """One way for a part to be not OK; the names are those of ``pipeline.recipe``."""

    label: Text = Field(description="which predictions count; * is every label")
    score_min: Fraction = Field(
        default=0.0,
        description="predictions below this score, 0 to 1, do not count; labels that a classifier decided against "
        "count only if it is stated",
    )
    area_min_px: float = Field(
        default=0.0, ge=0, le=1e9, description="boxes smaller than this many square pixels do not count"
    )
    count_below: int | None = Field(
        default=None, ge=1, le=100_000, description="not OK when fewer than this many are found"
    )
    count_above: int | None = Field(
        default=None, ge=0, le=100_000, description="not OK when more than this many are found"
    )
    value_below: float | None = Field(
        default=None,
        ge=-1e12,
        le=1e12,
        description="for models that measure: values below this count, in the model's unit",
    )
    value_above: float | None = Field(
        default=None, ge=-1e12, le=1e12, description="for models that measure: values above this count"
    )
    text_is: Text | None = Field(default=None, description="only texts that read exactly like this count")
    text_matches: TextPattern | None = Field(
        default=None, description=r"only texts that are as this pattern says count, for example LOT \d{6}"
    )


Point = Annotated[tuple[Fraction, Fraction], Expect("a pair [x, y] of numbers from 0 to 1")]


class Recipe(Section):
    """What makes a part not OK; without rules nothing is decided (Undefined)."""

    id: Id = Field(default="default", description="name of the recipe in results")
    version: Text = Field(default="1", description="version of the recipe in results, free text")
    not_ok: Annotated[tuple[Rule, ...], Field(max_length=256)] = Field(
        default=(), description="a part is not OK when any of these applies"
    )
    region: Annotated[tuple[Point, ...], Field(min_length=3, max_length=256)] | None = Field(
        default=None,
        description="corners of the area that counts, as fractions of width and height; default is the whole picture",
    )


class Handshake(Section):
    """How a controller (PLC) and an inspection agree on each part."""

    heartbeat_ms: int = Field(
        default=500, ge=100, le=10_000, description="milliseconds between two signs of life to the controller"
    )
    result_ms: int | None = Field(
        default=None,
        ge=1,
        le=120_000,
        description="milliseconds from trigger to answer, else it is NotDecidable; by default deadline_ms + 500",
    )
    ack_ms: int = Field(
        default=5000, ge=10, le=3_600_000, description="milliseconds in which the controller acknowledges a result"
    )


def _handshake(value: object) -> object:
    if value is True:
        return {}
    return None if value is False else value


_RECIPE_WORDS = "the name of one of recipes, or a map with id, version, not_ok, region"


def _recipe(value: object) -> object:
    if isinstance(value, str):  # a name of one of ``recipes`` was replaced by it (``complete``)
        message = f'must be the name of one of recipes or a map, got "{value[:40]}"'
        raise refuse("config.unknown_recipe", message, "for example  recipe: part-a")
    return value


class Inspection(Section):
    """A camera, a model and a recipe: what has results, topics and counters of its own."""

    camera: Id = Field(description="which camera it looks at; may be left out if there is one, or one of the same name")
    model: Id = Field(description="which model judges; may be left out if there is only one")
    trigger: Annotated[
        Trigger,
        BeforeValidator(_trigger),
        Shorthand("continuous, mqtt"),
        Expect("continuous, mqtt or a map with interval_ms"),
    ] = Field(default=Trigger(), description="continuous, mqtt or {interval_ms: N}")
    deadline_ms: int = Field(
        default=DEADLINE_MS,
        ge=1,
        le=60_000,
        description="milliseconds from capture to the verdict; later it is NotDecidable",
    )
    recipe: Annotated[
        Recipe, BeforeValidator(_recipe), Shorthand("the name of one of recipes"), Expect(_RECIPE_WORDS)
    ] = Field(default=Recipe(), description="what makes a part not OK: a map, or the name of one of recipes")
    handshake: Annotated[Handshake | None, BeforeValidator(_handshake), Shorthand("true, false")] = Field(
        default=None,
        description="true, or a map: a controller triggers and acknowledges over MQTT; needs trigger: mqtt",
    )


class Engine(Section):
    """How inference shares the processor."""

    workers: int | None = Field(
        default=None, ge=1, le=64, description="pictures of each model in the engine; by default its streams + 1"
    )
    threads: int | None = Field(
        default=None, ge=1, le=256, description="CPU threads of each model; by default the models share the processor"
    )
    pinning: bool | None = not_yet("CPU pinning", description="let OpenVINO pin threads to cores")
    cache: bool = Field(default=True, description="keep compiled models in state_dir, for a faster start")


class Log(Section):
    """What is written to stderr."""

    format: Literal["text", "json"] = Field(default="text", description="text for people, json for programs")
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severity that is written"
    )


class Http(Section):
    """The local status server."""

    listen: Listen | None = not_yet("the HTTP server", description="HOST:PORT to listen on")


def _version(value: object) -> object:
    """To Python true and 1.0 are 1."""
    return str(value) if isinstance(value, (bool, float)) else value


class Settings(Section):
    """The whole configuration of one box."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        description="version of this file format; always 1"
    )
    site: Id = Field(default="site", description="plant, second level of every topic")
    line: Id = Field(default="line", description="production line, third level of every topic")
    edge: Id = Field(default="edge", description="this box, fourth level of every topic; by default its host name")
    mqtt: Mqtt = Field(default=Mqtt(), description="the broker that results go to")
    spool: Spool = Field(default=Spool(), description="the durable queue between results and the broker")
    commands: Commands = Field(default=Commands(), description="who may ask for what over MQTT")
    defaults: CameraDefaults = Field(
        default=CameraDefaults(), description="what all cameras share unless they say otherwise"
    )
    cameras: Annotated[Mapping[Id, Camera], Field(min_length=1, max_length=64)] = Field(description="cameras by name")
    models: Annotated[Mapping[Id, Model], Field(min_length=1, max_length=64)] = Field(description="models by name")
    recipes: Annotated[Mapping[Id, Recipe], Field(max_length=64)] = Field(
        default_factory=dict,
        description="recipes by name, for several inspections or for parts that take turns: a command chooses one",
    )
    inspections: Annotated[Mapping[Id, Inspection], Field(max_length=256)] = Field(
        description="what is judged; by default every camera by the only model", default_factory=dict
    )
    engine: Engine = Field(default=Engine(), description="how inference shares the processor")
    log: Log = Field(default=Log(), description="what is written to stderr")
    sparkplug: Sparkplug | None = Field(default=None, description="Sparkplug B on a second connection")
    registry: Registry | None = Field(default=None, description="where model releases come from")
    updates: Updates = Field(default=Updates(), description="when this box may change to another release of a model")
    http: Http = Field(default=Http(), description="the local status server")
    state_dir: PathSetting = Field(default=STATE_DIR, description="directory for the spool, caches and counters")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: object) -> object:
        """Spread ``defaults`` over the cameras and fill in what follows from the rest."""
        return complete(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        data = self.model_dump(mode="python", exclude_unset=True)
        found = [mistake for mistake in cross_references(data) if not mistake.warning]
        if found:
            raise refuse(
                "config.cross_reference", "; ".join(f"{mistake.where}: {mistake.message}" for mistake in found)
            )
        return self

    @property
    def client_id(self) -> str:
        """The MQTT client id in use."""
        return self.mqtt.client_id or f"{self.site}-{self.line}-{self.edge}"
