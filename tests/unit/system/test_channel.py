"""A channel hands over in order, holds its bound, and counts what it loses."""

from __future__ import annotations

import itertools
import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.system.channel import Channel, Closed, Policy

LONG_S = 20.0  # more than a test may take, so that returning early can only be the event waited for


@pytest.mark.parametrize("policy", Policy)
def test_items_leave_in_the_order_in_which_they_came(policy: Policy) -> None:
    channel: Channel[int] = Channel(3, policy)
    assert [channel.put(i) for i in (1, 2, 3)] == [True, True, True]
    assert len(channel) == 3
    assert [channel.get(0), channel.get(0), channel.get(0)] == [1, 2, 3]
    assert channel.lost == 0


def test_the_oldest_item_gives_way_to_the_newest_and_is_counted() -> None:
    channel: Channel[int] = Channel(2, Policy.DROP_OLDEST)
    assert [channel.put(i) for i in (1, 2, 3, 4)] == [True, True, False, False]
    assert channel.get_batch(9, 0) == [3, 4]
    assert channel.lost == 2


def test_a_full_channel_rejects_the_new_item_and_counts_it() -> None:
    channel: Channel[int] = Channel(2, Policy.REJECT)
    assert [channel.put(i) for i in (1, 2, 3)] == [True, True, False]
    assert channel.get_batch(9, 0) == [1, 2]
    assert channel.lost == 1


def test_a_batch_takes_no_more_than_its_limit() -> None:
    channel: Channel[int] = Channel(9, Policy.REJECT)
    for i in range(5):
        channel.put(i)
    assert channel.get_batch(3, 0) == [0, 1, 2]
    assert len(channel) == 2


@pytest.mark.parametrize("timeout_s", [0, 0.01])
def test_an_empty_channel_gives_nothing_when_the_time_is_over(timeout_s: float) -> None:
    channel: Channel[int] = Channel(1, Policy.REJECT)
    assert channel.get(timeout_s) is None
    assert channel.get_batch(5, timeout_s) == []


def test_a_closed_channel_can_be_emptied_and_then_says_that_it_is_closed() -> None:
    channel: Channel[int] = Channel(2, Policy.REJECT)
    channel.put(1)
    channel.close()
    with pytest.raises(Closed):
        channel.put(2)
    assert channel.get(LONG_S) == 1
    with pytest.raises(Closed):
        channel.get(LONG_S)
    with pytest.raises(Closed):
        channel.get_batch(2, LONG_S)


def test_a_channel_without_room_for_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Channel(0, Policy.REJECT)


def _waiting_consumer(channel: Channel[int], took: list[object]) -> threading.Thread:
    def consume() -> None:
        try:
            took.append(channel.get(LONG_S))
        except Closed:
            took.append("closed")

    thread = threading.Thread(target=consume)
    thread.start()
    return thread


def test_put_wakes_a_waiting_consumer() -> None:
    channel: Channel[int] = Channel(1, Policy.REJECT)
    took: list[object] = []
    consumer = _waiting_consumer(channel, took)
    channel.put(7)
    consumer.join(LONG_S)
    assert took == [7]


def test_close_wakes_every_waiting_consumer() -> None:
    channel: Channel[int] = Channel(1, Policy.REJECT)
    took: list[object] = []
    consumers = [_waiting_consumer(channel, took) for _ in range(3)]
    channel.close()
    for consumer in consumers:
        consumer.join(LONG_S)
    assert took == ["closed"] * 3


def test_nothing_is_lost_or_doubled_between_many_threads() -> None:
    channel: Channel[int] = Channel(4000, Policy.REJECT)
    took: list[list[int]] = [[] for _ in range(3)]

    def produce(start: int) -> None:
        for i in range(start, start + 1000):
            channel.put(i)

    def consume(mine: list[int]) -> None:
        try:
            while True:
                mine.extend(channel.get_batch(7, LONG_S))
        except Closed:
            return

    consumers = [threading.Thread(target=consume, args=(mine,)) for mine in took]
    producers = [threading.Thread(target=produce, args=(start,)) for start in (0, 1000, 2000)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join(LONG_S)
    channel.close()
    for thread in consumers:
        thread.join(LONG_S)
    assert sorted(itertools.chain(*took)) == list(range(3000))
    assert channel.lost == 0


@given(
    policy=st.sampled_from(Policy),
    capacity=st.integers(1, 4),
    steps=st.lists(st.integers(0, 3) | st.none(), max_size=40),
)
def test_a_channel_behaves_like_a_deque_with_a_bound(policy: Policy, capacity: int, steps: list[int | None]) -> None:
    """``None`` puts the next number, n takes up to n + 1 items."""
    channel: Channel[int] = Channel(capacity, policy)
    model: deque[int] = deque()
    lost = 0
    for number, step in enumerate(steps):
        if step is not None:
            expected = [model.popleft() for _ in range(min(step + 1, len(model)))]
            assert channel.get_batch(step + 1, 0) == expected
            continue
        full = len(model) == capacity
        assert channel.put(number) is not full
        lost += full
        if not full or policy is Policy.DROP_OLDEST:
            model.append(number)
            if full:
                model.popleft()
        assert (len(channel), channel.lost) == (len(model), lost)
