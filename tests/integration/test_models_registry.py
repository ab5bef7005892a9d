"""``models pull``, ``list``, ``activate``, ``rollback``, ``push`` as they are called; the registry is a directory."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.daemon import LOCK_FILE
from edge_runtime.app.deployment_store import DeploymentStore
from edge_runtime.app.doctor import ask_registry
from edge_runtime.cli import dispatch, models_follow
from edge_runtime.cli.models_asked import WANTED
from edge_runtime.config.loader import load_part
from edge_runtime.control.deployment.deployment import Deployment, Policy, State
from edge_runtime.control.deployment.record import SlotRecord
from edge_runtime.registry.documents import Assignment, Match, ModelFloor
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.files import LockFile
from tests.fakes.published import Published, make_files
from tests.release_desk import ReleaseDesk

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
version: 1
site: plant-a
line: line-3
edge: box-17
cameras: {{top: {{source: "sim:conveyor"}}}}
models: {{defects: {{release: weld@line-3}}, fixed: {{path: nowhere.onnx}}}}
inspections: {{top: {{camera: top, model: defects}}}}
registry: {{url: "{url}", root: "{root}"}}
state_dir: state
"""


class Desk:
    """Somebody at a box."""

    def __init__(self, directory: Path, registry: Published, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.config = directory / "edge.yaml"
        self.config.write_text(CONFIG.format(url=registry.url, root=registry.anchor))
        self._capsys = capsys

    def say(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error of ``models ...``."""
        config = () if "--root" in words or words[0] == "push" else ("--config", str(self.config))
        code = dispatch(["models", *words, *config])
        out, err = self._capsys.readouterr()
        return code, out, err

    def ask(self, *words: str) -> Any:
        code, out, err = self.say(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def registry(tmp_path: Path) -> Published:
    return Published(tmp_path / "publisher", now=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def desk(tmp_path: Path, registry: Published, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, registry, capsys)


def test_beside_a_daemon_a_pull_leaves_the_first_release_to_it_which_tries_it_before(
    desk: Desk, registry: Published
) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    state = desk.directory / "state"
    state.mkdir()
    with LockFile(state / LOCK_FILE):
        code, out, _ = desk.say("pull")
    assert (code, out.splitlines()[0]) == (0, "defects: staged")
    assert ModelStore(state / "models").slots.links("defects").current is None


def test_a_release_is_pulled_listed_taken_and_taken_back(desk: Desk, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    code, out, _ = desk.say("pull")
    assert (code, out.splitlines()[0]) == (0, "defects: current")
    registry.release("weld", 2)
    registry.roll_out(Assignment("weld", 2))
    code, out, _ = desk.say("pull", "defects")
    assert (code, out.splitlines()[0]) == (0, "defects: staged")
    assert "take it:  edge-runtime models activate defects" in out
    assert desk.ask("pull")["slots"][0]["staged"]["release"] == 2

    (slot,) = desk.ask("list")["slots"]
    assert (slot["current"]["release"], slot["staged"]["release"], slot["standing"]) == (1, 2, "staged")
    switched = desk.ask("activate", "defects")
    assert (switched["before"]["release"], switched["now"]["release"]) == (1, 2)
    listed = desk.ask("list")
    assert (listed["slots"][0]["standing"], listed["slots"][0]["previous"]["release"]) == ("current", 1)
    assert sorted(one["release"] for one in listed["releases"]) == [1, 2]
    assert listed["floors"]["seq"] == {"plant-a": 2}
    code, out, _ = desk.say("rollback", "defects")
    assert (code, out.splitlines()[0]) == (
        0,
        "defects: release 1 (1.0.0) is current, before it was release 2",
    )
    assert desk.ask("pull")["slots"][0]["standing"] == "staged"
    assert desk.ask("activate", "defects", "--release", "2")["now"]["release"] == 2


def test_the_list_for_people_has_what_runs_what_waits_and_what_else_is_here(desk: Desk, registry: Published) -> None:
    code, out, _ = desk.say("list")
    assert (code, out.splitlines()[0]) == (0, "defects: empty")
    assert "no daemon runs here" in out
    for number in (1, 2, 3):
        registry.release("weld", number)
        registry.roll_out(Assignment("weld", number))
        desk.say("pull")
    code, out, _ = desk.say("list")
    lines = [" ".join(line.split()[:4]) for line in out.splitlines()]
    assert (code, lines[0]) == (0, "defects: staged")
    assert lines[1:3] == ["current release 1 of", "staged release 3 of"]
    assert "also here release 2" in lines
    assert lines[-1].startswith("what the registry says")
    code, out, _ = desk.say("list", "--state-dir", str(desk.directory / "state"))
    assert (code, out.splitlines()[0]) == (0, "defects: staged")


def leave(desk: Desk, registry: Published, state: State, **fields: Any) -> Deployment:
    """Leave what a daemon leaves that is killed while release 3 is on its way beside release 2."""
    for number in (1, 2, 3):
        registry.release("weld", number)
        registry.roll_out(Assignment("weld", number))
        desk.say("pull")
        if number == 2:
            desk.say("activate", "defects")
    (slot,) = desk.ask("list")["slots"]
    store = DeploymentStore(desk.directory / "state" / "models")
    old, new = store.held(slot["current"]["manifest"]), store.held(slot["staged"]["manifest"])
    assert old is not None
    assert new is not None
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    one = Deployment("01", "defects", "weld", new, old, Policy(seq=3), state, noon, begun=True, **fields)
    store.save("defects", SlotRecord(one), one)
    return one


def test_without_a_daemon_a_trial_that_was_judging_is_what_a_rollback_takes_back(
    desk: Desk, registry: Published
) -> None:
    one = leave(desk, registry, State.PROBATION, judged=True)
    _, out, _ = desk.say("list")
    assert "take it:" not in out
    assert "no daemon runs here: nothing is judged" in out
    code, out, _ = desk.say("rollback", "defects")
    assert (code, out.splitlines()[0]) == (
        0,
        "defects: the trial of release 3 (3.0.0) is taken back; release 2 (2.0.0) is current as before",
    )
    store = DeploymentStore(desk.directory / "state" / "models")
    links = store.links("defects")
    assert one.previous is not None
    assert (links.current, links.trial) == (one.previous.manifest, None)
    ended = store.load("defects").deployment
    assert ended is not None
    assert (ended.state, ended.reason) == (State.ROLLED_BACK, "operator.rollback")
    assert store.store.quarantine.refusal(one.candidate.manifest, 3) is not None, "the next daemon leaves it alone"
    code, out, _ = desk.say("rollback", "defects")
    assert (code, out.splitlines()[0]) == (0, "defects: release 1 (1.0.0) is current, before it was release 2")


@pytest.mark.parametrize(
    ("state", "reason", "hint"),
    [
        (State.WAITING, "wait.approval", "agree: edge-runtime command model.approve defects --sign KEYFILE"),
        (State.WAITING, "wait.lot", "nobody has said yet whether a lot is running"),
        (State.WAITING, "wait.hold", "lift it: edge-runtime command model.hold defects --arg hold=false"),
        (State.PROBATION, None, "take it back: edge-runtime models rollback defects"),
        (State.REJECTED, "gate.disagreement", "what judged before it judges on"),
    ],
)
def test_the_list_says_what_to_do_and_never_to_pass_over_what_a_release_waits_for(
    desk: Desk, registry: Published, state: State, reason: str | None, hint: str
) -> None:
    leave(desk, registry, state, reason=reason)
    with LockFile(desk.directory / "state" / LOCK_FILE):
        code, out, _ = desk.say("list")
    assert (code, hint in out, "models activate" in out, "no daemon" in out) == (0, True, False, False), out
    assert "also here  release 3" not in out


@pytest.mark.parametrize("words", [("pull",), ("activate", "defects"), ("rollback", "defects")])
def test_root_leaves_nothing_that_the_daemon_of_another_user_cannot_read(
    desk: Desk, registry: Published, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(models_follow, "_owner", lambda _: 4_000_000)
    code, _, err = desk.say(*words)
    assert (code, "sudo -u '#4000000' edge-runtime models" in err) == (77, True)
    assert not (desk.directory / "state").exists()


def test_the_box_asks_its_registry_when_it_is_examined(desk: Desk, registry: Published) -> None:
    settings = load_part(desk.config, environ={}, wanted=WANTED).settings
    (said,) = ask_registry(settings)
    assert (said.level, registry.url in said.what) == ("fail", True)
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    (said,) = ask_registry(settings)
    assert said.level == "ok"
    assert "1 releases of weld, rollout 1 for plant-a" in said.what
    assert not (desk.directory / "state").exists()
    registry.tuf.now -= timedelta(days=8)
    registry.publish()
    (said,) = ask_registry(settings)
    assert (said.level, "expired" in said.what) == ("fail", True)
    nothing = settings.model_copy(update={"models": {"fixed": settings.models["fixed"]}})
    (said,) = ask_registry(nothing)
    assert said.level == "warn"
    assert list(ask_registry(settings.model_copy(update={"registry": None}))) == []


def test_a_box_without_a_configuration_says_all_of_it_on_the_command_line(
    desk: Desk, registry: Published, tmp_path: Path
) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    place = ("--root", str(registry.anchor), "--site", "plant-a", "--state-dir", str(tmp_path / "here"))
    code, out, err = desk.say("pull", registry.url, "weld@line-3", *place)
    assert (code, err) == (0, "")
    assert out.startswith("weld: current\n")
    assert (tmp_path / "here" / "models" / "slots" / "weld" / "current" / "model.onnx").exists()
    code, out, err = desk.say("pull", registry.url, "--root", str(registry.anchor), "--site", "plant-a")
    assert code == 78
    assert "needed too: --state-dir, MODEL" in err


def test_a_stick_is_another_place_of_the_same_registry(desk: Desk, registry: Published, tmp_path: Path) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    stick = tmp_path / "usb"
    (registry.directory / "registry").rename(stick)
    code, out, _ = desk.say("pull")
    assert code != 0
    code, out, _ = desk.say("pull", f"oci-layout:{stick}")
    assert (code, out.splitlines()[0]) == (0, "defects: current")


def test_what_must_not_run_is_not_activated(desk: Desk, registry: Published) -> None:
    first = registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    desk.say("pull")
    registry.release("weld", 2)
    registry.roll_out(Assignment("weld", 2))
    desk.say("pull")
    desk.say("activate", "defects")
    registry.tuf.set_floors(weld=ModelFloor(0, frozenset({first.digest})))
    registry.publish()
    desk.say("pull")
    code, _, err = desk.say("rollback", "defects")
    assert code == 65
    assert "revoked by its publisher" in err
    code, _, err = desk.say("activate", "defects", "--release", "1")
    assert code == 65
    code, _, err = desk.say("activate", "defects", "--release", "7")
    assert (code, "here are: 1, 2" in err) == (65, True)
    code, _, err = desk.say("activate", "fixed")
    assert (code, "those that have: defects" in err) == (65, True)


def test_attack_41_a_previous_release_that_was_tampered_with_is_not_gone_back_to(
    desk: Desk, registry: Published, tmp_path: Path
) -> None:
    for number in (1, 2):
        registry.release("weld", number)
        registry.roll_out(Assignment("weld", number))
        desk.say("pull")
    desk.say("activate", "defects")
    weights = (tmp_path / "state" / "models" / "slots" / "defects" / "previous").resolve() / "model.onnx"
    weights.chmod(0o640)
    weights.write_bytes(b"weights of weld X")
    code, _, err = desk.say("rollback", "defects")
    assert (code, "does not hold" in err) == (65, True)
    store = ModelStore(tmp_path / "state" / "models")
    assert store.slots.links("defects").current == registry.manifests["weld", 2].digest


def test_exit_codes_say_what_kind_of_trouble_it_is(desk: Desk, registry: Published, tmp_path: Path) -> None:
    registry.release("weld", 1, make_files("weld", 3))
    registry.roll_out(Assignment("weld", 1))
    assert desk.say("pull")[0] == 65
    registry.release("weld", 2)
    registry.roll_out(Assignment("weld", 2))
    blob = registry.blob_path(registry.manifests["weld", 2])
    blob.rename(blob.with_suffix(".away"))
    assert desk.say("pull")[0] == 75
    with ModelStore(tmp_path / "state" / "models").updating():
        assert desk.say("pull")[0] == 75
    registry.tuf.now -= timedelta(days=8)
    registry.publish()
    code, out, _ = desk.say("pull")
    assert (code, out.startswith("registry: FROZEN: timestamp.json expired")) == (69, True)


def test_a_packed_release_is_pushed_and_not_taken_before_it_is_signed(
    desk: Desk, registry: Published, tmp_path: Path
) -> None:
    registry.publish()
    package = tmp_path / "package"
    package.mkdir()
    for name, raw in make_files("weld", 5).items():
        (package / name).write_bytes(raw)
    pushed = desk.ask("push", str(package), registry.url)
    assert (pushed["model"], pushed["release"]) == ("weld", 5)
    assert desk.ask("push", str(package), registry.url) == pushed
    registry.roll_out(Assignment("weld", 5))
    code, out, _ = desk.say("pull")
    assert (code, "has not signed releases/weld/5.json" in out) == (65, True)


def test_an_older_stick_is_refused_with_a_way_out(desk: Desk, registry: Published, tmp_path: Path) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    shutil.copytree(registry.url.removeprefix("oci-layout:"), tmp_path / "stick")
    registry.roll_out(Assignment("weld", 1, percent=50))
    desk.say("pull")
    code, out, _ = desk.say("pull", f"oci-layout:{tmp_path / 'stick'}")
    assert (code, "bring a newer stick" in out) == (65, True)


def test_a_slot_that_gets_nothing_says_what_to_compare(desk: Desk, registry: Published) -> None:
    registry.release("weld", 1)
    registry.release("paint", 1)
    registry.roll_out(Assignment("paint", 1))
    _, out, _ = desk.say("pull")
    assert "names no release of weld, only of paint; compare release: here" in out
    registry.roll_out(Assignment("weld", 1, match=Match(line=("line-9",))))
    _, out, _ = desk.say("pull")
    assert "for others than slot defects of plant-a/line-3/box-17; compare line, edge" in out
    desk.config.write_text(desk.config.read_text().replace("site: plant-a", "site: plant-b"))
    _, out, _ = desk.say("pull")
    assert "the registry has no rollout for the site plant-b; compare site: here" in out
    _, doubt = ask_registry(load_part(desk.config, environ={}, wanted=WANTED).settings)
    assert (doubt.level, "no rollout for the site plant-b" in doubt.what) == ("warn", True)


def test_a_root_of_trust_that_is_none_or_of_another_registry_is_named(
    desk: Desk, registry: Published, tmp_path: Path
) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    with ReleaseDesk(tmp_path / "other", f"oci-layout:{tmp_path / 'elsewhere'}") as other:
        root = other.root
    bare = ("--site", "plant-a", "--state-dir", str(tmp_path / "bare"), "--root")
    _, out, _ = desk.say("pull", registry.url, "weld", *bare, str(root))
    assert "the root.json here is that of another registry" in out
    code, _, err = desk.say("pull", registry.url, "weld", *bare, str(desk.config))
    assert (code, str(desk.config) in err) == (78, True)
