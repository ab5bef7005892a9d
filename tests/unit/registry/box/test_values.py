"""What passes between processes and over restarts: orders, reports, the last look."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.box.memory import NAME, Look, recall, remember
from edge_runtime.registry.box.order import Order, Want, order_of
from edge_runtime.registry.box.report import Ban, Contact, Held, Report, SlotReport, Standing, Terms, report_of
from edge_runtime.registry.carriers.access import Access
from tests.fakes.tuf_repository import START

if TYPE_CHECKING:
    from collections.abc import Callable

HELD = Held(3, "3.0.0", "sha256:" + "a" * 64, "sha256:" + "b" * 64)
SLOT = SlotReport(
    "defects", "weld", "line-3", Standing.STAGED, "x.y", "because", 4, 5, HELD, HELD, HELD, revoked=True, mended=True
)
TERMS = Terms(7, "shadow", "Sat-Sun,00:00-24:00", 3600.0, {"shadow_frames": 50}, "operator", "hold")
STAGED = SlotReport("s", "m", "c", Standing.STAGED, terms=TERMS, banned=(Ban("sha256:1", "release.killed", "dead"),))
PLAIN = SlotReport("a", "b", "c", Standing.EMPTY)
REPORT = Report(Contact.FROZEN, "trust.frozen", "too old", (SLOT, PLAIN, STAGED), 77)
ORDER = Order(
    root=Path("/state/models"),
    anchor=Path("/etc/root.json"),
    urls=("oci://registry.plant/vision", "oci-layout:/media/usb"),
    access=Access(
        "robot", "hunter2", Path("/ca"), Path("/cert"), Path("/key"), "http://p:1", ("auth:5",), allow_http=True
    ),
    site="plant-a",
    line="line-3",
    edge="box-17",
    wants=(Want("defects", "weld", "line-3", ("side", "top")), Want("caps", "caps")),
    labels={"hall": "north"},
    hardware=("cpu", "npu"),
    versions={"openvino": "2026.1"},
    publisher_keys=(Path("/key.pub"),),
    quota_bytes=5 << 30,
    first=False,
)


def test_an_order_comes_through_a_pipe_as_it_was() -> None:
    assert order_of(json.loads(json.dumps(ORDER.as_fields()))) == ORDER
    least = Order(Path("/m"), Path("/r"), ("oci-layout:/x",), Access(), "s", "l", "e", ())
    assert order_of(json.loads(json.dumps(least.as_fields()))) == least


def test_orders_with_other_answers_are_told_apart_and_how_a_place_is_reached_does_not_count() -> None:
    fields = json.loads(json.dumps(ORDER.as_fields()))
    assert ORDER.fingerprint == order_of(fields | {"access": {"password": "other"}}).fingerprint
    assert ORDER.fingerprint != order_of(fields | {"labels": {}}).fingerprint
    assert "hunter2" not in repr(ORDER)


@pytest.mark.parametrize("missing", ["root", "site", "urls"])
def test_what_is_no_order_is_refused(missing: str) -> None:
    fields: dict[str, Any] = ORDER.as_fields()
    fields[missing] = 5
    with pytest.raises(DataError) as caught:
        order_of(fields)
    assert caught.value.code == "registry.order"


def test_a_report_comes_through_a_pipe_as_it_was() -> None:
    raw = json.dumps(REPORT.as_fields()).encode()
    assert report_of(json.loads(raw), "test") == REPORT


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields.pop("contact"),
        lambda fields: fields.update(contact="fine"),
        lambda fields: fields["slots"][0].update(standing="there"),
        lambda fields: fields["slots"][0].pop("standing"),
        lambda fields: fields["slots"][0].update(seq=-1),
        lambda fields: fields["slots"][0].update(current={"release": 3}),
        lambda fields: fields["slots"][0].update(current=[]),
        lambda fields: fields.update(slots=[5]),
    ],
    ids=range(8),
)
def test_what_is_no_report_is_refused(spoil: Callable[[Any], object]) -> None:
    fields = json.loads(json.dumps(REPORT.as_fields()))
    spoil(fields)
    with pytest.raises(DataError):
        report_of(fields, "test")


def test_what_happened_once_has_not_happened_again() -> None:
    again = REPORT.repeated()
    assert again.fetched_bytes == 0
    assert [one.mended for one in again.slots] == [False] * 3
    assert again.slots[0].revoked


def test_a_report_is_settled_when_looking_again_would_change_nothing() -> None:
    assert Report(Contact.OK, slots=(SLOT,)).is_settled
    assert not REPORT.is_settled
    assert not Report(Contact.OK, slots=(SlotReport("a", "b", "c", Standing.RETRY),)).is_settled


def test_the_last_look_is_remembered_and_a_damaged_memory_is_none(tmp_path: Path) -> None:
    assert recall(tmp_path) is None
    look = Look("sha256:" + "c" * 64, ORDER.fingerprint, START, START + timedelta(days=7), REPORT)
    remember(tmp_path, look)
    assert recall(tmp_path) == look
    raw = (tmp_path / NAME).read_bytes()
    for damaged in (b"", raw[: len(raw) // 2], b"{}", raw.replace(b"edge-look/1", b"edge-look/2"), b"\0" * len(raw)):
        (tmp_path / NAME).write_bytes(damaged)
        assert recall(tmp_path) is None


def test_a_look_that_cannot_be_remembered_costs_nothing_else(tmp_path: Path) -> None:
    remember(tmp_path / "nowhere", Look(None, "", START, START, REPORT))
    assert recall(tmp_path / "nowhere") is None


def test_terms_without_the_number_of_a_rollout_are_none() -> None:
    fields = json.loads(json.dumps(REPORT.as_fields()))
    for slot in fields["slots"]:
        slot["terms"] = {"mode": "active"}
    assert all(one.terms is None for one in report_of(fields, "test").slots)
