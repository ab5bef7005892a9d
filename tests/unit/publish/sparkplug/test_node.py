"""The node's state machine: what it says, in which order, with which numbers (Sparkplug 3.0)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from edge_runtime.core.command import Answer, Status
from edge_runtime.core.result import Evaluation
from edge_runtime.publish.sparkplug import commands, mapping
from edge_runtime.publish.sparkplug.node import HOST_PATIENCE_NS, REBIRTH_PAUSE_NS, Node, Phase
from edge_runtime.publish.sparkplug.payload import DataType, Metric, Payload, decode, encode
from edge_runtime.publish.sparkplug.spoken import (
    Action,
    Ask,
    DeviceSpec,
    Leave,
    NodeSpec,
    Now,
    Refused,
    Send,
    Subscribe,
)
from edge_runtime.publish.sparkplug.topics import Kind, State, encode_state
from tests.fakes.following import row

S = 1_000_000_000
NCMD = "spBv1.0/plant/NCMD/box"
DCMD = "spBv1.0/plant/DCMD/box/top"
STATE = "spBv1.0/STATE/scada"
DEVICES = (DeviceSpec("top", "cam", triggered=True), DeviceSpec("side", "cam2", triggered=False))


def at(seconds: float) -> Now:
    return Now(int(seconds * S), 1_800_000_000_000 + int(seconds * 1000))


def make(**fields: Any) -> Node:
    spec: dict[str, Any] = {"group": "plant", "node": "box", "devices": DEVICES, "gauges": ("Spool/Depth",)}
    return Node(NodeSpec(**(spec | fields)))


def joined(node: Node, bd_seq: int = 7, *, packet_max: int | None = None, seconds: float = 1.0) -> list[Action]:
    """A connection up to the answered subscription; return what that one brought."""
    node.will(bd_seq, at(seconds))
    node.accepted(packet_max, at(seconds))
    return node.subscribed((1, 1, 1), at(seconds))


def born(**fields: Any) -> Node:
    node = make(**fields)
    joined(node)
    if node.spec.primary_host is not None:
        heard(node, online=True, ms=100)
    assert node.phase is Phase.BORN
    return node


def heard(node: Node, *, online: bool, ms: int, seconds: float = 1.0) -> list[Action]:
    return node.received(STATE, encode_state(State(online, ms)), at(seconds), retained=True)


def command(*metrics: tuple[str, DataType, Any], timestamp_ms: int | None = 5) -> bytes:
    return encode(Payload(timestamp_ms, tuple(Metric(name, kind, value) for name, kind, value in metrics)))


def kinds(actions: list[Action]) -> list[Kind]:
    return [action.kind for action in actions if isinstance(action, Send)]


def read(action: Action) -> Payload:
    assert isinstance(action, Send)
    return decode(action.body)


def values(action: Action) -> dict[str | None, Any]:
    return {metric.name: metric.value for metric in read(action).metrics}


def points(seq: int, **fields: Any) -> tuple[mapping.Point, ...]:
    return mapping.points(row(seq, **fields).body, result_json=False)


REBIRTH = command((commands.REBIRTH, DataType.BOOLEAN, True))


# --- connection


def test_the_will_is_an_ndeath_with_nothing_but_bdseq_and_without_seq() -> None:
    """tck-id-topics-ndeath-payload, tck-id-topics-ndeath-seq, tck-id-payloads-ndeath-bdseq."""
    will = make().will(7, at(0))
    assert will.topic == "spBv1.0/plant/NDEATH/box"
    payload = read(will)
    assert payload.seq is None
    assert [(m.name, m.datatype, m.value) for m in payload.metrics] == [("bdSeq", DataType.INT64, 7)]


def test_it_subscribes_to_its_commands_and_its_primary_host_before_it_says_a_word() -> None:
    """tck-id-message-flow-edge-node-ncmd-subscribe, -device-dcmd-subscribe, ...-multiple-servers-state-subs."""
    node = make(primary_host="scada")
    node.will(0, at(0))
    assert node.accepted(None, at(0)) == [Subscribe((NCMD, "spBv1.0/plant/DCMD/box/+", STATE))]
    assert make(commands=False).accepted(None, at(0)) == [Subscribe((NCMD,))]


def test_the_birth_sequence_is_nbirth_with_seq_0_then_each_device_in_order() -> None:
    """tck-id-topics-nbirth-seq-num, tck-id-payloads-dbirth-order, tck-id-topics-nbirth-bdseq-matching."""
    actions = joined(make())
    assert [(a.kind, a.topic) for a in actions if isinstance(a, Send)] == [
        (Kind.NBIRTH, "spBv1.0/plant/NBIRTH/box"),
        (Kind.DBIRTH, "spBv1.0/plant/DBIRTH/box/top"),
        (Kind.DBIRTH, "spBv1.0/plant/DBIRTH/box/side"),
    ]
    assert [read(a).seq for a in actions] == [0, 1, 2]
    assert values(actions[0])["bdSeq"] == 7


def test_a_birth_has_a_datatype_a_time_and_a_value_or_null_for_every_metric() -> None:
    """tck-id-topics-nbirth-metric-reqs, tck-id-topics-dbirth-metric-reqs, tck-id-payloads-metric-datatype-req."""
    for action in joined(make(properties={"Version": "1.0"})):
        payload = read(action)
        assert payload.timestamp_ms
        for metric in payload.metrics:
            assert metric.datatype is not None
            assert metric.timestamp_ms


def test_a_birth_tells_values_in_the_order_in_which_they_came_to_be() -> None:
    """tck-id-operational-behavior-data-publish-dbirth-order, -nbirth-order."""
    node = make()
    node.camera("cam", "streaming", at(1))
    node.result("top", points(1), at(2))
    for action in joined(node):
        times = [metric.timestamp_ms for metric in read(action).metrics]
        assert times == sorted(times, key=lambda ms: ms or 0)


def test_the_nbirth_offers_rebirth_as_false() -> None:
    """tck-id-topics-nbirth-rebirth-metric, tck-id-operational-behavior-data-commands-rebirth-value."""
    told = values(joined(make(properties={"Version": "1.0"}))[0])
    assert told[commands.REBIRTH] is False
    assert told[commands.NEXT_SERVER] is False
    assert told["Properties/Version"] == "1.0"


def test_before_the_first_result_its_metrics_are_null_and_stale() -> None:
    """tck-id-payloads-propertyset-quality-value-value."""
    metrics = {m.name: m for m in read(joined(make())[1]).metrics}
    assert metrics["Inspection/Score"].value is None
    assert metrics["Inspection/Score"].properties["Quality"].value == 500
    assert metrics["Camera/Online"].value is False


def test_only_a_triggered_device_has_a_trigger_and_none_has_one_without_commands() -> None:
    _, top, side = joined(make())
    assert commands.TRIGGER in values(top)
    assert commands.TRIGGER not in values(side)
    assert commands.PAUSE in values(side)
    assert not any(str(name).startswith(("Device", "Command")) for name in values(joined(make(commands=False))[1]))


def test_a_refused_subscription_is_told_and_does_not_keep_the_node_from_being_born() -> None:
    node = make()
    node.will(0, at(0))
    node.accepted(None, at(0))
    actions = node.subscribed((1, 0x87), at(0))
    assert isinstance(actions[0], Refused)
    assert kinds(actions)[0] is Kind.NBIRTH
    assert node.subscribed((1,), at(0)) == []


# --- primary host


def test_nothing_is_born_before_the_primary_host_is_online() -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait, -operational-behavior-edge-node-birth-sequence-wait."""
    node = make(primary_host="scada")
    assert joined(node) == []
    assert node.phase is Phase.WAITING
    assert not node.speaks()
    assert kinds(heard(node, online=True, ms=100)) == [Kind.NBIRTH, Kind.DBIRTH, Kind.DBIRTH]


def test_a_state_that_came_before_the_answer_to_the_subscription_counts() -> None:
    node = make(primary_host="scada")
    node.will(0, at(0))
    node.accepted(None, at(0))
    assert heard(node, online=True, ms=100) == []
    assert kinds(node.subscribed((1,), at(0)))[0] is Kind.NBIRTH


def test_a_host_that_goes_offline_ends_the_connection_with_an_ndeath() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-offline, -message-flow-...-phid-offline."""
    actions = heard(born(primary_host="scada"), online=False, ms=100)
    assert kinds(actions) == [Kind.DDEATH, Kind.DDEATH, Kind.NDEATH]
    assert isinstance(actions[-1], Leave)


def test_an_offline_that_is_older_than_the_online_is_ignored() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-offline-timestamp."""
    node = born(primary_host="scada")
    assert heard(node, online=False, ms=99) == []
    assert node.phase is Phase.BORN


def test_an_online_that_is_older_than_the_offline_is_ignored() -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp."""
    node = make(primary_host="scada")
    joined(node)
    heard(node, online=False, ms=100)
    assert heard(node, online=True, ms=99) == []
    assert kinds(heard(node, online=True, ms=100))[0] is Kind.NBIRTH


def test_a_second_online_is_no_second_birth() -> None:
    assert heard(born(primary_host="scada"), online=True, ms=200) == []


@pytest.mark.parametrize("body", [b"ONLINE", b"{}", b'{"online": 1, "timestamp": 5}'])
def test_a_state_that_is_none_changes_nothing_and_is_told(body: bytes) -> None:
    node = make(primary_host="scada")
    joined(node)
    (refused,) = node.received(STATE, body, at(1), retained=True)
    assert isinstance(refused, Refused)
    assert node.phase is Phase.WAITING


def test_with_one_server_it_stays_where_the_host_is_offline_and_with_several_it_walks_on() -> None:
    """tck-id-operational-behavior-primary-application-state-with-multiple-servers-walk."""
    alone = make(primary_host="scada")
    joined(alone)
    assert heard(alone, online=False, ms=100) == []
    walking = make(primary_host="scada", servers=2)
    joined(walking)
    actions = heard(walking, online=False, ms=100)
    assert kinds(actions) == [Kind.NDEATH]
    assert isinstance(actions[-1], Leave)
    assert heard(walking, online=False, ms=101) == []


def test_with_several_servers_a_silent_host_is_not_waited_for_for_ever() -> None:
    for servers, leaves in ((1, False), (2, True)):
        node = make(primary_host="scada", servers=servers)
        joined(node, seconds=0)
        assert node.tick(Now(HOST_PATIENCE_NS, 0)) == []
        assert bool(node.tick(Now(HOST_PATIENCE_NS + 1, 0))) is leaves


def test_every_connection_begins_with_a_host_of_which_nothing_is_known() -> None:
    node = born(primary_host="scada")
    node.disconnected()
    assert node.phase is Phase.OFFLINE
    assert joined(node, 8) == []
    assert kinds(heard(node, online=True, ms=1))[0] is Kind.NBIRTH


# --- data


def test_a_result_is_one_message_with_one_time_and_the_next_seq() -> None:
    """tck-id-topics-ddata-seq-num, tck-id-payloads-ddata-timestamp, tck-id-payloads-metric-datatype-not-req."""
    (action,) = born().result("top", points(1), at(2))
    payload = read(action)
    assert isinstance(action, Send)
    assert action.kind is Kind.DDATA
    assert payload.seq == 3
    assert len({metric.timestamp_ms for metric in payload.metrics}) == 1
    assert {metric.datatype for metric in payload.metrics} == {None}
    assert values(action)["Inspection/Sequence"] == 1


def test_datatypes_are_repeated_for_hosts_that_cannot_do_without() -> None:
    (action,) = born(datatypes=True).result("top", points(1), at(2))
    assert None not in {metric.datatype for metric in read(action).metrics}


def test_only_what_changed_is_told() -> None:
    """tck-id-principles-rbe-recommended."""
    node = born()
    node.result("top", points(1), at(2))
    (action,) = node.result("top", points(2), at(3))
    assert set(values(action)) == {"Inspection/Sequence", "Inspection/ResultId"}
    assert node.result("top", points(2), at(4)) == []


def test_a_score_that_nobody_decided_is_null_and_bad() -> None:
    node = born()
    node.result("top", points(1), at(2))
    undecided = points(2, evaluation=Evaluation.NOT_DECIDABLE, score=None, predictions=(), part_id="P-1")
    (action,) = node.result("top", undecided, at(3))
    score = next(m for m in read(action).metrics if m.name == "Inspection/Score")
    assert score.is_null
    assert score.properties["Quality"].value == 0
    assert values(action)["Inspection/PartId"] == "P-1"


def test_seq_goes_from_255_to_0_over_node_and_devices() -> None:
    """tck-id-payloads-sequence-num-incrementing."""
    node = born()
    sent = []
    for number in range(300):
        if number % 3:
            sent += node.result("side" if number % 2 else "top", points(number + 1), at(2))
        else:
            sent += node.gauge({"Spool/Depth": number + 1}, at(2))
    numbers = [read(action).seq for action in sent]
    assert numbers[0] == 3
    assert all(after == (before + 1) % 256 for before, after in pairwise(numbers) if before is not None)
    assert 0 in numbers


def test_results_before_the_birth_are_what_the_birth_tells() -> None:
    node = make()
    assert node.result("top", points(5), at(0)) == []
    _, top, _ = joined(node)
    assert values(top)["Inspection/Sequence"] == 5


def test_gauges_are_told_when_they_change_and_only_while_born() -> None:
    node = make()
    assert node.gauge({"Spool/Depth": 3}, at(0)) == []
    assert values(joined(node)[0])["Spool/Depth"] == 3
    assert node.gauge({"Spool/Depth": 3}, at(2)) == []
    assert kinds(node.gauge({"Spool/Depth": 4}, at(2))) == [Kind.NDATA]


def test_history_is_whole_marked_timed_by_the_source_and_changes_no_present_value() -> None:
    node = born()
    (action,) = node.history("top", [points(1), points(2)], at(9))
    payload = read(action)
    assert payload.seq == 3
    assert all(metric.is_historical for metric in payload.metrics)
    assert [m.value for m in payload.metrics if m.name == "Inspection/Sequence"] == [1, 2]
    assert len(payload.metrics) == 2 * len(points(1))
    (live,) = node.result("top", points(1), at(9))
    assert "Model/Name" in values(live)


def test_history_is_cut_at_500_metrics_and_at_64_kilobytes() -> None:
    results = [points(n) for n in range(1, 101)]
    sent = born().history("top", results, at(9))
    assert all(len(read(action).metrics) <= 500 for action in sent)
    assert sum(len(read(action).metrics) for action in sent) == sum(len(one) for one in results)
    long = [points(n, reason="x" * 20_000) for n in range(1, 10)]
    for action in born().history("top", long, at(9)):
        assert isinstance(action, Send)
        assert len(action.body) <= 64 * 1024


def test_what_the_broker_would_not_take_is_refused_and_costs_no_seq() -> None:
    node = make()
    joined(node, packet_max=4096)
    (refused,) = node.result("top", points(1, reason="x" * 5000), at(2))
    assert isinstance(refused, Refused)
    (action,) = node.result("top", points(2), at(2))
    assert read(action).seq == 3
    assert all(isinstance(one, Send) for one in node.history("top", [points(n) for n in range(1, 20)], at(3)))


def test_after_a_refused_message_the_next_one_has_what_no_host_was_told() -> None:
    node = make()
    joined(node, packet_max=4096)
    bad = node.result("top", points(1, evaluation=Evaluation.NOT_OK, reason="x" * 5000), at(2))
    assert isinstance(bad[0], Refused)
    (action,) = node.result("top", points(2, evaluation=Evaluation.NOT_OK), at(3))
    assert values(action)["Inspection/EvaluationText"] == "NotOK"
    (action,) = node.result("top", points(3, evaluation=Evaluation.NOT_OK), at(4))
    assert "Inspection/EvaluationText" not in values(action)


def test_a_result_that_is_too_large_costs_its_batch_nothing() -> None:
    node = make()
    joined(node, packet_max=4096)
    said = node.history("top", [points(1), points(2, reason="x" * 5000), points(3)], at(3))
    assert [isinstance(one, Refused) for one in said] == [False, True, False]


def test_a_device_is_born_without_its_long_texts_rather_than_not_at_all() -> None:
    node = make()
    node.result("top", points(1, reason="x" * 5000), at(2))
    actions = joined(node, packet_max=4096)
    assert kinds(actions) == [Kind.NBIRTH, Kind.DBIRTH, Kind.DBIRTH]
    assert values(actions[1])["Inspection/Reason"] is None
    assert values(actions[1])["Inspection/Sequence"] == 1
    (action,) = node.result("top", points(2, reason="short"), at(3))
    assert values(action)["Inspection/Reason"] == "short"


def test_a_device_that_cannot_be_born_is_silent_and_a_node_that_cannot_leaves() -> None:
    node = make()
    actions = joined(node, packet_max=1000)
    assert kinds(actions) == [Kind.NBIRTH]
    assert [isinstance(one, Refused) for one in actions[1:]] == [True, True]
    assert not node.speaks("top")
    assert node.result("top", points(1), at(2)) == []
    *_, leave = joined(make(), packet_max=200)
    assert isinstance(leave, Leave)


def test_a_value_that_has_no_place_on_the_wire_is_refused() -> None:
    (refused,) = born().gauge({"Spool/Depth": -1}, at(2))
    assert isinstance(refused, Refused)


# --- deaths


def test_a_stop_says_ndeath_with_the_bdseq_of_the_birth_and_then_leaves() -> None:
    """tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath."""
    node = born()
    *devices, death, leave = node.leave("stopped", at(5))
    assert kinds(devices) == [Kind.DDEATH, Kind.DDEATH]
    assert values(death) == {"bdSeq": 7}
    assert read(death).seq is None
    assert leave == Leave("stopped")
    assert not node.speaks()


def test_a_camera_that_stays_away_is_a_ddeath_of_its_device_alone_and_its_return_a_dbirth() -> None:
    """tck-id-operational-behavior-device-ddeath, tck-id-topics-ddeath-seq-num, tck-id-payloads-ddeath-timestamp."""
    node = born()
    assert kinds(node.camera("cam", "streaming", at(1))) == [Kind.DDATA]
    assert kinds(node.camera("cam", "lost", at(2))) == [Kind.DDATA]
    assert node.camera("cam", "connecting", at(2.1)) == []
    assert node.tick(at(2.4)) == []
    (death,) = node.tick(at(2.6))
    assert isinstance(death, Send)
    assert death.topic == "spBv1.0/plant/DDEATH/box/top"
    assert read(death).timestamp_ms
    assert read(death).metrics == ()
    assert not node.speaks("top")
    assert node.speaks("side")
    assert node.tick(at(3)) == []
    assert node.result("top", points(1), at(3)) == []
    assert node.camera("cam", "stalled", at(3)) == []
    (birth,) = node.camera("cam", "streaming", at(4))
    assert kinds([birth]) == [Kind.DBIRTH]
    assert values(birth)["Camera/Online"] is True
    assert values(birth)["Inspection/Sequence"] == 1


def test_a_camera_that_is_back_at_once_has_not_died() -> None:
    node = born()
    node.camera("cam", "streaming", at(1))
    node.camera("cam", "lost", at(2))
    assert kinds(node.camera("cam", "streaming", at(2.2))) == [Kind.DDATA]
    assert node.tick(at(9)) == []


def test_a_source_that_came_to_its_end_is_offline_and_not_dead() -> None:
    node = born()
    node.camera("cam", "streaming", at(1))
    (action,) = node.camera("cam", "ended", at(2))
    assert values(action) == {"Camera/Online": False}
    assert node.tick(at(9)) == []


def test_a_device_whose_camera_is_away_is_not_born_with_the_node_but_when_it_is_back() -> None:
    node = make()
    node.camera("cam", "lost", at(0))
    assert [a.topic for a in joined(node) if isinstance(a, Send)] == [
        "spBv1.0/plant/NBIRTH/box",
        "spBv1.0/plant/DBIRTH/box/side",
    ]
    assert kinds(node.camera("cam", "streaming", at(3))) == [Kind.DBIRTH]


def test_a_camera_that_is_back_while_nobody_listens_is_born_with_the_node() -> None:
    node = born()
    node.camera("cam", "lost", at(1))
    node.tick(at(2))
    node.disconnected()
    assert node.camera("cam", "streaming", at(3)) == []
    assert len(kinds(joined(node, 8, seconds=4))) == 3


# --- commands


def test_a_rebirth_is_the_whole_sequence_with_the_same_bdseq_and_seq_0() -> None:
    """tck-id-operational-behavior-data-commands-rebirth-action-1 to -3."""
    node = born()
    node.result("top", points(1), at(2))
    actions = node.received(NCMD, REBIRTH, at(3), retained=False)
    assert kinds(actions) == [Kind.NBIRTH, Kind.DBIRTH, Kind.DBIRTH]
    assert read(actions[0]).seq == 0
    assert values(actions[0])["bdSeq"] == 7
    assert values(actions[0])[commands.REBIRTH] is False
    assert values(actions[1])["Inspection/Sequence"] == 1


def test_a_rebirth_without_any_time_is_obeyed() -> None:
    body = command((commands.REBIRTH, DataType.BOOLEAN, True), timestamp_ms=None)
    assert kinds(born().received(NCMD, body, at(3), retained=False))[0] is Kind.NBIRTH


def test_a_storm_of_rebirths_stops_data_at_once_and_is_one_birth_a_second() -> None:
    node = born()
    assert node.received(NCMD, REBIRTH, at(1.1), retained=False) == []
    assert node.received(NCMD, REBIRTH, at(1.2), retained=False) == []
    assert not node.speaks()
    assert node.result("top", points(1), at(1.3)) == []
    actions = node.tick(Now(at(1).mono_ns + REBIRTH_PAUSE_NS, 0))
    assert kinds(actions) == [Kind.NBIRTH, Kind.DBIRTH, Kind.DBIRTH]
    assert values(actions[1])["Inspection/Sequence"] == 1
    assert node.tick(at(9)) == []


def test_next_server_leaves_and_a_button_that_is_not_pressed_does_nothing() -> None:
    node = born()
    released = command((commands.REBIRTH, DataType.BOOLEAN, False), (commands.NEXT_SERVER, DataType.BOOLEAN, False))
    assert node.received(NCMD, released, at(3), retained=False) == []
    pressed = command((commands.NEXT_SERVER, DataType.BOOLEAN, True))
    assert isinstance(node.received(NCMD, pressed, at(3), retained=False)[-1], Leave)


def test_a_trigger_carries_the_ids_of_its_message() -> None:
    body = command(
        (commands.TRIGGER, DataType.BOOLEAN, True),
        (commands.PART_ID, DataType.STRING, "P-7"),
        (commands.JOB_ID, DataType.STRING, "J-1"),
    )
    (ask,) = born().received(DCMD, body, at(3), retained=False)
    assert isinstance(ask, Ask)
    assert (ask.order.verb, ask.order.device) == ("trigger", "top")
    assert ask.order.arguments == {"partId": "P-7", "jobId": "J-1"}


def test_an_answer_is_told_as_metrics_of_the_device() -> None:
    node = born()
    (ask,) = node.received(DCMD, command((commands.PAUSE, DataType.BOOLEAN, True)), at(3), retained=False)
    assert isinstance(ask, Ask)
    actions = node.answered(ask.order, Answer(Status.DONE, "paused"), at(3))
    assert [values(action) for action in actions] == [
        {"Command/LastId": ask.order.correlation_id, "Command/LastStatus": 200, "Command/LastMessage": "paused"},
    ]
    (resume,) = node.received(DCMD, command((commands.PAUSE, DataType.BOOLEAN, False)), at(4), retained=False)
    assert isinstance(resume, Ask)
    assert resume.order.verb == "resume"
    (failed,) = node.answered(resume.order, Answer(Status.CONFLICT, "no"), at(4))
    assert values(failed)["Command/LastStatus"] == 409


def test_what_an_inspection_is_set_to_is_told_whoever_set_it() -> None:
    node = born()
    (ask,) = node.received(DCMD, command((commands.RECIPE, DataType.STRING, "blue")), at(3), retained=False)
    assert isinstance(ask, Ask)
    assert (ask.order.verb, ask.order.arguments) == ("recipe.select", {"recipe": "blue"})
    assert values(node.setup("side", commands.RECIPE, "blue", at(3))[0]) == {commands.RECIPE: "blue"}
    assert values(node.setup("side", commands.PAUSE, value=True, now=at(3))[0]) == {commands.PAUSE: True}
    assert node.setup("side", commands.PAUSE, value=True, now=at(3)) == []
    assert node.setup("of another configuration", commands.PAUSE, value=True, now=at(3)) == []
    assert make(commands=False).setup("side", commands.PAUSE, value=True, now=at(3)) == []


def test_an_answer_about_a_device_that_cannot_speak_is_told_by_the_node() -> None:
    node = born()
    (ask,) = node.received(DCMD, command((commands.PAUSE, DataType.BOOLEAN, True)), at(1), retained=False)
    assert isinstance(ask, Ask)
    node.camera("cam", "lost", at(1))
    node.tick(at(2))
    actions = node.answered(ask.order, Answer(Status.DONE, "paused"), at(3))
    assert kinds(actions) == [Kind.NDATA]
    node.disconnected()
    assert node.answered(ask.order, Answer(Status.DONE, "paused again"), at(3)) == []


def test_every_answer_is_whole_also_that_to_a_repeat() -> None:
    node = born()
    (ask,) = node.received(DCMD, command((commands.RECIPE, DataType.STRING, "blue")), at(1), retained=False)
    assert isinstance(ask, Ask)
    for _ in range(2):
        (told,) = node.answered(ask.order, Answer(Status.DONE, "taken"), at(1))
        assert set(values(told)) == {"Command/LastId", "Command/LastStatus", "Command/LastMessage"}


def test_answers_that_come_while_a_birth_is_due_are_all_told_after_it() -> None:
    node = born()
    asks = [
        node.received(DCMD, command((commands.PAUSE, DataType.BOOLEAN, True), timestamp_ms=n), at(1), retained=False)[0]
        for n in range(20)
    ]
    assert node.received(NCMD, REBIRTH, at(1.1), retained=False) == []
    for ask in asks:
        assert isinstance(ask, Ask)
        assert node.answered(ask.order, Answer(Status.DONE, "paused"), at(1.2)) == []
    assert node.received(DCMD, b"\xff", at(1.3), retained=False)[1:] == []
    actions = node.tick(at(9))
    assert kinds(actions) == [Kind.NBIRTH, Kind.DBIRTH, Kind.DBIRTH] + [Kind.DDATA] * 21
    told = [values(action)["Command/LastId"] for action in actions[3:23]]
    assert told == [ask.order.correlation_id for ask in asks if isinstance(ask, Ask)]
    assert node.tick(at(20)) == []


def test_devices_that_take_no_commands_refuse_them_and_the_node_says_so() -> None:
    node = born(commands=False)
    body = command((commands.PAUSE, DataType.BOOLEAN, True))
    refused, told = node.received(DCMD, body, at(3), retained=False)
    assert isinstance(refused, Refused)
    assert kinds([told]) == [Kind.NDATA]
    assert values(told)["Command/LastStatus"] == 403
    order = commands.Order("pause", "top", "aa")
    assert kinds(node.answered(order, Answer(Status.DONE, "paused"), at(1))) == [Kind.NDATA]


def test_a_retained_command_is_refused() -> None:
    actions = born().received(NCMD, REBIRTH, at(3), retained=True)
    assert [type(action) for action in actions] == [Refused]


def test_a_command_before_the_birth_is_refused() -> None:
    node = make(primary_host="scada")
    joined(node)
    assert [type(action) for action in node.received(NCMD, REBIRTH, at(3), retained=False)] == [Refused]


@pytest.mark.parametrize(
    ("topic", "body", "status"),
    [
        (NCMD, b"\xff\xff", 400),
        (NCMD, command(), 400),
        (NCMD, command((commands.REBIRTH, DataType.STRING, "yes")), 400),
        (NCMD, command(("Node Control/Reboot", DataType.BOOLEAN, True)), 404),
        (DCMD, b"\xff\xff", 400),
        (DCMD, command(("Inspection/Score", DataType.DOUBLE, 1.0)), 404),
        (DCMD, command((commands.PART_ID, DataType.STRING, "P-7")), 400),
        (DCMD, command((commands.RECIPE, DataType.STRING, "")), 400),
        (DCMD, command((commands.PAUSE, DataType.BOOLEAN, None)), 400),
        ("spBv1.0/plant/DCMD/box/side", command((commands.TRIGGER, DataType.BOOLEAN, True)), 404),
        ("spBv1.0/plant/DCMD/box/nobody", command((commands.PAUSE, DataType.BOOLEAN, True)), 404),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_with_a_status(topic: str, body: bytes, status: int) -> None:
    refused, told = born().received(topic, body, at(3), retained=False)
    assert isinstance(refused, Refused)
    assert values(told)["Command/LastStatus"] == status


def test_a_message_on_a_foreign_topic_is_refused() -> None:
    (refused,) = born().received("somewhere/else", b"", at(3), retained=False)
    assert isinstance(refused, Refused)
