"""What is said about a look: only what is new."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from edge_runtime.app.release_news import document, news
from edge_runtime.registry.box.report import Contact, Held, Report, SlotReport, Standing

ONE = Held(1, "1.0.0", "sha256:" + "a" * 64, "sha256:" + "b" * 64)
TWO = Held(2, "2.0.0", "sha256:" + "c" * 64, "sha256:" + "d" * 64)
EMPTY = SlotReport("defects", "weld", "stable", Standing.EMPTY)
CURRENT = replace(EMPTY, standing=Standing.CURRENT, current=ONE, wanted=1, seq=1)
STAGED = replace(CURRENT, standing=Standing.STAGED, staged=TWO, wanted=2, seq=2)


def report(*slots: SlotReport, contact: Contact = Contact.OK, reason: str | None = None) -> Report:
    return Report(contact, reason, None if reason is None else f"because of {reason}", slots)


def kinds(before: Report | None, now: Report) -> list[str]:
    return [one.kind for one in news(before, now)]


def test_the_first_look_says_what_a_slot_has_and_nothing_about_a_registry_that_is_well() -> None:
    assert kinds(None, report(EMPTY)) == []
    assert kinds(None, report(CURRENT)) == ["model.current"]
    assert kinds(None, report(STAGED)) == ["model.current", "model.staged"]


def test_nothing_new_is_nothing_said() -> None:
    for one in (EMPTY, CURRENT, STAGED, replace(CURRENT, revoked=True), replace(EMPTY, standing=Standing.REFUSED)):
        assert kinds(report(one), report(one)) == []


def test_what_arrives_waits_and_is_taken_is_said_once_each() -> None:
    taken = replace(CURRENT, current=TWO, previous=ONE, wanted=2, seq=2)
    steps = [report(one) for one in (EMPTY, CURRENT, CURRENT, STAGED, STAGED, taken)]
    said = [kinds(before, now) for before, now in pairwise(steps)]
    assert said == [["model.current"], [], ["model.staged"], [], ["model.current"]]


def test_a_refusal_names_its_release_and_its_reason() -> None:
    refused = replace(CURRENT, standing=Standing.REFUSED, wanted=2, reason="package.contents", message="it is another")
    (said,) = news(report(CURRENT), report(refused))
    assert (said.kind, said.fields["reason"]) == ("model.refused", "package.contents")
    assert said.message == "slot defects: release 2 of weld is refused: it is another"
    (said,) = news(report(CURRENT), report(replace(refused, wanted=None)))
    assert said.message == "slot defects: what is rolled out is refused: it is another"


def test_a_revoked_release_that_runs_is_an_alarm_with_its_digests() -> None:
    (said,) = news(report(CURRENT), report(replace(CURRENT, revoked=True)))
    assert said.kind == "model.revoked"
    assert (said.fields["release"], said.fields["manifest"]) == (1, ONE.manifest)


def test_a_registry_that_goes_and_comes_back_is_said() -> None:
    away = report(CURRENT, contact=Contact.UNREACHABLE, reason="registry.timeout")
    frozen = report(CURRENT, contact=Contact.FROZEN, reason="trust.frozen")
    assert kinds(report(CURRENT), away) == ["registry.unreachable"]
    assert kinds(away, frozen) == ["registry.frozen"]
    assert kinds(frozen, report(CURRENT)) == ["registry.ok"]
    (said,) = news(None, report(contact=Contact.REFUSED, reason="trust.rollback"))
    assert (said.kind, said.fields) == ("registry.refused", {"reason": "trust.rollback"})


def test_what_was_mended_is_said() -> None:
    assert kinds(report(CURRENT), report(replace(CURRENT, mended=True))) == ["model.mended"]


def test_the_document_of_a_slot_has_all_of_it() -> None:
    registry = {"state": "ok", "reason": None, "message": None, "checkedAt": None}
    fields = document(STAGED, registry, None)  # type: ignore[arg-type]  # a literal
    assert fields["current"] == {"release": 1, "version": "1.0.0", "digest": ONE.digest, "manifest": ONE.manifest}
    assert (fields["state"], fields["wanted"], fields["registry"]) == ("staged", 2, registry)
    assert fields["previous"] is None
