from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from edge_runtime.app.plan import HANG_MIN_MS, LATEST_SLOTS, CameraPlan, every_slots, plan_line, recipe_ref
from edge_runtime.config.schema import Settings
from edge_runtime.core.pattern import Pattern
from edge_runtime.pipeline.inspection import Capture
from edge_runtime.pipeline.picture_health import Fault, PictureRules
from edge_runtime.pipeline.recipe import Recipe, Rule


def settings(**more: Any) -> Settings:
    return Settings.model_validate(
        {
            "version": 1,
            "cameras": {
                "top": {"source": "sim:conveyor"},
                "side": {"source": "sim:bars", "capture": "every", "queue": 3},
            },
            "models": {"a": {"path": "a.onnx"}, "b": {"path": "b.onnx", "threads": 3, "device": "onnxruntime:cpu"}},
            "inspections": {
                "one": {"camera": "top", "model": "a", "deadline_ms": 200},
                "two": {"camera": "side", "model": "b", "trigger": {"interval_ms": 50}},
                "three": {"camera": "side", "model": "a", "trigger": "mqtt"},
            },
        }
        | more
    )


def test_models_share_the_processors_unless_the_operator_says_otherwise() -> None:
    a, b = plan_line(settings(), cpus=8).slots
    assert (a.threads, b.threads) == (4, 3)
    assert plan_line(settings(), cpus=1).slots[0].threads == 1


def test_a_device_may_name_its_backend() -> None:
    a, b = plan_line(settings(), cpus=2).slots
    assert (a.backend, a.device) == ("auto", "auto")
    assert (b.backend, b.device) == ("onnxruntime", "cpu")


def test_a_model_with_streams_has_a_frame_more_in_the_engine_and_room_for_them_in_the_ring() -> None:
    wide = {"path": "b.onnx", "threads": 4, "streams": 4}
    plan = plan_line(settings(models={"a": {"path": "a.onnx"}, "b": wide}), cpus=2)
    assert [(s.threads, s.streams, s.workers) for s in plan.slots] == [(1, 1, 2), (4, 4, 5)]
    top, side = plan.cameras
    assert (top.ring_slots, side.ring_slots) == (LATEST_SLOTS, every_slots(3, 5))
    one, two, _ = (item.spec for item in plan.inspections)
    assert (one.queue, two.queue) == (8, every_slots(3, 5))


def test_a_model_never_has_fewer_threads_than_streams() -> None:
    (slot,) = plan_line(
        settings(models={"a": {"path": "a.onnx", "streams": 3}}, inspections={"i": {"camera": "top", "model": "a"}}),
        cpus=2,
    ).slots
    assert (slot.threads, slot.streams) == (3, 3)


def test_cameras_and_inspections_become_what_the_line_is_made_of() -> None:
    plan = plan_line(settings(), cpus=2)
    assert [(c.id, c.capture, c.ring_slots, c.simulated) for c in plan.cameras] == [
        ("top", Capture.LATEST, LATEST_SLOTS, True),
        ("side", Capture.EVERY, every_slots(3), True),
    ]
    one, two, three = (item.spec for item in plan.inspections)
    assert (one.deadline_ms, one.interval_ms, one.on_trigger) == (200, None, False)
    assert (two.interval_ms, two.queue, two.capture) == (50, every_slots(3), Capture.EVERY)
    assert three.on_trigger


def test_an_engine_counts_as_hung_only_after_the_longest_deadline_many_times_over() -> None:
    assert all(slot.hang_ms >= HANG_MIN_MS for slot in plan_line(settings(), cpus=2).slots)


def test_a_recipe_is_known_by_its_content() -> None:
    recipe = Recipe(not_ok=(Rule("scratch", score_min=0.5),))
    assert recipe_ref(recipe) == recipe_ref(Recipe(not_ok=(Rule("scratch", score_min=0.5),)))
    assert recipe_ref(recipe).hash != recipe_ref(Recipe(not_ok=(Rule("scratch", score_min=0.6),))).hash
    assert recipe_ref(recipe).hash.startswith("sha256:")


def test_limits_of_values_belong_to_the_identity_of_a_recipe_that_has_some() -> None:
    usual = '{"id":"default","not_ok":[["width",0.0,0.0,null,null]],"region":null,"version":"1"}'
    assert recipe_ref(Recipe(not_ok=(Rule("width"),))).hash == f"sha256:{hashlib.sha256(usual.encode()).hexdigest()}"
    hashes = {recipe_ref(Recipe(not_ok=(Rule("width", value_above=one),))).hash for one in (None, 1.0, 2.0)}
    assert len(hashes) == 3


def test_a_rule_reaches_the_recipe_with_all_its_limits() -> None:
    rule = {"label": "width", "score_min": 0.5, "area_min_px": 4.0, "count_below": 1, "count_above": 2}
    rule |= {"value_below": -1.5, "value_above": 2.5}
    one = {"camera": "top", "model": "a", "recipe": {"not_ok": (rule,)}}
    made = plan_line(settings(inspections={"one": one}), cpus=2)
    assert made.inspections[0].recipe.not_ok == (Rule(**rule),)


def test_what_a_rule_says_about_texts_is_part_of_the_identity_and_the_others_keep_theirs() -> None:
    plain = Rule("text", count_below=1)
    rules = (plain, replace(plain, text_is="a"), replace(plain, text_matches=Pattern("a")))
    assert len({recipe_ref(Recipe(not_ok=(one,))).hash for one in rules}) == 3
    # of version 0.1, before rules knew texts
    known = "sha256:76710a2ec5ccf612ca9c1659be2fb432fb486bde44a80c996e7f7547d357a021"
    assert recipe_ref(Recipe(not_ok=(plain,))).hash == known


def test_texts_of_a_rule_reach_the_recipe() -> None:
    rules = [
        {"label": "text", "text_is": " VOID ", "count_above": 0},
        {"label": "text", "text_matches": r"LOT \d{6}", "count_below": 1},
    ]
    recipe = {"recipe": {"not_ok": tuple(rules)}}
    plan = plan_line(settings(inspections={"top": {"camera": "top", "model": "a", **recipe}}), cpus=2)
    assert plan.inspections[0].recipe.not_ok == (
        Rule("text", text_is="VOID", count_above=0),
        Rule("text", text_matches=Pattern(r"LOT \d{6}"), count_below=1),
    )


def _camera_plan(camera: dict[str, Any]) -> CameraPlan:
    inspections = {"one": {"camera": "top", "model": "a"}}
    return plan_line(settings(cameras={"top": camera}, inspections=inspections), cpus=2).cameras[0]


def test_pictures_are_looked_at_after_their_frame_and_before_it_where_it_depends_on_them() -> None:
    source = {"source": "rtsp://10.0.0.5/x"}
    assert _camera_plan(source).arguments()["pictures"] == "after"
    assert _camera_plan(source | {"picture": {"not_decidable": True}}).arguments()["pictures"] == "before"
    assert _camera_plan(source | {"picture": False}).arguments()["pictures"] == "never"
    assert _camera_plan(source | {"picture": False}).pictures is None


def test_what_is_looked_for_in_pictures_is_what_the_configuration_says() -> None:
    picture = {"dark": 5, "bright": 0.9, "covered": 0.01, "blurred": 0.2, "moved": 0.1, "after_s": 9, "off": ("dark",)}
    rules = _camera_plan({"source": "v4l2:/dev/video0", "picture": picture}).pictures
    limits = {"dark": 5.0, "bright": 0.9, "covered": 0.01, "blurred": 0.2, "moved": 0.1, "after_s": 9.0}
    assert rules == PictureRules(off=frozenset({Fault.DARK}), **limits)


def test_only_cameras_can_be_frozen() -> None:
    for source in ("file:clip.mp4?loop=1", "images:parts?loop=1", "sim:conveyor"):
        rules = _camera_plan({"source": source}).pictures
        assert rules is not None
        assert rules.off == {Fault.FROZEN}
    for source in ("rtsps://cam/x", "http://cam/x", "v4l2:/dev/video0"):
        assert _camera_plan({"source": source, "picture": True}).pictures == PictureRules()


def test_a_picture_setting_that_is_no_map_is_refused() -> None:
    with pytest.raises(ValueError, match="must be true, false or a map"):
        settings(defaults={"picture": "off"})
