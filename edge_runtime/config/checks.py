"""Mistakes that show only when two settings are seen together; pure, on plain data that may be wrong anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

Loc = tuple[str | int, ...]
ENTRIES_LIMIT = 256  # more are refused anyway, and comparing names is slow
DEFAULT_RECIPE = "default"
DEADLINE_MS = 1000  # of a verdict, unless the inspection says otherwise
RESERVED = "system"  # event/system is about the box itself
_SITE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # as `registry.statements`
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")


@dataclass(frozen=True, slots=True)
class Mistake:
    """Settings that do not fit together.

    Attributes:
        loc: path of the setting to point at.
        code: stable identifier.
        message: a sentence that follows the name of the setting.
        help: the way out.
        warning: the runtime can start all the same.
    """

    loc: Loc
    code: str
    message: str
    help: str | None = None
    warning: bool = False

    @property
    def where(self) -> str:
        """The dotted path."""
        return dotted(self.loc)


def dotted(loc: Loc) -> str:
    """Write a path as people do: ``inspections.top.recipe.not_ok[0].label``."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def suggestion(word: str, known: Sequence[str]) -> str | None:
    """Return the likeliest of ``known`` that was meant by ``word``."""
    lowered = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def cross_references(data: Mapping[str, object]) -> tuple[Mistake, ...]:
    """Check ``data`` after ``complete``; what has the wrong type or far too many entries is left to validation."""
    if any(len(section(data, name)) > ENTRIES_LIMIT for name in ("cameras", "models", "inspections", "recipes")):
        return ()
    return (
        *_reserved(data),
        *_no_judge(data),
        *_recipes(data),
        *_inspections(data),
        *_models(data),
        *_mqtt(data),
        *_sparkplug(data),
        *_registry(data),
        *_updates(data),
        *_cameras(data),
    )


def section(data: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return the map ``data[name]``, an empty one if there is none."""
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def entries(data: Mapping[str, object], name: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Go over the maps inside the map ``data[name]``."""
    for key, value in section(data, name).items():
        if isinstance(value, Mapping):
            yield key, value


def _reserved(data: Mapping[str, object]) -> Iterator[Mistake]:
    for kind in ("cameras", "inspections"):
        if RESERVED in section(data, kind):
            message = f'the name "{RESERVED}" is taken: events of the box itself have it'
            yield Mistake((kind, RESERVED), "config.reserved_name", message, "choose another name")
    cameras = section(data, "cameras")
    for name, inspection in entries(data, "inspections"):
        if name in cameras and inspection.get("camera") not in (name, None):
            message = f'an inspection named "{name}" must look at the camera of that name'
            yield Mistake(
                ("inspections", name), "config.ambiguous_name", message, "rename the inspection or the camera"
            )


def _no_judge(data: Mapping[str, object]) -> Iterator[Mistake]:
    models = section(data, "models")
    if len(models) > 1 and data.get("inspections", {}) == {}:
        first = next(iter(section(data, "cameras")), "CAMERA")
        yield Mistake(
            ("models",),
            "config.no_inspections",
            f"several models ({', '.join(models)}) and no inspections, so nothing says which one judges",
            f"write  inspections: {{{first}: {{camera: {first}, model: {next(iter(models))}}}}}",
        )


def _inspections(data: Mapping[str, object]) -> Iterator[Mistake]:
    used: set[object] = set()
    for name, inspection in entries(data, "inspections"):
        at = ("inspections", name)
        for kind, plural in (("camera", "cameras"), ("model", "models")):
            yield from _reference(at, kind, inspection, section(data, plural))
        camera = inspection.get("camera")
        used.add(camera if isinstance(camera, str) else None)
        yield from _trigger((*at, "trigger"), inspection.get("trigger"))
        yield from _recipe_of((*at, "recipe"), inspection.get("recipe"), section(data, "recipes"))
        yield from _handshake((*at, "handshake"), inspection)
    cameras = section(data, "cameras")
    if used and used <= cameras.keys():  # with a misspelt one, its camera would seem unused
        for camera in cameras:
            if camera not in used:
                message = f'no inspection looks at camera "{camera}"'
                yield Mistake(("cameras", camera), "config.unused_camera", message, warning=True)


def _reference(at: Loc, kind: str, inspection: Mapping[str, object], known: Mapping[str, object]) -> Iterator[Mistake]:
    if not known:
        return
    names = ", ".join(known)
    if kind not in inspection:
        message = f"{kind} is missing: there are several {kind}s ({names})"
        yield Mistake((*at, kind), "config.missing", message, f"write  {kind}: {next(iter(known))}")
        return
    wanted = inspection[kind]
    if isinstance(wanted, str) and wanted not in known:
        close = suggestion(wanted, list(known))
        way_out = f"did you mean {close}?" if close else f"configured: {names}"
        yield Mistake((*at, kind), f"config.unknown_{kind}", f'there is no {kind} named "{wanted[:64]}"', way_out)


def _trigger(at: Loc, trigger: object) -> Iterator[Mistake]:
    if not isinstance(trigger, Mapping):
        return
    kind = trigger.get("kind", "interval")
    if kind == "interval" and "interval_ms" not in trigger:
        yield Mistake(at, "config.missing", "interval_ms is missing", "for example  trigger: {interval_ms: 200}")
    elif kind != "interval" and trigger.get("interval_ms") is not None:
        message = f"a trigger of kind {kind} has no interval_ms"
        yield Mistake((*at, "interval_ms"), "config.conflict", message, "write one of the two")


def _handshake(at: Loc, inspection: Mapping[str, object]) -> Iterator[Mistake]:
    trigger = inspection.get("trigger", "continuous")
    kind = trigger.get("kind", "interval") if isinstance(trigger, Mapping) else trigger
    if inspection.get("handshake") not in (None, False) and kind != "mqtt":
        message = f"a hand-shake needs triggers that a controller gives, and this inspection is {str(kind)[:16]}"
        yield Mistake(at, "config.conflict", message, "write  trigger: mqtt  beside it")
    answer, verdict = section(inspection, "handshake").get("result_ms"), inspection.get("deadline_ms", DEADLINE_MS)
    if isinstance(answer, int) and isinstance(verdict, int) and answer < verdict:
        message = f"the controller waits {answer} ms for an answer, and a verdict may take {verdict} (deadline_ms)"
        way_out = "write a longer result_ms, or a shorter deadline_ms"
        yield Mistake((*at, "result_ms"), "config.conflict", message, way_out, warning=True)


def _recipe_of(at: Loc, recipe: object, named: Mapping[str, object]) -> Iterator[Mistake]:
    if isinstance(recipe, str):  # what has a recipe of that name is it by now (`complete`)
        close = suggestion(recipe, list(named))
        configured = f"configured: {', '.join(named)}" if named else "write it below recipes, or here as a map"
        way_out = f"did you mean {close}?" if close else configured
        yield Mistake(at, "config.unknown_recipe", f'there is no recipe named "{recipe[:64]}"', way_out)
    elif isinstance(recipe, Mapping):
        yield from _recipe(at, recipe)
        name = recipe.get("id", DEFAULT_RECIPE)
        if isinstance(name, str) and name in named and named[name] != recipe:
            message = f'the id "{name[:64]}" belongs to another recipe, one of recipes'
            yield Mistake(
                (*at, "id"), "config.conflict", message, f"give it an id of its own, or write  recipe: {name}"
            )


def _recipes(data: Mapping[str, object]) -> Iterator[Mistake]:
    for name, recipe in entries(data, "recipes"):
        yield from _recipe(("recipes", name), recipe)
        if recipe.get("id", name) != name:
            message = f'the id of a recipe is its name, "{name}"'
            yield Mistake(("recipes", name, "id"), "config.conflict", message, "remove id, or rename the recipe")


def _recipe(at: Loc, recipe: Mapping[str, object]) -> Iterator[Mistake]:
    rules = recipe.get("not_ok")
    for index, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        if not isinstance(rule, Mapping):
            continue
        below, above = rule.get("count_below"), rule.get("count_above")
        if isinstance(below, int) and isinstance(above, int) and below > above:
            message = f"count_below {below} and count_above {above} leave no count that is OK"
            yield Mistake((*at, "not_ok", index), "config.conflict", message, "count_below must not exceed count_above")
        low, high = rule.get("value_below"), rule.get("value_above")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            message = f"value_below {low:g} and value_above {high:g} leave no value that is OK"
            yield Mistake((*at, "not_ok", index), "config.conflict", message, "value_below must not exceed value_above")
        yield from _texts((*at, "not_ok", index), rule)
    corners = recipe.get("region")
    if isinstance(corners, (list, tuple)) and len(corners) > 2 and _area(corners) == 0:  # noqa: PLR2004 - a polygon
        yield Mistake((*at, "region"), "config.region", "the corners of region enclose no area", "list them in order")


def _texts(at: Loc, rule: Mapping[str, object]) -> Iterator[Mistake]:
    asked = [name for name in ("text_is", "text_matches") if rule.get(name) is not None]
    if len(asked) > 1:
        message = "text_is and text_matches exclude each other"
        yield Mistake((*at, asked[1]), "config.conflict", message, "keep one of them")
    elif asked and rule.get("count_below") is None and rule.get("count_above") is None:
        message = f"{asked[0]} does not say whether this text has to be there"
        way_out = "add  count_below: 1  (not OK when it is missing)  or  count_above: 0  (not OK when it is there)"
        yield Mistake((*at, asked[0]), "config.missing", message, way_out)


def _area(corners: Sequence[object]) -> float | None:
    points: list[tuple[float, float]] = []
    for corner in corners:
        match corner:
            case [int() | float() as x, int() | float() as y]:
                points.append((float(x), float(y)))
            case _:
                return None
    shifted = [*points[1:], points[0]]
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, shifted, strict=True)))


def _models(data: Mapping[str, object]) -> Iterator[Mistake]:
    for name, model in entries(data, "models"):
        at = ("models", name)
        if model.get("path") is None and model.get("release") is None:
            way_out = "name a model package directory or file; or write  release: MODEL  of a registry"
            yield Mistake((*at, "path"), "config.missing", "path is missing", way_out)
        if model.get("release") is not None and data.get("registry") is None:
            way_out = "write  registry: {url: oci://HOST/NAME, root: root.json}"
            yield Mistake((*at, "release"), "config.missing", "a release needs a registry, and there is none", way_out)
        if model.get("path") is not None and model.get("release") is not None:
            yield Mistake(
                (*at, "release"), "config.conflict", "path and release exclude each other", "keep one of them"
            )
        for setting in ("factory", "if_revoked"):
            if model.get(setting) not in (None, "run-and-alarm") and model.get("release") is None:
                message = f"{setting} is for a model that has its release from a registry, and this one has none"
                yield Mistake((*at, setting), "config.conflict", message, f"remove it, or write  release: {name}")
        device, backend = model.get("device"), model.get("backend", "auto")
        if isinstance(device, str) and ":" in device and backend not in ("auto", device.partition(":")[0]):
            message = f'device "{device[:64]}" and backend "{str(backend)[:64]}" name different engines'
            yield Mistake((*at, "device"), "config.conflict", message, "leave out backend")
        threads, streams = model.get("threads"), model.get("streams")
        if isinstance(threads, int) and isinstance(streams, int) and streams > threads:
            message = f"{streams} streams cannot divide {threads} threads among them"
            yield Mistake((*at, "streams"), "config.conflict", message, "write at most as many streams as threads")


def _mqtt(data: Mapping[str, object]) -> Iterator[Mistake]:
    mqtt = section(data, "mqtt")
    yield from _passwords(("mqtt",), mqtt)
    yield from _tls(("mqtt", "tls"), section(mqtt, "tls"))


def _passwords(at: Loc, account: Mapping[str, object]) -> Iterator[Mistake]:
    if account.get("password") is not None and account.get("password_file") is not None:
        message = "password and password_file exclude each other"
        yield Mistake((*at, "password"), "config.conflict", message, "keep password_file")


def _tls(at: Loc, tls: Mapping[str, object]) -> Iterator[Mistake]:
    for there, missing in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if tls.get(there) is not None and tls.get(missing) is None:
            yield Mistake((*at, there), "config.conflict", f"{there} needs {missing} beside it")


def _sparkplug(data: Mapping[str, object]) -> Iterator[Mistake]:
    if not isinstance(data.get("sparkplug"), Mapping):
        return
    sparkplug = section(data, "sparkplug")
    yield from _tls(("sparkplug", "tls"), section(sparkplug, "tls"))
    if sparkplug.get("password") is not None and sparkplug.get("username") is None:
        message = "password has no username beside it"
        yield Mistake(("sparkplug", "password"), "config.conflict", message, "write both or none")
    own = section(data, "mqtt").get("client_id") or "-".join(
        str(data.get(level, level)) for level in ("site", "line", "edge")
    )
    if sparkplug.get("client_id") == own:
        message = f'"{str(own)[:64]}" is the client id of mqtt, and a broker ends a connection when its id comes again'
        yield Mistake(("sparkplug", "client_id"), "config.conflict", message, "leave it out, or choose another")
    written = sparkplug.get("servers")
    servers = list(written) if isinstance(written, (list, tuple)) else []
    for index, server in enumerate(servers):
        if server in servers[:index]:
            message = f'"{str(server)[:64]}" stands there twice'
            yield Mistake(("sparkplug", "servers", index), "config.conflict", message, "name each broker once")
    seen: dict[str, str] = {}
    for name in section(data, "inspections"):
        if (other := seen.setdefault(name.lower(), name)) != name:
            message = f'"{name[:64]}" and "{other[:64]}" differ only in case, which some Sparkplug hosts cannot tell'
            way_out = "give one of them another name"
            yield Mistake(("inspections", name), "config.case", message, way_out, warning=True)


def _registry(data: Mapping[str, object]) -> Iterator[Mistake]:
    at, registry = ("registry",), section(data, "registry")
    site = data.get("site")
    if any(model.get("release") is not None for _, model in entries(data, "models")) and (
        isinstance(site, str) and not _SITE.fullmatch(site)
    ):
        message = f'"{site[:64]}" cannot have rollouts of its own: to a registry, sites are named in lower case'
        yield Mistake(("site",), "config.site", message, "for example  site: plant-a")
    yield from _passwords(at, registry)
    yield from _tls(at, registry)
    for name in ("password", "password_file"):
        if registry.get(name) is not None and registry.get("username") is None:
            yield Mistake((*at, name), "config.conflict", f"{name} has no username beside it", "write both or none")
    mirrors = registry.get("mirrors")
    places: list[tuple[Loc, object]] = [((*at, "url"), registry.get("url"))]
    for index, mirror in enumerate(mirrors if isinstance(mirrors, (list, tuple)) else ()):
        if mirror in [url for _, url in places]:
            message = f'"{str(mirror)[:64]}" stands there twice'
            yield Mistake((*at, "mirrors", index), "config.conflict", message, "name each place once")
        places.append(((*at, "mirrors", index), mirror))
    for loc, url in places:
        if isinstance(url, str) and url.startswith("http://") and registry.get("allow_http") is not True:
            host = re.sub(r":[0-9]+$", "", url.removeprefix("http://").partition("/")[0])
            if not _LOOPBACK.fullmatch(host):
                message = "HTTP without TLS is only for this machine itself"
                yield Mistake(loc, "config.no_tls", message, "write  https://...  or, if need be,  allow_http: true")


def _updates(data: Mapping[str, object]) -> Iterator[Mistake]:
    updates = section(data, "updates")
    if updates and all(model.get("release") is None for _, model in entries(data, "models")):
        message = "no model has its release from a registry, so there is nothing to update"
        way_out = "write  release: MODEL  at a model, or remove updates"
        yield Mistake(("updates",), "config.conflict", message, way_out, warning=True)


def _cameras(data: Mapping[str, object]) -> Iterator[Mistake]:
    if "queue" in section(data, "defaults"):
        return
    for name, camera in entries(data, "cameras"):
        if "queue" in camera and camera.get("capture", "latest") == "latest":
            message = "queue has no effect while capture is latest"
            yield Mistake(
                ("cameras", name, "queue"), "config.conflict", message, "write  capture: every  or remove queue"
            )
