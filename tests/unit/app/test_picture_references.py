"""app.picture_references: references on the disk, and wishes for them while a daemon runs."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app import picture_references
from edge_runtime.app.picture_references import PictureReferences, ReferenceFiles, Wish
from edge_runtime.core.errors import BusyError, DataError, StorageError
from edge_runtime.core.picture import PictureReference
from edge_runtime.core.picture_reference import PNG, reference_fields
from edge_runtime.pipeline.picture_health import PictureHealth, PictureRules
from edge_runtime.pipeline.pictures import Pictures
from tests.fakes.child import FakeChild
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.core.result import Event
    from edge_runtime.system.process import Child

REFERENCE = PictureReference(1, 64, 48, 40, 90.0, 0.05, None, 0.2, None, PNG + b"a", PNG + b"b")


class Line:
    """A line with one camera, whose loop turns when the test says so."""

    def __init__(self) -> None:
        self.pictures = Pictures("top", PictureHealth(PictureRules()), max_pixels=64 * 48)
        self.child = FakeChild()
        self.pictures.on_started(cast("Child", self.child))
        self.cameras = {"top": SimpleNamespace(pictures=self.pictures), "clip": SimpleNamespace(pictures=None)}
        self.line = SimpleNamespace(within=self._within)
        self.loop = SimpleNamespace(post=self._post)
        self.late: list[Callable[[], None]] = []
        self.busy = False

    def _within(self, seconds: float, begin: Callable[[int], Callable[[], None]]) -> None:
        assert seconds > 10
        self.late.append(begin(0))

    def _post(self, turn: Callable[[], None]) -> bool:
        if self.busy:
            raise BusyError("system.loop_full", "full")
        turn()
        return True

    def answer(self, **message: object) -> None:
        request = self.child.sent[-1]["request"]
        self.pictures.on_message({"op": "reference", "request": request} | message, 0)


class Bench:
    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.files = ReferenceFiles(state_dir)
        self.told: list[Event] = []
        self.noted: list[tuple[str, dict[str, object]]] = []
        self.start()

    def start(self) -> None:
        """Begin another line, as a reload does."""
        self.line = Line()
        self.references = PictureReferences(
            cast("LineService", self.line),
            self.state_dir,
            ManualClock(),
            tell=self.told.append,
            note=lambda kind, fields: self.noted.append((kind, fields)),
        )

    @property
    def used(self) -> PictureReference | None:
        return self.line.pictures.health.reference

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_reference_is_there_when_the_next_line_starts(bench: Bench) -> None:
    assert bench.used is None
    bench.files.save("top", REFERENCE)
    bench.start()
    assert bench.used == REFERENCE
    bench.files.save("top", None)
    bench.files.save("top", None)
    bench.start()
    assert bench.used is None
    assert bench.told == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"schema": "other"}', b"[" * 100_000])
def test_a_damaged_reference_is_set_aside_and_told_and_the_line_runs(bench: Bench, raw: bytes) -> None:
    bench.files.save("top", REFERENCE)
    path = bench.state_dir / "pictures" / "top" / "reference.json"
    path.write_bytes(raw)
    bench.start()
    assert bench.used is None
    assert bench.kinds == ["camera.reference_lost"]
    assert not path.exists()
    assert path.with_name("reference.json.damaged").read_bytes() == raw


def test_a_wish_is_fulfilled_kept_used_told_and_recorded(bench: Bench) -> None:
    bench.references.look()
    bench.files.write_wish("top", Wish("a", 10.0))
    bench.references.look()
    bench.references.look()
    assert [message["op"] for message in bench.line.child.sent].count("make_reference") == 1
    assert bench.used is None
    bench.line.answer(**reference_fields(REFERENCE))
    bench.references.look()
    assert bench.used == REFERENCE
    assert bench.files.load("top") == REFERENCE
    assert bench.files.wish("top") is None
    assert bench.kinds == ["camera.reference"]
    fields = {"camera": "top", "looks": 40, "unjudged": ["blurred", "moved"]}
    assert bench.told[0].fields == fields
    assert bench.noted == [("camera.reference", fields)]


def test_a_reference_is_removed_on_a_wish(bench: Bench) -> None:
    bench.files.save("top", REFERENCE)
    bench.start()
    bench.files.write_wish("top", Wish("a", 0))
    bench.references.look()
    assert bench.used is None
    assert bench.files.load("top") is None
    assert bench.files.wish("top") is None
    assert bench.kinds == ["camera.reference"]


def test_a_refusal_is_written_into_the_wish_and_not_tried_again(bench: Bench) -> None:
    bench.files.write_wish("top", Wish("a", 10.0))
    bench.references.look()
    bench.line.answer(error="too few", help="wait")
    bench.references.look()
    assert bench.files.wish("top") == Wish("a", 10.0, "too few", "wait")
    bench.references.look()
    assert [message["op"] for message in bench.line.child.sent].count("make_reference") == 1
    assert bench.used is None


def test_a_camera_that_gives_none_in_time_is_a_refusal(bench: Bench) -> None:
    bench.files.write_wish("top", Wish("a", 10.0))
    bench.references.look()
    bench.line.late[0]()
    bench.references.look()
    found = bench.files.wish("top")
    assert found is not None
    assert found.error == "camera top gave no reference in time"


def test_a_wish_outlives_the_line_that_began_it(bench: Bench) -> None:
    bench.files.write_wish("top", Wish("a", 10.0))
    bench.references.look()
    bench.start()
    bench.references.look()
    bench.line.answer(**reference_fields(REFERENCE))
    bench.references.look()
    assert bench.used == REFERENCE


def test_a_second_wish_replaces_the_first(bench: Bench) -> None:
    bench.files.write_wish("top", Wish("a", 10.0))
    bench.references.look()
    bench.files.write_wish("top", Wish("b", 10.0))
    bench.references.look()
    assert bench.files.wish("top") == Wish("b", 10.0)
    bench.line.answer(**reference_fields(REFERENCE))
    bench.references.look()
    assert bench.used == REFERENCE


def test_a_loop_that_does_not_turn_is_asked_again(bench: Bench) -> None:
    bench.files.write_wish("top", Wish("a", 10.0))
    bench.line.busy = True
    bench.references.look()
    bench.line.busy = False
    bench.references.look()
    bench.line.answer(**reference_fields(REFERENCE))
    bench.line.busy = True
    bench.references.look()
    assert bench.files.load("top") == REFERENCE  # from the next start on


@pytest.mark.parametrize(
    "fields", [{}, {"id": 1, "seconds": 2}, {"id": "a", "seconds": 61}, {"id": "a", "seconds": "2"}]
)
def test_a_wish_that_is_not_understood_is_taken_away(bench: Bench, fields: dict[str, object]) -> None:
    bench.files.write_wish("top", Wish("a", 1))
    (bench.state_dir / "pictures" / "top" / "wish.json").write_text(json.dumps(fields))
    with pytest.raises(DataError):
        bench.files.wish("top")
    bench.references.look()
    assert bench.files.wish("top") is None


def test_a_disk_that_refuses_costs_the_wish_and_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("storage.full", "no space left", help="free space")

    bench.files.write_wish("top", Wish("a", 10.0))
    bench.references.look()
    bench.line.answer(**reference_fields(REFERENCE))
    with monkeypatch.context() as patch:
        patch.setattr(picture_references, "write_atomic", full)
        bench.references.look()
    assert bench.used is None
    assert bench.files.load("top") is None
    bench.files.write_wish("top", Wish("b", 10.0))
    bench.references.look()
    bench.line.answer(**reference_fields(REFERENCE))
    with monkeypatch.context() as patch:
        patch.setattr(ReferenceFiles, "save", full)
        bench.references.look()
    assert bench.files.wish("top") == Wish("b", 10.0, "no space left", "free space")
    assert bench.told == []


def test_a_directory_that_may_not_be_read_is_survived(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise StorageError("storage.io", "no")

    monkeypatch.setattr(picture_references, "read_limited", broken)
    bench.references.look()
    bench.start()
    assert bench.kinds == ["camera.reference_lost"]
