"""Every way of being refused, repeated, late and interrupted; the files are real, the threads are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from edge_runtime.control.commands import lane as lanes
from edge_runtime.control.commands.letter import LIMIT_BYTES
from edge_runtime.core.command import Answer, Command, Reply, Status
from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.mqtt.link import Inbound
from tests.fakes.clock import ManualClock
from tests.fakes.desk import ROOT, DeskBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = b"\x7f\x00\xaa"
MINE = {"correlation": ID, "response_topic": f"{ROOT}/reply/scada"}
NOW = "2027-01-15T08:00:00Z"  # of the manual clock


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[DeskBench]:
    bench = DeskBench(tmp_path)
    yield bench
    bench.close()


def statuses(answers: list[dict[str, Any]]) -> list[int]:
    return [answer["status"] for answer in answers]


def test_a_command_is_carried_out_and_answered_where_its_caller_wants(bench: DeskBench) -> None:
    (answer,) = bench.say("trigger/top", {"partId": "P-77"}, expiry_s=7, **MINE)
    Draft202012Validator(catalogue.schema("reply")).validate(answer)
    assert answer | {"id": "", "ts": ""} == {
        "schema": "vision.reply/1",
        "id": "",
        "correlationId": "7f00aa",
        "verb": "trigger",
        "target": "top",
        "status": 202,
        "statusText": "accepted",
        "message": "done",
        "jobId": "j-1",
        "ts": "",
        "site": "plant-a",
        "line": "line-3",
        "edge": "box-17",
        "bootId": answer["bootId"],
    }
    (sent,) = bench.posted
    assert (sent.topic, sent.correlation, sent.content_type) == (f"{ROOT}/reply/scada", ID, "application/json")
    assert (dict(sent.headers)["status"], sent.expiry_s, sent.retain, sent.qos) == ("202", 7, False, 1)
    (command,) = bench.line.done
    assert (command.verb, command.target, command.arguments) == ("trigger", "top", {"partId": "P-77"})
    assert (command.correlation_id, command.principal) == ("7f00aa", "scada")
    assert command.deadline_mono_ns == bench.clock.mono_ns() + 7_000_000_000


def test_without_a_response_topic_the_answer_is_found_by_the_id(bench: DeskBench) -> None:
    bench.say("pause", {}, correlation=ID)
    bench.say("pause", {"correlationId": "plc-1"})
    bench.say("pause", {"correlationId": "plc-2", "replyTo": f"{ROOT}/reply/plc/answers"})
    topics = [one.topic.removeprefix(ROOT) for one in bench.posted]
    assert topics == ["/reply/7f00aa", "/reply/plc-1", "/reply/plc/answers"]
    assert [command.principal for command in bench.line.done] == ["anonymous", "anonymous", "plc"]


@pytest.mark.parametrize(
    "topic",
    [
        "vision/plant-a/line-3/box-18/reply/x",
        f"{ROOT}/cmd/reset",
        f"{ROOT}/reply",
        f"{ROOT}/reply//x",
        f"{ROOT}/reply/a/b/c/d/e",
    ],
)
def test_nobody_can_have_us_publish_elsewhere(bench: DeskBench, topic: str) -> None:
    assert bench.say("pause", {}, correlation=ID, response_topic=topic) == []
    assert statuses(bench.say("pause", {"correlationId": "x", "replyTo": topic})) == [403]
    assert {one.topic for one in bench.posted} == {f"{ROOT}/reply/x"}
    assert bench.line.done == []
    assert [one["outcome"]["reason"] for one in bench.records("command.refused")] == ["reply_topic"] * 2


REFUSALS: dict[str, tuple[str, object, dict[str, Any], int, str]] = {
    "oversized": ("pause", b" " * (LIMIT_BYTES + 1), MINE, 413, "oversized"),
    "no JSON": ("pause", b"{not json", MINE, 400, "json"),
    "no object": ("pause", b"7", MINE, 400, "json"),
    "empty": ("pause", b"", MINE, 400, "json"),
    "not UTF-8": ("pause", b"\xff\xfe", MINE, 400, "json"),
    "duplicate keys": ("pause", b'{"reason": "a", "reason": "b"}', MINE, 400, "json"),
    "NaN": ("replay/top", b'{"fromSeq": NaN, "toSeq": 2}', MINE, 400, "json"),
    "deep": ("pause", b'{"a":' * 10_000, MINE, 400, "json"),
    "huge number": ("pause", b"9" * 6000, MINE, 400, "json"),
    "half a surrogate pair": ("pause", rb'{"reason": "\ud800"}', MINE, 400, "json"),
    "unknown verb": ("explode/top", {}, MINE, 404, "unknown_verb"),
    "no verb": ("", {}, MINE, 404, "unknown_verb"),
    "too many levels": ("pause/top/now", {}, MINE, 404, "unknown_verb"),
    "unknown field": ("pause", {"raeson": "x"}, MINE, 400, "field"),
    "missing field": ("replay/top", {"fromSeq": 1}, MINE, 400, "field"),
    "wrong type": ("pause", {"reason": 7}, MINE, 400, "field"),
    "wrong number": ("replay/top", {"fromSeq": 0, "toSeq": 2}, MINE, 400, "field"),
    "true for a number": ("replay/top", {"fromSeq": True, "toSeq": 2}, MINE, 400, "field"),
    "field of another verb": ("spool.requeue", {"recipe": "a"}, MINE, 400, "field"),
    "long text": ("pause", {"reason": "x" * 257}, MINE, 400, "field"),
    "trigger without inspection": ("trigger", {}, MINE, 400, "field"),
    "trigger with an object for an id": ("trigger/top", {"partId": {}}, MINE, 400, "field"),
    "correlation data too long": (
        "pause",
        {},
        {"correlation": b"x" * 65, "response_topic": f"{ROOT}/reply/s"},
        400,
        "field",
    ),
    "expired": ("pause", {"expiresAt": NOW}, MINE, 410, "expired"),
    "expired elsewhere": ("pause", {"expiresAt": "2027-01-15T08:59:59.9+01:00"}, MINE, 410, "expired"),
    "expired long ago": ("pause", {"expiresAt": "0001-01-01T00:00:00+14:00"}, MINE, 410, "expired"),
    "expired by the broker": ("pause", {}, MINE | {"expiry_s": 0}, 410, "expired"),
    "no offset": ("pause", {"expiresAt": "2027-01-15T08:00:01"}, MINE, 400, "field"),
    "no time": ("pause", {"expiresAt": "tomorrow"}, MINE, 400, "field"),
    "no time at all": ("pause", {"expiresAt": 5}, MINE, 400, "field"),
    "unsigned": ("model.update/defects", {"release": "m"}, MINE, 401, "unsigned"),
    "bad id": ("pause", {"correlationId": "a/b"}, {"response_topic": f"{ROOT}/reply/s"}, 400, "field"),
    "no id": ("pause", {}, {"response_topic": f"{ROOT}/reply/s"}, 400, "no_id"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_a_command_is_refused_answered_and_recorded(bench: DeskBench, case: str) -> None:
    topic, body, message, status, reason = REFUSALS[case]
    answers = bench.say(topic, body, **message)
    # a refusal is answered wherever the caller could be understood to want it
    assert statuses(answers) == ([status] if case != "correlation data too long" else [])
    for answer in answers:
        Draft202012Validator(catalogue.schema("reply")).validate(answer)
    assert bench.line.done == []
    (record,) = bench.records("command.refused")
    assert (record["outcome"]["status"], record["outcome"]["reason"]) == (status, reason)
    assert bench.desk.figures()["refused"] == {reason: 1}
    (event,) = bench.events
    assert (event.kind, event.fields["auditSeq"]) == ("command.audit", record["seq"])


def test_a_verb_that_is_mistyped_is_answered_with_the_one_that_was_meant(bench: DeskBench) -> None:
    (said,) = bench.say("model.aprove/defects", {}, **MINE)
    assert said["message"] == "there is no command 'model.aprove/defects', did you mean model.approve?"


def test_a_retained_command_is_neither_executed_nor_answered(bench: DeskBench) -> None:
    assert bench.say("pause", {}, retain=True, **MINE) == []
    assert bench.line.done == []
    (record,) = bench.records("command.refused")
    assert (record["outcome"]["status"], record["outcome"]["reason"]) == (403, "retained")


def test_a_trigger_without_id_works_as_it_always_has(bench: DeskBench) -> None:
    for body in (b"", b" \n", b'{"partId": "P-1", "more": [1]}'):
        assert bench.say("trigger/top", body) == []
    assert [command.arguments for command in bench.line.done] == [{}, {}, {"partId": "P-1"}]
    assert bench.events == []
    bench.say("trigger/top", b"{not json")
    bench.say("trigger/top", b"{}", retain=True)
    bench.say("trigger/top", {"correlationId": "any text, as it ever was"})
    assert [event.kind for event in bench.events] == ["command.refused"] * 2
    assert bench.line.done[-1].correlation_id == "any text, as it ever was"


def test_a_repeat_gets_the_same_bytes_and_nothing_is_carried_out_again(bench: DeskBench) -> None:
    (first,) = bench.say("trigger/top", {"partId": "P-77"}, **MINE)
    bench.clock.advance_ms(1000)
    (again,) = bench.say("trigger/top", b'{ "partId":"P-77" }', **MINE)
    assert first == again
    assert len(bench.line.done) == 1
    assert bench.desk.figures()["repeated"] == 1


def test_a_repeat_that_writes_out_the_default_response_topic_is_one(bench: DeskBench) -> None:
    first = bench.say("reset/top", {}, correlation=ID)
    assert bench.say("reset/top", {}, correlation=ID, response_topic=f"{ROOT}/reply/7f00aa") == first
    plc = bench.say("reset/top", {"correlationId": "plc-1"})
    assert bench.say("reset/top", {"correlationId": "plc-1", "replyTo": f"{ROOT}/reply/plc-1"}) == plc
    assert len(bench.line.done) == 2


def test_a_repeat_while_the_first_runs_is_answered_when_that_ends(bench: DeskBench) -> None:
    bench.line.held = {"snapshot"}
    assert bench.say("snapshot/top", {}, **MINE) == []
    assert bench.say("snapshot/top", {}, **MINE) == []
    bench.line.open[0](Answer(Status.DONE, "here"))
    bench.work()
    assert [json.loads(one.body)["message"] for one in bench.posted] == ["here", "here"]
    assert len(bench.line.done) == 1
    for _ in range(2):  # a second answer is ignored
        bench.line.open[0](Answer(Status.FAILED, "again"))
    bench.work()
    assert len(bench.posted) == 2


def test_repeats_that_wait_are_bounded(bench: DeskBench) -> None:
    bench.line.held = {"snapshot"}
    found = [bench.say("snapshot/top", {}, **MINE) for _ in range(18)]
    assert [statuses(answers) for answers in found] == [[]] * 17 + [[429]]


def test_an_id_cannot_be_used_for_another_command(bench: DeskBench) -> None:
    bench.say("trigger/top", {"partId": "P-77"}, **MINE)
    assert statuses(bench.say("trigger/top", {"partId": "P-78"}, **MINE)) == [409]
    assert statuses(bench.say("trigger/bottom", {"partId": "P-77"}, **MINE)) == [409]
    assert statuses(bench.say("pause", {}, **MINE)) == [409]
    elsewhere = MINE | {"response_topic": f"{ROOT}/reply/mes"}
    assert statuses(bench.say("trigger/top", {"partId": "P-78"}, **elsewhere)) == [202], "ids are each caller's own"


def test_the_answer_survives_a_restart(tmp_path: Path) -> None:
    first = DeskBench(tmp_path)
    (answer,) = first.say("trigger/top", {"partId": "P"}, **MINE)
    first.close()
    second = DeskBench(tmp_path)
    assert second.say("trigger/top", {"partId": "P"}, **MINE) == [answer]
    assert second.line.done == []
    second.close()


def test_what_was_begun_and_never_answered_is_not_carried_out_again(tmp_path: Path) -> None:
    killed = DeskBench(tmp_path)
    killed.line.held = {"reset"}
    killed.say("reset/top", {}, **MINE)
    killed.answers.close()  # as kill -9 does: no answer, no word
    killed.audit.close()
    next_boot = killed
    for _ in range(2):
        next_boot = DeskBench(tmp_path)
        (answer,) = next_boot.say("reset/top", {}, **MINE)
        assert (answer["status"], answer["message"].partition(":")[0]) == (500, "interrupted")
        assert next_boot.line.done == []
        next_boot.close()
    assert [one["verb"] for one in next_boot.records("command.interrupted")] == ["reset"]


def test_a_handler_that_raises_fails_its_own_command_only(bench: DeskBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.line.fail = RuntimeError("secret 4711")
    (answer,) = bench.say("pause", {}, **MINE)
    assert answer["status"] == 500
    assert "4711" not in answer["message"]
    assert "the handler of pause failed" in caplog.text
    bench.line.fail = None
    assert statuses(bench.say("resume", {}, correlation=b"2")) == [202]


def test_an_answer_that_cannot_be_written_is_an_error_of_ours(bench: DeskBench) -> None:
    bench.line.fields = {"rate": float("nan")}
    assert statuses(bench.say("pause", {}, **MINE)) == [500]


def test_a_handler_that_is_late_is_answered_for(bench: DeskBench) -> None:
    bench.line.held = {"snapshot"}
    bench.say("snapshot/top", {}, expiry_s=2, **MINE)
    bench.tick(1999)
    assert bench.posted == []
    bench.tick(1)
    assert [json.loads(one.body)["status"] for one in bench.posted] == [504]
    bench.line.open[0](Answer(Status.DONE, "too late"))
    bench.work()
    assert len(bench.posted) == 1
    assert bench.desk.figures()["late"] == 1


def test_a_command_that_waited_too_long_at_the_desk_is_not_carried_out(bench: DeskBench) -> None:
    from edge_runtime.publish.mqtt.link import Inbound

    bench.desk.take(Inbound(f"{ROOT}/cmd/pause", b"{}", 1, retain=False, expiry_s=1, **MINE))  # type: ignore[arg-type]
    bench.clock.advance_ms(1000)
    bench.work()
    assert [json.loads(one.body)["status"] for one in bench.posted] == [410]
    assert bench.line.done == []
    assert statuses(bench.say("pause", {}, **MINE)) == [202], "what was not begun may be asked again"


def test_when_no_line_runs_the_caller_may_ask_again(bench: DeskBench) -> None:
    bench.desk.serve("line", {})
    assert statuses(bench.say("trigger/top", {}, **MINE)) == [503]
    bench.desk.serve("line", {"trigger": bench.line})
    assert statuses(bench.say("trigger/top", {}, **MINE)) == [202]
    bench.desk.serve("line", {})
    assert statuses(bench.say("trigger/top", {}, **MINE)) == [202], "a repeat needs no line"


def test_callers_are_allowed_what_the_configuration_says(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, allow={"scada": ("pause",), "*": ("trigger",)})
    assert statuses(bench.say("pause", {}, **MINE)) == [202]
    assert statuses(bench.say("trigger/top", {}, **MINE | {"correlation": b"2"})) == [403]
    assert statuses(bench.say("pause", {}, correlation=b"3", response_topic=f"{ROOT}/reply/mes")) == [403]
    assert statuses(bench.say("pause", {}, correlation=b"4")) == [403]
    assert statuses(bench.say("trigger/top", {}, correlation=b"5")) == [202]
    assert [one["outcome"]["reason"] for one in bench.records("command.refused")] == ["not_allowed"] * 3
    bench.close()


def test_who_asks_too_often_is_refused_and_summed_up(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, rate_per_s=2.0)
    found = [statuses(bench.say("pause", {}, **MINE | {"correlation": bytes([n])})) for n in range(6)]
    assert found == [[202]] * 4 + [[429]] * 2
    assert statuses(bench.say("pause", {}, correlation=b"x")) == [202], "others are not to blame"
    bench.clock.advance_ms(500)
    assert statuses(bench.say("pause", {}, **MINE | {"correlation": b"y"})) == [202]
    assert bench.records("command.refused") == []
    bench.tick(60_000)
    (summed,) = bench.records("commands.summed")
    assert summed["counts"] == [{"who": "scada", "verb": "pause", "outcome": "rate", "count": 2}]
    assert bench.events[-1].kind == "command.refused"
    bench.close()


def test_too_many_in_all_are_refused(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, rate_total_per_s=1.0)
    found = [statuses(bench.say("pause", b"{garbage", **MINE)) for _ in range(3)]
    assert found == [[400], [400], [429]]
    assert bench.say("pause", {"correlationId": "x"}) == [], (
        "what was not read is answered only where its properties say"
    )
    assert bench.say("pause", {}, retain=True, **MINE) == []
    bench.close()


def test_what_does_not_fit_the_queue_is_refused_at_once(bench: DeskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MESSAGES_MAX", 0)
    assert statuses(bench.say("trigger/top", {}, **MINE)) == [429]
    assert bench.say("trigger/top", {}, retain=True, **MINE) == []
    assert bench.say("pause", {}, correlation=ID, response_topic="elsewhere") == []
    assert bench.desk.figures()["refused"] == {"overflow": 3}


def test_what_runs_at_a_time_is_bounded(bench: DeskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.control.commands import desk

    monkeypatch.setattr(desk, "RUNNING_MAX", 1)
    bench.line.held = {"snapshot"}
    bench.say("snapshot/top", {}, correlation=b"1")
    assert statuses(bench.say("snapshot/top", {}, correlation=b"2")) == [429]


def test_at_a_stop_what_still_runs_is_answered(bench: DeskBench) -> None:
    from edge_runtime.system.service import ServiceGroup

    bench.line.held = {"snapshot", "trigger"}
    bench.say("snapshot/top", {}, correlation=b"1")
    bench.say("trigger/top", {}, correlation=b"2")
    with ServiceGroup() as group:
        for service in bench.desk.services:
            group.start(service)
    assert sorted(json.loads(one.body)["status"] for one in bench.posted) == [500, 500]
    assert statuses(bench.say("pause", {}, correlation=b"3")) == [503], "what still waits is not begun any more"


def test_frequent_triggers_are_summed_up_and_critical_commands_told(bench: DeskBench) -> None:
    for number in range(10):
        bench.say("trigger/top", {}, correlation=bytes([number]))
    bench.say("pause/top", {"reason": "lunch"}, **MINE)
    bench.tick(60_000)
    assert [one["kind"] for one in bench.records()] == [
        "daemon.started",
        "command.begun",
        "command.done",
        "commands.summed",
    ]
    assert bench.records("commands.summed")[0]["counts"][0]["count"] == 10
    done = bench.records("command.done")[0]
    assert done["who"] == {"name": "scada", "proven": False}
    assert "lunch" not in json.dumps(bench.records()), "of arguments their digest only"
    (event,) = bench.events
    assert (event.kind, event.scope) == ("command.audit", "system")
    assert event.message == "scada (claimed) asked for pause of top: 202 done"


def test_a_flood_of_refusals_does_not_flood_the_spool(bench: DeskBench) -> None:
    for number in range(100):
        bench.say("explode", {}, correlation=bytes([number]))
    assert len(bench.events) == 10
    assert len(bench.records("command.refused")) == 100


def read_only(bench: DeskBench, *, on: bool) -> None:
    """The disk refuses every write to ``commands.db``: SQLite says so itself."""
    journal = bench.answers._journal
    assert journal is not None
    journal._connection.execute(f"PRAGMA query_only = {int(on)}")


def test_when_the_disk_refuses_triggers_go_on_and_everything_else_is_refused(bench: DeskBench) -> None:
    read_only(bench, on=True)
    answers = [bench.say("trigger/top", {"partId": n}, correlation=bytes([n])) for n in range(3)]
    assert [statuses(answer) for answer in answers] == [[202]] * 3
    assert bench.desk.figures()["unwritten"] == 3
    assert statuses(bench.say("pause", {}, **MINE)) == [503]
    assert bench.say("trigger/top", {"partId": 2}, correlation=bytes([2])) == answers[2], "idempotent from memory"
    assert len(bench.line.done) == 3
    read_only(bench, on=False)
    assert statuses(bench.say("pause", {}, **MINE)) == [202], "what was refused may be asked again"
    assert bench.desk.figures()["trouble"] is None


def test_a_flush_that_fails_before_a_critical_command_refuses_it(
    bench: DeskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def eio(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", eio)
        assert statuses(bench.say("pause", {}, **MINE)) == [503]
        assert statuses(bench.say("trigger/top", {}, correlation=b"1")) == [202]
    assert [command.verb for command in bench.line.done] == ["trigger"]
    assert statuses(bench.say("pause", {}, **MINE)) == [202]


def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "commands.db").write_bytes(b"SQLite format 3\0" + b"\xaa" * 8000)
    bench = DeskBench(tmp_path)
    assert statuses(bench.say("pause", {}, **MINE)) == [202]
    assert len(list(tmp_path.glob("commands.db.corrupt-*"))) == 1
    assert "damaged" in bench.reports[0]
    bench.close()


def test_a_lost_answer_is_repeated_from_memory(bench: DeskBench) -> None:
    bench.room = False
    assert bench.say("trigger/top", {}, **MINE) == []
    bench.room = True
    assert statuses(bench.say("trigger/top", {}, **MINE)) == [202]
    assert len(bench.line.done) == 1


def test_answers_are_forgotten_in_time(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, ManualClock())
    bench.say("trigger/top", {}, **MINE)
    bench.tick(899_000)
    assert len(bench.answers) == 1
    bench.tick(2_000)
    assert len(bench.answers) == 0
    assert statuses(bench.say("trigger/top", {"partId": "other"}, **MINE)) == [202]
    bench.close()


def asked(bench: DeskBench, verb: str, principal: str = "sparkplug") -> list[int]:
    answers: list[Answer] = []
    bench.desk.inner.ask(Command(verb, "top", {}, "", principal, 0), answers.append)
    return [answer.status for answer in answers]


def test_what_asks_from_inside_needs_leave_too_and_is_on_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = DeskBench(tmp_path, allow={"sparkplug": ("trigger", "pause", "model.update")}, rate_per_s=4.0)
    assert [asked(bench, verb) for verb in ("trigger", "pause", "reset", "model.update")] == [
        [202],
        [202],
        [403],
        [401],
    ]
    bench.line.fail = RuntimeError("a fault")
    assert asked(bench, "pause") == [500]
    assert "the handler of pause failed" in caplog.text
    bench.desk.serve("line", {})
    assert asked(bench, "pause") == [503]
    assert [asked(bench, "pause") for _ in range(4)][-1] == [429]
    assert [one["verb"] for one in bench.records("command.asked")] == ["pause", "pause"]
    reasons = [one["outcome"]["reason"] for one in bench.records("command.refused")]
    assert reasons[:3] == ["not_allowed", "unsigned", "no_handler"]
    assert "rate" not in reasons
    bench.close()
    outcomes = {one["outcome"] for one in bench.records("commands.summed")[0]["counts"]}
    assert outcomes == {"accepted", "rate"}


def test_a_flood_is_answered_a_little_and_honest_answers_keep_their_room(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, rate_per_s=10_000.0, rate_total_per_s=100.0)
    found = [
        statuses(bench.say("pause", b"{}", correlation=n.to_bytes(4), response_topic=f"{ROOT}/reply/s"))
        for n in range(1000)
    ]
    assert found.count([202]) == 200
    assert found.count([429]) == 100, "two seconds of HASTY_ANSWERS_PER_S"
    assert found.count([]) == 700
    assert bench.desk.figures()["refused"] == {"rate": 200, "flood": 600}, "what is far too much is not even read"
    bench.tick(60_000)
    (summed,) = bench.records("commands.summed")
    assert {"who": "others", "verb": "others", "outcome": "flood", "count": 600} in summed["counts"]
    bench.close()


def test_refused_triggers_without_an_address_do_not_flood_the_spool(bench: DeskBench) -> None:
    for _ in range(500):
        bench.say("trigger/top", b"junk")
    assert len(bench.events) == 200
    assert bench.desk.figures()["audit"]["untold"] == 300  # type: ignore[index]


def test_callers_from_outside_cannot_use_up_what_the_controllers_have(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, rate_per_s=5.0, rate_total_per_s=20.0)
    for n in range(100):
        bench.say("pause", {}, correlation=bytes([n]), response_topic=f"{ROOT}/reply/controller")
    got: list[Answer] = []
    for _ in range(10):
        bench.desk.inner.ask(Command("trigger", "top", {}, "x", "controller", 1 << 62), got.append)
    assert [answer.status for answer in got] == [202] * 10
    for _ in range(5):
        bench.desk.inner.ask(Command("trigger", "top", {}, "x", "controller", 1 << 62), got.append)
    assert got[-1].status == Status.TOO_MANY
    bench.close()


def test_a_handler_that_answers_and_then_fails_has_answered_an_inner_caller_once(bench: DeskBench) -> None:
    def twice(_: Command, reply: Reply) -> None:
        reply(Answer(Status.ACCEPTED, "first"))
        raise OSError("and then")

    bench.desk.serve("line", {"trigger": twice})
    got: list[Answer] = []
    bench.desk.inner.ask(Command("trigger", "top", {}, "x", "controller", 1 << 62), got.append)
    assert [answer.message for answer in got] == ["first"]


@pytest.mark.parametrize("poison", ["\x7f", "\x85", "\ufffe", "\ufdd0", "\u2028", "\U0001ffff", "\x00", "\x1b"])
def test_an_answer_never_goes_where_a_broker_would_hang_up_on_us(bench: DeskBench, poison: str) -> None:
    (answer,) = bench.say("pause", {"correlationId": "x", "replyTo": f"{ROOT}/reply/a{poison}"})
    assert (answer["status"], bench.posted[0].topic) == (403, f"{ROOT}/reply/x")


def test_a_large_message_that_waits_is_not_kept(bench: DeskBench) -> None:
    large = Inbound(f"{ROOT}/cmd/pause", b" " * (1 << 20), qos=1, retain=False, correlation=ID)
    bench.desk.take(large)
    (letter,) = bench.desk.services[1]._channel.get_batch(1, 0.0)  # type: ignore[attr-defined]
    assert (letter._message.payload, letter.size_bytes) == (b"", 1 << 20)
    bench.line.held = {"pause"}
    bench.say("pause", b"{}" + b" " * 60_000, **MINE)
    (running,) = bench.desk._running
    assert (running.letter._message.payload, running.letter.size_bytes) == (b"", 60_002)


def test_hanging_triggers_leave_room_for_other_commands(bench: DeskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.control.commands import desk

    monkeypatch.setattr(desk, "RUNNING_MAX", 1)
    bench.line.held = {"trigger"}
    bench.say("trigger/top", {}, correlation=b"1")
    assert statuses(bench.say("trigger/top", {}, correlation=b"2")) == [429]
    assert statuses(bench.say("pause", {}, correlation=b"3")) == [202]


def test_a_flood_of_refusals_cannot_wash_the_trail_away(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, rate_per_s=10_000.0, rate_total_per_s=10_000.0)
    for n in range(1000):
        bench.say(f"explode{n}", {}, correlation=n.to_bytes(4))
    bench.say("pause", {}, **MINE)
    assert len(bench.records("command.refused")) == 500
    assert len(bench.records("command.done")) == 1, "what changed something is always on record"
    bench.tick(60_000)
    (summed,) = bench.records("commands.summed")
    assert summed["counts"] == [{"who": "anonymous", "verb": "unknown", "outcome": "unknown_verb", "count": 500}]
    bench.close()


def test_sums_stay_small_whatever_the_names(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, rate_total_per_s=1.0)
    for n in range(600):
        bench.say(f"explode{n}", {}, correlation=b"x", response_topic=f"{ROOT}/reply/who{n}")
    bench.tick(60_000)
    (summed,) = bench.records("commands.summed")
    assert len(summed["counts"]) <= 257
    assert sum(one["count"] for one in summed["counts"]) == 598
    bench.close()
