from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish.mqtt.mutes import PATIENCE_NS, PAUSE_NS, Mutes

if TYPE_CHECKING:
    import pytest


def test_a_refusal_stands_when_it_has_lasted_and_until_then_it_may_pass() -> None:
    mutes = Mutes()
    assert not mutes.refused("a", "no", 5).stands
    assert mutes.standing("a", 5) is None
    assert mutes.refused("a", "no", 5 + PATIENCE_NS).stands
    assert mutes.standing("a", 5 + PATIENCE_NS) == "no"
    assert mutes.standing("b", 5 + PATIENCE_NS) is None


def test_a_refused_topic_waits_for_its_time() -> None:
    mutes = Mutes()
    for now_ns in (0, PAUSE_NS):
        mutes.refused("a", "no", now_ns)
        assert mutes.waits("a", now_ns + PAUSE_NS - 1)
        assert not mutes.waits("a", now_ns + PAUSE_NS)
    assert mutes.standing("a", 2 * PAUSE_NS - 1) == "no"
    assert mutes.standing("a", 2 * PAUSE_NS) is None


def test_what_the_broker_takes_is_no_longer_refused_and_each_refusal_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mutes = Mutes()
    mutes.refused("a", "no", 0)
    mutes.refused("a", "no", 1)
    assert caplog.text.count("the broker refuses a: no") == 1
    mutes.taken("a")
    mutes.taken("b")
    assert not mutes.waits("a", 1)
    assert not mutes.refused("a", "no", PATIENCE_NS).stands
    assert caplog.text.count("the broker refuses a: no") == 2
