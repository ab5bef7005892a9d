"""What follows from the rest of a configuration and need not be written; pure, on data that may be wrong anywhere."""

from __future__ import annotations

from collections.abc import Mapping

TLS_PORT = 8883  # IANA: secure-mqtt
SPREAD_LIMIT = 10_000  # values; 64 cameras are allowed, and more is a bomb that validation refuses anyway


def complete(data: Mapping[str, object]) -> dict[str, object]:
    """Return a copy with ``defaults`` spread over the cameras, default inspections and the port that goes with TLS.

    A recipe that an inspection names is put in the place of its name; its id is its name.

    Applying it twice changes nothing. What has the wrong type is passed on untouched, for validation to find.
    """
    completed = dict(data)
    cameras = data.get("cameras")
    if isinstance(cameras, Mapping):
        defaults = data.get("defaults")
        if isinstance(defaults, Mapping) and len(defaults) * len(cameras) <= SPREAD_LIMIT:
            completed["cameras"] = {name: _over(defaults, camera) for name, camera in cameras.items()}
        inspections = _inspections(data, list(cameras))
        if inspections is not None:
            completed["inspections"] = inspections
    recipes = data.get("recipes")
    if isinstance(recipes, Mapping):
        named = {name: {"id": name, **one} if isinstance(one, Mapping) else one for name, one in recipes.items()}
        completed["recipes"] = named
        written = completed.get("inspections")
        if isinstance(written, Mapping):
            completed["inspections"] = {name: _with_recipe(one, named) for name, one in written.items()}
    mqtt = data.get("mqtt")
    if isinstance(mqtt, Mapping) and "port" not in mqtt and (mqtt.get("tls") is True or _is_map(mqtt.get("tls"))):
        completed["mqtt"] = {**mqtt, "port": TLS_PORT}
    return completed


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def _over(defaults: Mapping[str, object], camera: object) -> object:
    return {**defaults, **camera} if isinstance(camera, Mapping) else camera


def _inspections(data: Mapping[str, object], cameras: list[str]) -> dict[str, object] | None:
    models = data.get("models")
    only_model = next(iter(models)) if isinstance(models, Mapping) and len(models) == 1 else None
    written = data.get("inspections")
    if "inspections" not in data or written == {}:
        return None if only_model is None else {name: {"camera": name, "model": only_model} for name in cameras}
    if not isinstance(written, Mapping):
        return None
    return {name: _inspection(name, inspection, cameras, only_model) for name, inspection in written.items()}


def _inspection(name: str, inspection: object, cameras: list[str], only_model: str | None) -> object:
    if not isinstance(inspection, Mapping):
        return inspection
    filled = dict(inspection)
    if "camera" not in filled and (name in cameras or len(cameras) == 1):
        filled["camera"] = name if name in cameras else cameras[0]
    if "model" not in filled and only_model is not None:
        filled["model"] = only_model
    return filled


def _with_recipe(inspection: object, recipes: Mapping[str, object]) -> object:
    if not isinstance(inspection, Mapping):
        return inspection
    name = inspection.get("recipe")
    return {**inspection, "recipe": recipes[name]} if isinstance(name, str) and name in recipes else inspection
