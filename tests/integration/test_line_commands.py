"""Commands on a real line: real camera and engine processes, real files; only the desk before them is left out."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_runtime.core.command import Status
from edge_runtime.core.result import Evaluation, ResultState
from tests.daemons import wait_until
from tests.lines import RunningLine, line_settings

if TYPE_CHECKING:
    from edge_runtime.core.result import Counters


def _identity_holds(counters: Counters) -> bool:
    return counters.captured == counters.inferred + counters.dropped + counters.failed + counters.in_flight


def test_a_changeover_at_full_load_takes_effect_between_two_frames_and_loses_none(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path, capture="every")) as running:
        running.wait_ready()
        first = {}
        for recipe, product in (("part-b", "B"), ("part-a", "A"), ("part-b", None)):
            running.wait_results(15)
            answer = running.do("recipe.select", "top", recipe=recipe, productId=product)
            assert answer.status is Status.DONE, answer
            assert answer.fields["durable"] is True
            first[answer.fields["fromFrame"]] = (recipe, product)
        running.wait_results(15)
    expected = ("part-a", None)
    ids = [result.frame_id for result in running.results]
    assert ids == list(range(1, len(ids) + 1)), "a frame without a result, or out of order"
    for result in running.results:
        expected = first.get(result.frame_id, expected)
        assert result.recipe is not None
        assert (result.recipe.id, result.product_id) == expected, f"frame {result.frame_id}"
    assert len({result.recipe.hash for result in running.results if result.recipe}) == 2
    assert running.kinds.count("recipe.selected") == 3
    assert _identity_holds(running.line.counters()["top"])


def test_a_trigger_is_accepted_at_once_and_its_result_carries_its_ids(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path, trigger="mqtt")) as running:
        running.wait_ready()
        asked = running.ask("trigger", "top", partId="P-77", measId=4711, productId="B", recipe="part-b")
        answer = asked.answer()
        wait_until(lambda: running.results, 10, "the result")
        own = running.do("trigger", None, jobId="J-1")
        wait_until(lambda: len(running.results) > 1, 10, "the second result")
    assert answer.status is Status.ACCEPTED
    result, second = running.results
    assert result.job_id == answer.fields["jobId"]
    assert len(str(result.job_id)) == 36
    assert str(result.job_id)[14] == "7"
    assert (result.part_id, result.meas_id, result.product_id) == ("P-77", "4711", "B")
    assert result.correlation_id == f"{1:032x}"
    assert result.evaluation is not Evaluation.NOT_DECIDABLE
    assert result.recipe is not None
    assert result.recipe.id == "part-b"
    assert second.recipe is not None
    assert (own.fields["jobId"], second.job_id, second.recipe.id) == ("J-1", "J-1", "part-a")


def test_what_cannot_be_triggered_is_refused_and_makes_no_result(tmp_path: Path) -> None:
    settings = line_settings(tmp_path, trigger="mqtt")
    with RunningLine(settings) as running:
        running.wait_ready()
        refused = [
            running.do("trigger", "nobody"),
            running.do("trigger", "top", recipe="part-c"),
            running.do("trigger", "top", recipe="wrong"),
            running.do("trigger", "top", timeoutMs=0),
            running.do("trigger", "top", partId=""),
            running.do("trigger", "top", partId="\ud800"),
            running.do("recipe.select", "top"),
            running.ask("trigger", "top", timeout_s=0.0).answer(),
        ]
        running.do("pause", "top")
        refused.append(running.do("trigger", "top"))
    assert [answer.status.value for answer in refused] == [404, 404, 409, 400, 400, 400, 400, 504, 409]
    assert "no-such-label" in refused[2].message
    assert running.results == []
    assert running.do("trigger", "top").status is Status.UNAVAILABLE
    with RunningLine(line_settings(tmp_path / "other")) as running:
        assert running.do("trigger", "top").status is Status.CONFLICT


def test_a_pause_drops_what_is_captured_since_and_survives_a_restart(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path, capture="every")) as running:
        running.wait_results(5)
        answer = running.do("pause")
        assert (answer.status, answer.fields["changed"]) == (Status.DONE, ["top"])
        again = running.do("pause", "top")
        assert (again.status, again.fields["changed"], again.message) == (
            Status.DONE,
            [],
            "inspection top is paused already",
        )
        until = answer.fields["fromFrame"]["top"]  # type: ignore[index]
        wait_until(lambda: running.line.line.picture.inspections["top"].dropped_by.get("paused", 0) > 5, 10, "drops")
        counters = running.line.counters()["top"]
        assert _identity_holds(counters)
    assert [result.frame_id for result in running.results] == list(range(1, until))
    with RunningLine(line_settings(tmp_path, capture="every")) as reborn:  # another process would read the same file
        reborn.wait_ready()
        wait_until(lambda: reborn.line.counters()["top"].dropped > 5, 10, "drops after the restart")
        assert reborn.results == []
        resumed = reborn.do("resume")
        reborn.wait_results(3)
        assert reborn.results[0].frame_id == resumed.fields["fromFrame"]["top"]  # type: ignore[index]
        assert json.loads((tmp_path / "inspections.json").read_text())["inspections"] == {}
    assert [kind for kind in running.kinds + reborn.kinds if kind.startswith("inspection.")] == [
        "inspection.paused",
        "inspection.resumed",
    ]


def _product(running: RunningLine) -> str | None:
    return running.line.line.stations["top"].inspection.setup.product_id


def test_a_chosen_recipe_survives_a_restart_until_the_configuration_has_it_no_more(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path)) as running:
        assert running.do("recipe.select", "top", recipe="part-b", productId="B").status is Status.DONE
        already = running.do("recipe.select", "top", recipe="part-b", productId="B")
        assert already.message == "inspection top is judged by recipe part-b already"
    with RunningLine(line_settings(tmp_path)) as running:
        assert (running.line.recipe("top").id, _product(running)) == ("part-b", "B")
    recipes = {"part-a": {"not_ok": ()}}
    with RunningLine(line_settings(tmp_path, recipes=recipes)) as running:
        assert (running.line.recipe("top").id, _product(running)) == ("part-a", None)
    assert "recipe.fallback" in running.kinds


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "edge.inspections/1", "inspections": {"top": 3}}'])
def test_a_damaged_state_file_is_moved_aside_and_pauses_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "inspections.json").write_text(content)
    with RunningLine(line_settings(tmp_path)) as running:
        assert running.kinds == ["setups.damaged"]
        assert (tmp_path / "inspections.json.damaged").read_text() == content
        assert not running.line.line.stations["top"].inspection.setup.paused


def test_a_change_that_the_disk_refuses_is_in_force_and_its_answer_says_so(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with RunningLine(line_settings(state_dir)) as running:
        (state_dir / "inspections.json").mkdir()  # not to be replaced by a file
        answer = running.do("pause")
        assert (answer.status, answer.fields["durable"]) == (Status.DONE, False)
        assert "a restart forgets it" in answer.message
        assert running.line.line.stations["top"].inspection.setup.paused
        (state_dir / "inspections.json").rmdir()
        assert running.do("pause").fields["durable"] is True  # asked again, it is written


def test_a_snapshot_is_the_newest_picture_as_jpeg_and_for_this_user_only(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path)) as running:
        running.wait_camera()
        answer = running.do("snapshot", publish=True)
        assert answer.status is Status.DONE, answer
        fields = answer.fields
        path = Path(str(fields["file"]))
        jpeg = path.read_bytes()
        assert (fields["bytes"], fields["sha256"]) == (len(jpeg), "sha256:" + hashlib.sha256(jpeg).hexdigest())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (256, 448, 3)
        assert image.std() > 1
        assert int(str(fields["ageMs"])) < 1000
        assert running.shown == [("top", jpeg)]
        again = running.do("snapshot", "top")
        assert again.status is Status.DONE
        assert running.do("snapshot", "nobody").status is Status.UNKNOWN
        assert len(running.shown) == 1
        # one file for each picture; the camera may not have taken another one yet
        assert set(path.parent.iterdir()) == {path, Path(str(again.fields["file"]))}


def test_snapshots_one_after_the_other_leave_the_frames_alone(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path, capture="every")) as running:
        running.wait_ready()
        statuses = Counter(running.do("snapshot", "top").status for _ in range(20))
        running.wait_results(5)
    assert statuses == {Status.DONE: 20}
    ids = [result.frame_id for result in running.results]
    assert ids == list(range(1, len(ids) + 1))


def _camera_pid() -> int:
    me, found = os.getpid(), []
    for status in Path("/proc").glob("[0-9]*/comm"):
        try:
            is_camera = status.read_text().strip() == "edge:camera/top"
            parents = [(status.parent / "status").read_text()]
        except OSError:
            continue
        if not is_camera:
            continue
        parent = int(next(row for row in parents[0].splitlines() if row.startswith("PPid:")).split()[1])
        try:
            above = (Path("/proc") / str(parent) / "status").read_text()
        except OSError:
            continue
        if f"PPid:\t{me}\n" in above:
            found.append(int(status.parent.name))
    assert len(found) == 1
    return found[0]


def test_a_camera_that_is_killed_during_a_snapshot_answers_unavailable_and_comes_back(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path)) as running:
        running.wait_camera()
        os.kill(_camera_pid(), signal.SIGSTOP)  # so that it is surely in the middle of it
        asked = running.ask("snapshot", "top")
        busy = running.do("snapshot", "top")
        os.kill(_camera_pid(), signal.SIGKILL)
        answer = asked.answer()
        assert busy.status is Status.TOO_MANY
        assert answer.status is Status.UNAVAILABLE
        assert "ended before the picture" in answer.message
        # the answer comes before the new state: what counts is that it streams for the second time
        wait_until(lambda: running.kinds.count("camera.streaming") > 1, 30, "the camera streams again")
        again = running.do("snapshot", "top")
        assert again.status is Status.DONE


def test_a_camera_that_does_not_answer_is_late_after_two_seconds_and_its_late_picture_is_thrown_away(
    tmp_path: Path,
) -> None:
    with RunningLine(line_settings(tmp_path)) as running:
        running.wait_camera()
        pid = _camera_pid()
        os.kill(pid, signal.SIGSTOP)
        answer = running.do("snapshot", "top")
        os.kill(pid, signal.SIGCONT)
        assert answer.status is Status.LATE
        running.wait_camera()
        again = running.do("snapshot", "top")
        assert again.status is Status.DONE
        assert len(list((tmp_path / "snapshots").iterdir())) == 1


def test_a_reset_ends_the_triggers_of_an_inspection_and_keeps_pause_and_counters(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path, trigger="mqtt")) as running:
        running.wait_camera()
        os.kill(_camera_pid(), signal.SIGSTOP)  # no picture will come for them
        for part in ("1", "2"):
            assert running.do("trigger", "top", partId=part).status is Status.ACCEPTED
        running.do("pause", "top")
        answer = running.do("reset", "top")
        os.kill(_camera_pid(), signal.SIGCONT)
        assert (answer.status, answer.fields["aborted"]) == (Status.DONE, 2)
        assert [(r.part_id, r.state, r.reason) for r in running.results] == [
            ("1", ResultState.ABORTED, "aborted: the inspection was reset"),
            ("2", ResultState.ABORTED, "aborted: the inspection was reset"),
        ]
        assert running.line.line.stations["top"].inspection.setup.paused
        counters = running.line.counters()["top"]
        assert counters.failed >= 0
        assert running.do("trigger", "top").status is Status.CONFLICT
        assert "inspection.reset" in running.kinds


def test_a_reset_gives_a_model_that_was_refused_another_chance(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    settings = line_settings(tmp_path, models={"defects": {"path": str(model)}})
    with RunningLine(settings) as running:
        wait_until(lambda: "model.failed" in running.kinds, 30, "the refusal")
        answer = running.do("reset", "top")
        assert answer.fields["modelReloaded"] is True
        wait_until(lambda: running.kinds.count("model.failed") == 2, 30, "the second refusal")


def test_a_reset_of_the_line_is_answered_when_the_new_one_is_ready(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path)) as running:
        running.wait_results(3)
        running.do("recipe.select", "top", recipe="part-b")
        before = running.results[-1].frame_id
        asked = running.ask("reset")
        assert running.restarts.wait(5)
        running.stop()
        assert not asked.answers
        assert running.do("pause").status is Status.UNAVAILABLE
        running.start()
        assert asked.answer().status is Status.DONE
        running.wait_results(3)
        newest = running.results[-1]
        assert newest.frame_id > before
        assert newest.recipe is not None
        assert newest.recipe.id == "part-b"


def test_a_reset_of_a_line_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with RunningLine(line_settings(tmp_path, cameras={"top": {"source": f"images:{tmp_path}/none"}})) as running:
        asked = running.ask("reset", timeout_s=3.0)
        running.stop()
        running.start()
        answer = asked.answer()
        assert answer.status is Status.LATE
        assert "not ready yet" in answer.message


def test_the_configuration_in_force_is_told_without_secrets_and_in_parts(tmp_path: Path) -> None:
    cameras = {
        "top": {"source": "sim:conveyor"},
        "gate": {"source": "rtsp://user:hush-hush@127.0.0.1:1/none"},
    }
    mqtt = {"host": "127.0.0.1", "username": "box", "password": "hush-hush"}
    with RunningLine(line_settings(tmp_path, cameras=cameras, mqtt=mqtt)) as running:
        whole = running.do("config.get")
        part = running.do("config.get", section="recipes")
        assert running.do("config.get", section="secrets").status is Status.UNKNOWN
        assert running.do("config.get", section=True).status is Status.MALFORMED
        assert running.do("snapshot").status is Status.MALFORMED  # two cameras
    text = json.dumps(dict(whole.fields))
    assert "hush-hush" not in text
    assert "127.0.0.1:1" in text
    assert whole.fields["digest"] == part.fields["digest"]
    assert list(part.fields["settings"]) == ["recipes"]  # type: ignore[call-overload]
