"""Commands about the line as an integrator gives them: mosquitto's own clients, a real broker, a real daemon."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until
from tests.integration.test_commands import ROOT, answer
from tests.lines import RECIPES

if TYPE_CHECKING:
    from pathlib import Path


def _config(port: int, state_dir: Path) -> dict[str, Any]:
    recipes = json.loads(json.dumps(RECIPES))  # lists, as YAML has them
    config = line_config(port, state_dir, recipes=recipes)
    config["inspections"]["top"]["recipe"] = "part-a"
    return config


def test_a_paused_line_stays_paused_after_kill_9_and_a_resumed_one_judges_by_the_recipe_that_was_chosen(
    tmp_path: Path,
) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, _config(broker.port, tmp_path / "state")) as daemon:
            listener.wait_for_verdicts(3)
            chosen = answer(broker.port, "recipe.select/top", '{"recipe":"part-b","productId":"B"}', cd="1")
            paused = answer(broker.port, "pause", '{"reason":"shift"}', cd="2")
            assert (chosen["status"], paused["status"]) == (200, 200)
            assert (chosen["durable"], paused["durable"]) == (True, True)
            wait_until(lambda: daemon.counters().get("paused"), 10, "the status says so")
            assert (daemon.counters()["recipe"], daemon.counters()["productId"]) == ("part-b", "B")
            daemon.kill()
            boot = listener.documents[0]["bootId"]
            daemon.start()
            wait_until(lambda: daemon.status().get("bootId", boot) != boot, 30, "the next boot")
            wait_until(lambda: daemon.status()["broker"]["state"] == "online", 30, "the broker")
            wait_until(lambda: daemon.counters().get("droppedBy", {}).get("paused", 0) > 5, 30, "dropped after it")
            again = answer(broker.port, "pause", '{"reason":"shift"}', cd="2")
            assert again == paused, "a repeat gets the same answer"
            resumed = answer(broker.port, "resume/top", "{}", cd="3")
            assert resumed["status"] == 200
            listener.wait_for_verdicts(3)
            first = next(document for document in listener.documents if document["bootId"] != boot)
            assert first["frameId"] >= resumed["fromFrame"]["top"]
            assert (first["recipe"]["id"], first["productId"]) == ("part-b", "B")
            assert daemon.terminate()[0] == 0
        for document in listener.documents:
            if document["recipe"]["id"] == "part-b" and document["bootId"] == boot:
                assert document["frameId"] >= chosen["fromFrame"]
        kinds = [event["kind"] for event in listener.events]
        assert kinds.count("inspection.paused") == 1
        assert next(e for e in listener.events if e["kind"] == "inspection.paused")["fields"]["reason"] == "shift"
        assert listener.audience.proof().complete


def test_a_picture_comes_over_the_broker_and_a_reset_starts_the_line_anew(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, _config(broker.port, tmp_path / "state")) as daemon:
            listener.wait_for_verdicts(3)
            pictures = 0

            def told() -> bool:
                nonlocal pictures
                pictures += 1
                picture = answer(broker.port, "snapshot/top", '{"publish":true,"maxWidth":224}', cd=f"s{pictures}")
                assert (picture["status"], picture["width"]) == (200, 224), picture
                return subscriber.poll() is not None

            wanted = ["mosquitto_sub", "-V", "5", "-p", str(broker.port), "-t", f"{ROOT}/image/top"]
            once = [*wanted, "-C", "1", "-W", "20", "-F", "%C %E %x"]
            with subprocess.Popen(once, stdout=subprocess.PIPE, text=True) as subscriber:
                wait_until(told, 20, "the picture")
                content_type, expiry, body = (subscriber.communicate()[0]).split()
            assert content_type == "image/jpeg"
            assert 0 < int(expiry) <= 30
            assert body.startswith("ffd8ff")
            engine = daemon.child("engine")
            reset = answer(broker.port, "reset", "{}", cd="r", wait_s=25)
            assert reset["status"] == 200, reset
            assert daemon.child("engine") != engine
            shown = answer(broker.port, "config.get", '{"section":"recipes"}', cd="c")
            assert list(shown["settings"]["recipes"]) == [*RECIPES]
            assert daemon.terminate()[0] == 0
        assert listener.audience.proof().complete
