"""What is sent next, what is held, and from where everything would be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.publish.payload import Stamp, encode_event
from edge_runtime.publish.sparkplug.feed import BATCH_PAUSE_NS, BATCH_ROWS, HELD_MAX, Feed
from edge_runtime.publish.sparkplug.node import Node
from edge_runtime.publish.sparkplug.payload import decode
from edge_runtime.publish.sparkplug.spoken import DeviceSpec, NodeSpec, Now, Send
from edge_runtime.publish.spool.rows import Row
from tests.fakes.following import MemoryFollower, row
from tests.fakes.results import BOOT, IDENTITY, make_event

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 1_000_000_000
KEEP_NS = 30 * S
DEVICES = (DeviceSpec("top", "cam", triggered=True), DeviceSpec("side", "cam2", triggered=False))


def at(seconds: float) -> Now:
    return Now(int(seconds * S), int(seconds * 1000))


class Bench:
    """A born node with a feed."""

    def __init__(self, *rows: Row) -> None:
        self.follower = MemoryFollower(rows)
        self.node = Node(NodeSpec("plant", "box", DEVICES))
        self.feed = Feed(self.follower, self.node, keep_ns=KEEP_NS)
        self.connect(0)

    def connect(self, seconds: float) -> None:
        self.node.will(0, at(seconds))
        self.node.accepted(None, at(seconds))
        self.feed.look(at(seconds))
        self.node.subscribed((1,), at(seconds))
        self.feed.begin()

    def bury(self, seconds: float) -> None:
        self.node.camera("cam", "lost", at(seconds))
        self.node.tick(at(seconds + 1))

    def revive(self, seconds: float) -> None:
        self.node.camera("cam", "streaming", at(seconds))

    def live(self, seconds: float) -> list[int]:
        return sequences(self.feed.live(at(seconds)))

    def history(self, seconds: float) -> list[int]:
        return sequences(self.feed.history(at(seconds)))

    def settled(self, seconds: float) -> int:
        self.feed.settle(at(seconds))
        return self.follower.position


def sequences(actions: Sequence[Any]) -> list[int]:
    return [
        metric.value  # type: ignore[misc]  # UInt64
        for action in actions
        if isinstance(action, Send)
        for metric in decode(action.body).metrics
        if metric.name == "Inspection/Sequence"
    ]


def test_live_results_are_sent_at_once_and_older_ones_in_batches_with_a_pause() -> None:
    bench = Bench(*(row(n) for n in range(1, 100)))
    bench.follower.put(row(100))
    assert bench.live(1) == [100]
    assert bench.history(1) == list(range(1, BATCH_ROWS + 1))
    assert bench.history(1) == []
    assert bench.history(1 + BATCH_PAUSE_NS / S) == list(range(BATCH_ROWS + 1, 2 * BATCH_ROWS + 1))
    assert bench.feed.owed == 99 - 2 * BATCH_ROWS
    assert (bench.feed.stats.live, bench.feed.stats.historical) == (1, 2 * BATCH_ROWS)


def test_a_batch_of_two_devices_is_a_message_each() -> None:
    bench = Bench(row(1), row(2, inspection="side"), row(3))
    actions = bench.feed.history(at(1))
    assert [action.topic.rpartition("/")[2] for action in actions if isinstance(action, Send)] == ["top", "side"]
    assert sequences(actions) == [1, 3, 2]


def test_nothing_is_delivered_before_its_time_and_then_the_position_follows() -> None:
    bench = Bench(row(1), row(2))
    bench.follower.put(row(3))
    bench.live(1)
    bench.history(2)
    assert bench.settled(31.5) == 0  # the backlog is younger, although the live one is old enough
    assert bench.settled(32) == 3


def test_while_a_backlog_is_owed_the_position_stays_within_it() -> None:
    bench = Bench(*(row(n) for n in range(1, 100)))
    bench.follower.put(row(100))
    bench.live(1)
    bench.history(1)
    assert bench.settled(31) == BATCH_ROWS


def test_on_the_next_connection_what_is_not_delivered_is_history() -> None:
    bench = Bench()
    bench.follower.put(row(1))
    bench.live(1)
    bench.follower.put(row(2))
    bench.live(20)
    assert bench.settled(31) == 1
    bench.connect(32)
    assert bench.live(32) == []
    assert bench.history(32) == [2]
    assert bench.settled(61) == 1
    assert bench.settled(62) == 2


def test_what_was_committed_before_the_birth_is_history_and_its_newest_value_is_in_the_birth() -> None:
    bench = Bench(row(1))
    bench.node.will(1, at(1))
    bench.node.accepted(None, at(1))
    bench.follower.put(row(2), row(3))
    bench.feed.look(at(1))
    births = bench.node.subscribed((1,), at(1))
    bench.feed.begin()
    assert sequences(births)[0] == 3
    assert bench.history(1) == [1, 2, 3]


def test_results_of_a_dead_device_wait_for_its_next_birth_and_hold_the_position() -> None:
    bench = Bench()
    bench.bury(1)
    bench.follower.put(row(1), row(2, inspection="side"), row(3))
    assert bench.live(3) == [2]
    assert bench.feed.stats.held == 2
    assert bench.settled(99) == 0
    bench.revive(100)
    assert bench.history(100) == [1, 3]
    assert bench.feed.stats.held == 0
    assert bench.settled(129) == 0
    assert bench.settled(130) == 3


def test_a_held_result_that_was_newer_than_an_owed_backlog_does_not_move_the_position_over_it() -> None:
    bench = Bench(*(row(n) for n in range(1, 41)))
    bench.bury(1)
    bench.follower.put(row(41))
    bench.live(3)
    bench.revive(4)
    assert bench.history(4) == [41]
    assert bench.settled(34) == 0
    assert bench.history(35) == list(range(1, BATCH_ROWS + 1))
    assert bench.settled(65) == BATCH_ROWS


def test_older_results_of_a_dead_device_are_held_as_well() -> None:
    bench = Bench(row(1), row(2, inspection="side"))
    bench.bury(1)
    assert bench.history(3) == [2]
    bench.revive(4)
    assert bench.history(5) == [1]


def test_too_many_held_results_are_given_up_oldest_first_and_counted() -> None:
    bench = Bench()
    bench.bury(1)
    for number in range(1, HELD_MAX + 4):
        bench.follower.put(row(number))
        bench.live(3)
    assert bench.feed.stats.given_up == 3
    assert bench.feed.stats.held == HELD_MAX
    bench.revive(4)
    assert bench.history(5)[0] == 4


def test_a_result_of_an_unknown_inspection_or_an_unreadable_one_is_counted_and_passed_over() -> None:
    event = encode_event(make_event(), IDENTITY, Stamp(1, BOOT), "id")
    strange = Row(2, "result/top", 2, 0, 0, (), event.body)
    bench = Bench(row(1, inspection="gone"), strange)
    bench.follower.put(row(3, inspection="gone"), row(4))
    assert bench.live(1) == [4]
    assert bench.history(1) == []
    assert bench.feed.stats.foreign == 3
    assert bench.settled(99) == 4
    bench.follower.put(row(5, inspection="gone"))
    bench.feed.look(at(99))
    assert bench.feed.stats.foreign == 4


def test_what_the_spool_gave_up_is_counted() -> None:
    bench = Bench()
    bench.follower.lost = 7
    bench.history(1)
    assert bench.feed.stats.evicted == 7


def test_a_follower_that_leaves_live_rows_to_the_disk_loses_none() -> None:
    bench = Bench()
    bench.follower.put(row(1))
    bench.live(1)
    bench.follower.put(row(2))
    bench.follower.overflow()
    bench.follower.put(row(3))
    assert bench.live(2) == [3]
    assert bench.settled(40) == 0
    assert bench.history(40) == [2]
    assert bench.settled(70) == 3


def test_a_result_that_the_broker_would_not_take_is_not_counted_as_sent() -> None:
    large = {"reason": "x" * 5000}
    bench = Bench(row(1), row(2, **large), row(3))
    bench.node.disconnected()
    bench.node.will(1, at(1))
    bench.node.accepted(4096, at(1))
    bench.node.subscribed((1,), at(1))
    bench.feed.begin()
    assert bench.history(2) == [1, 3]
    bench.follower.put(row(4, **large), row(5))
    assert bench.live(3) == [5]
    stats = bench.feed.stats
    assert (stats.historical, stats.live, stats.too_large) == (2, 1, 2)
