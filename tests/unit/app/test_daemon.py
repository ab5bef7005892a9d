"""The daemon's decisions; what it does as a process is in tests/integration/test_daemon.py."""

from __future__ import annotations

import itertools
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.daemon import LOCK_FILE, Control, Daemon, Environment, Wish
from edge_runtime.app.plan import plan_line
from edge_runtime.app.reload_vet import loaded
from edge_runtime.core.errors import DataError
from edge_runtime.pipeline.vet_link import VetReport
from edge_runtime.system.files import LockFile
from edge_runtime.system.service import Stop
from tests.fakes.settings import make_settings

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from edge_runtime.config.schema import Settings
    from edge_runtime.core.errors import EdgeError
    from edge_runtime.core.result import Event


class _Delivery:
    def __init__(self, depth: int = 0) -> None:
        self.events: list[str] = []
        self.spool = SimpleNamespace(stats=lambda: SimpleNamespace(depth=depth))
        self.noted: list[str] = []
        self.desk = SimpleNamespace(note=lambda kind, _: self.noted.append(kind))

    def put(self, event: Event) -> None:
        self.events.append(event.kind)


def _reload(before: Path, after: Path, depth: int = 0) -> tuple[Path, list[str]]:
    """Reload a configuration with another state directory; return the one that counts then, and the events."""
    delivery = _Delivery(depth)
    old, new = make_settings(state_dir=str(before)), make_settings(state_dir=str(after))
    daemon = Daemon(old, Control(), reload=lambda: new, environment=Environment(None, None))
    daemon._loaded = loaded(plan_line(old, cpus=1).slots)
    taken = daemon._reloaded(*_running(delivery))
    assert taken is (delivery.events == ["config.reloaded"])
    assert delivery.noted == delivery.events, "the audit trail has it too"
    return daemon._settings.state_dir, delivery.events


def _running(delivery: _Delivery, error: EdgeError | None = None) -> Any:
    """What runs while it is reloaded; a model that is tried ends with ``error``."""
    line = SimpleNamespace(vet=lambda _spec, name, on_end: (delivery.noted.append(name), on_end(VetReport(error))))
    return SimpleNamespace(delivery=delivery, failed=False), line, SimpleNamespace(stop=Stop())


@pytest.mark.parametrize("error", [None, DataError("model.hangs", "it hangs")])
def test_a_model_that_a_reload_names_is_tried_before_the_line_is_ended(tmp_path: Path, error: EdgeError | None) -> None:
    delivery = _Delivery()
    (tmp_path / "new.onnx").write_bytes(b"model")
    old = make_settings(state_dir=str(tmp_path))
    name = next(iter(old.models))
    new = make_settings(state_dir=str(tmp_path), models={name: {"path": str(tmp_path / "new.onnx")}})
    daemon = Daemon(old, Control(), reload=lambda: new, environment=Environment(None, None))
    daemon._loaded = loaded(plan_line(old, cpus=1).slots)
    assert daemon._reloaded(*_running(delivery, error)) is (error is None)
    assert daemon._settings is (old if error else new)
    assert delivery.noted[0] == f"reload/{name}"
    daemon._loaded = loaded(plan_line(new, cpus=1).slots)
    daemon._reloaded(*_running(delivery, DataError("model.hangs", "it hangs")))
    assert delivery.noted.count(f"reload/{name}") == 1, "what runs is not tried again"
    (tmp_path / "new.onnx").write_bytes(b"another model")
    assert not daemon._reloaded(*_running(delivery, DataError("model.hangs", "it hangs")))


def test_a_trial_that_nobody_waits_for_any_more_ends_a_reload(tmp_path: Path) -> None:
    delivery = _Delivery()
    new = make_settings(state_dir=str(tmp_path))
    daemon = Daemon(new, Control(), reload=lambda: new, environment=Environment(None, None))
    parts, line, group = _running(delivery)
    line.vet = lambda *_: daemon._control.stop()
    assert not daemon._reloaded(parts, line, group)
    assert delivery.events == ["config.refused"]


@pytest.mark.timeout(20)
def test_a_stop_is_neither_lost_nor_a_deadlock_at_whatever_instruction_of_a_wait_the_signal_comes() -> None:
    before = sys.gettrace()
    for number in itertools.count(1):
        control, seen = Control(), 0
        control.reload()

        def trace(frame: FrameType, event: str, _: object, control: Control = control, at: int = number) -> object:
            nonlocal seen
            frame.f_trace_opcodes = True
            seen += event == "opcode"
            if event == "opcode" and seen == at:
                control.stop()  # what the handler does, between two instructions of the main thread
            return trace

        sys.settrace(trace)
        try:
            control.wait(0.01)
        finally:
            sys.settrace(before)
        if seen < number:
            break
        assert control.wait(0.01) is Wish.STOP, f"lost at instruction {number}"
    assert number > 10


def test_reloads_that_nobody_has_taken_are_one_and_a_stop_stays() -> None:
    control = Control()
    assert control.wait(0) is None
    control.reload()
    control.reload()
    assert [control.wait(0), control.wait(0)] == [Wish.RELOAD, None]
    control.stop()
    control.reload()
    assert [control.wait(0), control.wait(0)] == [Wish.STOP, Wish.STOP]


@pytest.mark.parametrize("held", [False, True], ids=["it cannot be made", "another daemon holds it"])
def test_a_reload_with_a_state_directory_that_cannot_be_used_leaves_the_old_one(tmp_path: Path, *, held: bool) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    if held:
        new.mkdir()
    else:
        new.write_text("a file has the name")
    with LockFile(new / LOCK_FILE) if held else nullcontext():
        assert _reload(old, new) == (old, ["config.refused"])


def test_a_reload_takes_a_state_directory_that_is_free_and_lets_go_of_it_again(tmp_path: Path) -> None:
    assert _reload(tmp_path / "old", tmp_path / "new") == (tmp_path / "new", ["config.reloaded"])
    with LockFile(tmp_path / "new" / LOCK_FILE):
        pass


def test_results_that_a_reload_leaves_behind_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _reload(tmp_path / "old", tmp_path / "new", depth=3)
    assert f"3 results that no broker has acknowledged stay in {tmp_path / 'old'}" in caplog.text
    caplog.clear()
    _reload(tmp_path / "new", tmp_path / "new", depth=3)
    assert caplog.text == ""


def test_the_daemons_own_state_directory_by_another_name_is_not_held_by_somebody_else(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.symlink_to(old)
    with LockFile(old / LOCK_FILE):
        assert _reload(old, new) == (new, ["config.reloaded"])


def test_a_reload_during_which_the_kernel_refuses_something_is_refused_too() -> None:
    def refused() -> Settings:
        raise OSError(36, "File name too long", "edge.yaml")

    delivery, old = _Delivery(), make_settings()
    daemon = Daemon(old, Control(), reload=refused, environment=Environment(None, None))
    assert daemon._reloaded(*_running(delivery)) is False
    assert (daemon._settings, delivery.events) == (old, ["config.refused"])
