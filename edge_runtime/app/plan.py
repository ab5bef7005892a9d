"""From settings to what the parts are told: one pure translation, so that no part knows the configuration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.core.pattern import Pattern
from edge_runtime.core.result import RecipeRef
from edge_runtime.pipeline.inspection import Capture, InspectionSpec
from edge_runtime.pipeline.picture_health import Fault, PictureRules
from edge_runtime.pipeline.recipe import Recipe, Rule
from edge_runtime.pipeline.slot import SlotSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_runtime.config.schema import Camera, Inspection, Model, Settings
    from edge_runtime.config.schema import Recipe as RecipeSettings
    from edge_runtime.config.schema import Rule as RuleSettings
    from edge_runtime.core.source import Source

MAX_PIXELS = 40_000_000  # of one frame; larger images are refused before they are decoded
SIDE_MIN = 16  # pixels of the shorter side; smaller images are invalid
LATENCY_WORKERS = 2  # one frame is prepared while the other is inferred
LATEST_BESIDE = 4  # ring slots beside those of frames in the engine: one waiting, one being written, two for hand-over
LATEST_SLOTS = LATENCY_WORKERS + LATEST_BESIDE
LIVE = ("rtsp", "rtsps", "http", "https", "v4l2")  # sources with a sensor, whose noise makes no two pictures the same
HANG_FACTOR = 5  # an engine that needs this many deadlines for a frame is not slow but stuck
HANG_MIN_MS = 3000


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera process."""

    id: str
    source: Source
    capture: Capture
    fps: float | None
    stall_s: float
    ring_slots: int = LATEST_SLOTS
    files: tuple[str, ...] | None = None
    pictures: PictureRules | None = None
    """What is looked for in its pictures; ``None`` when nothing is."""

    @property
    def simulated(self) -> bool:
        """Whether its pictures are made up."""
        return self.source.kind == "sim"

    def arguments(self) -> dict[str, object]:
        """What the camera process is told (``camera.reader``)."""
        return {
            "camera": self.id,
            "capture": self.capture.value,
            "fps": self.fps,
            "stall_s": self.stall_s,
            "max_pixels": MAX_PIXELS,
            "pictures": self._looks(),
        } | ({"source": self.source.text} if self.files is None else {"files": list(self.files)})

    def _looks(self) -> str:
        if self.pictures is None:
            return "never"
        return "before" if self.pictures.not_decidable else "after"


@dataclass(frozen=True, slots=True)
class InspectionPlan:
    """One inspection with its recipe and that recipe's identity, and the ``others`` that a command may choose."""

    spec: InspectionSpec
    recipe: Recipe
    ref: RecipeRef
    others: tuple[tuple[Recipe, RecipeRef], ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """The release that a slot runs: its directory, the identity that it must have, and what results say of it."""

    path: str
    digest: str
    release: int | None = None
    rollout_seq: int | None = None


@dataclass(frozen=True, slots=True)
class LinePlan:
    """Everything the line is made of."""

    cameras: tuple[CameraPlan, ...]
    slots: tuple[SlotSpec, ...]
    inspections: tuple[InspectionPlan, ...]


def plan_line(settings: Settings, *, cpus: int, released: Mapping[str, Released] | None = None) -> LinePlan:
    """Translate ``settings`` for a box with ``cpus`` usable processors.

    Slots that have their model from a registry run what ``released`` says, and nothing as long as it does not.
    """
    return LinePlan(
        cameras=tuple(_camera(name, camera, _in_engine(settings, name)) for name, camera in settings.cameras.items()),
        slots=_slots(settings, cpus, released or {}),
        inspections=tuple(
            plan_inspection(
                name,
                inspection,
                settings.cameras[inspection.camera],
                _in_engine(settings, inspection.camera),
                settings.recipes.values(),
            )
            for name, inspection in settings.inspections.items()
        ),
    )


def every_slots(queue: int, workers: int = LATENCY_WORKERS) -> int:
    """Return the ring slots of a camera none of whose pictures may be skipped: ``queue`` waiting, the rest judged.

    An inspection's own queue has the same bound, so the ring is what fills up first: a live camera then says overrun,
    and a folder or a clip simply waits.
    """
    return queue + workers


def plan_inspection(
    name: str, inspection: Inspection, camera: Camera, in_engine: int, recipes: Iterable[RecipeSettings] = ()
) -> InspectionPlan:
    """Translate one inspection of a camera of which ``in_engine`` frames are judged at a time.

    It may be judged by any of ``recipes``, which have names; commands see to it that its model can meet them.
    """
    recipe, capture = _recipe(inspection.recipe), Capture(camera.capture)
    others = (_recipe(one) for one in recipes if one.id != recipe.id)
    return InspectionPlan(
        spec=InspectionSpec(
            id=name,
            camera=inspection.camera,
            slot=inspection.model,
            capture=capture,
            deadline_ms=inspection.deadline_ms,
            queue=every_slots(camera.queue, in_engine) if capture is Capture.EVERY else camera.queue,
            interval_ms=inspection.trigger.interval_ms,
            on_trigger=inspection.trigger.kind == "mqtt",
        ),
        recipe=recipe,
        ref=recipe_ref(recipe),
        others=tuple((one, recipe_ref(one)) for one in others),
    )


def recipe_ref(recipe: Recipe) -> RecipeRef:
    """Return the identity of a recipe: SHA-256 over its canonical JSON (sorted keys, no blanks)."""
    document = {
        "id": recipe.id,
        "version": recipe.version,
        "region": recipe.region,
        "not_ok": [_rule_fields(rule) for rule in recipe.not_ok],
    }
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return RecipeRef(recipe.id, recipe.version, "sha256:" + hashlib.sha256(canonical.encode()).hexdigest())


def _rule_fields(rule: Rule) -> list[object]:
    fields: list[object] = [rule.label, rule.score_min, rule.area_min_px, rule.count_below, rule.count_above]
    if rule.is_about_values:  # recipes without keep the identity they have
        fields += [rule.value_below, rule.value_above]
    return [*fields, *_text_fields(rule)]


def _text_fields(rule: Rule) -> list[dict[str, str]]:
    """What a rule says about texts, nothing when it says nothing: recipes without keep the identity they have."""
    pattern = None if rule.text_matches is None else rule.text_matches.text
    fields = {"text_is": rule.text_is, "text_matches": pattern}
    stated = {key: value for key, value in fields.items() if value is not None}
    return [stated] if stated else []


def _camera(name: str, camera: Camera, in_engine: int) -> CameraPlan:
    capture = Capture(camera.capture)
    return CameraPlan(
        id=name,
        source=camera.source,
        capture=capture,
        fps=camera.fps,
        stall_s=camera.stall_s,
        ring_slots=every_slots(camera.queue, in_engine) if capture is Capture.EVERY else LATEST_BESIDE + in_engine,
        pictures=picture_rules(camera),
    )


def picture_rules(camera: Camera) -> PictureRules | None:
    """Translate what is looked for in the pictures of a camera; files and made-up pictures may repeat themselves."""
    stated = camera.picture
    off = {Fault(name) for name in stated.off} | (set() if camera.source.kind in LIVE else {Fault.FROZEN})
    rules = PictureRules(
        off=frozenset(off),
        dark=stated.dark,
        bright=stated.bright,
        covered=stated.covered,
        blurred=stated.blurred,
        moved=stated.moved,
        after_s=stated.after_s,
        not_decidable=stated.not_decidable,
    )
    return rules if rules.any else None


def _in_engine(settings: Settings, camera: str) -> int:
    """Return how many frames of ``camera`` its busiest model may have at a time."""
    judges = [settings.models[one.model] for one in settings.inspections.values() if one.camera == camera]
    return max((_workers(settings, model) for model in judges), default=LATENCY_WORKERS)


def _workers(settings: Settings, model: Model) -> int:
    """Return the frames that ``model`` may have in the engine: while all its streams infer, one more is prepared."""
    return settings.engine.workers or model.streams + 1


def _slots(settings: Settings, cpus: int, released: Mapping[str, Released]) -> tuple[SlotSpec, ...]:
    """Divide the processors among the models, so that no two of them fight for one core."""
    share = max(1, cpus // len(settings.models))
    hang_ms = max(HANG_MIN_MS, *(HANG_FACTOR * i.deadline_ms for i in settings.inspections.values()))
    return tuple(
        _slot(name, model, settings, released.get(name), share, hang_ms) for name, model in settings.models.items()
    )


def _slot(name: str, model: Model, settings: Settings, released: Released | None, share: int, hang_ms: int) -> SlotSpec:
    """Translate one model; ``released`` is what it runs if it has its releases from a registry."""
    spec = SlotSpec(
        id=name,
        path=None,
        waits_for=f"no release of {model.release} that may run is here",
        device=model.device_name,
        backend=model.backend_name,
        workers=_workers(settings, model),
        threads=max(model.threads or settings.engine.threads or share, model.streams),
        streams=model.streams,
        hang_ms=hang_ms,
    )
    if model.release is None:
        return replace(spec, path=str(model.path), waits_for="")
    if released is not None:
        return release_of(spec, released)
    return spec if model.factory is None else replace(spec, path=str(model.factory), waits_for="")


def release_of(spec: SlotSpec, released: Released) -> SlotSpec:
    """Return the slot of ``spec`` with another release as its model."""
    return replace(
        spec,
        path=released.path,
        digest=released.digest,
        waits_for="",
        release=released.release,
        rollout_seq=released.rollout_seq,
    )


def _recipe(settings: RecipeSettings) -> Recipe:
    return Recipe(
        id=settings.id,
        version=settings.version,
        not_ok=tuple(_rule(one) for one in settings.not_ok),
        region=settings.region,
    )


def _rule(settings: RuleSettings) -> Rule:
    return Rule(
        label=settings.label,
        score_min=settings.score_min,
        area_min_px=settings.area_min_px,
        count_below=settings.count_below,
        count_above=settings.count_above,
        value_below=settings.value_below,
        value_above=settings.value_above,
        text_is=None if settings.text_is is None else settings.text_is.strip(),
        text_matches=None if settings.text_matches is None else Pattern(settings.text_matches),
    )
